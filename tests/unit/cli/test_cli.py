"""The command line from within: how flags and job file become a job, and how every ending becomes an exit code."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from migrator import cli, errors
from migrator.checkpoint.file import Checkpoint, CheckpointFile, CollectionState
from migrator.cli import options
from migrator.cli.stopping import stoppable
from migrator.config import JobConfig
from migrator.errors import ConfigError, MigratorError
from migrator.model import Counts
from migrator.model.events import RetryScheduled, RunStarted

pytestmark = pytest.mark.usefixtures("no_credentials")


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Migrator = Callable[..., Done]


@pytest.fixture
def migrator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Migrator:
    """Runs the command in a folder of its own, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["migrator", *args])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Done(code, out, err)

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with five good documents in two collections."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.ndjson").write_text("".join(f'{{"_id":"a{number}","n":{number}}}\n' for number in range(3)))
    (folder / "b.ndjson").write_text('{"_id":"b0"}\n{"_id":"b1"}\n')
    return folder


def files_in(folder: Path) -> set[str]:
    """The names of what lies there."""
    return {path.name for path in folder.iterdir()}


# -- how a run ends -------------------------------------------------------------------------------------------


ENDINGS = [
    (kind("What failed.", hint="What to do."), kind.exit_code)
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, MigratorError)
    and kind not in {errors.BatchRefused, errors.UnreadableLeaf}
]


@pytest.mark.parametrize(("error", "code"), ENDINGS, ids=lambda value: type(value).__name__)
def test_every_error_has_its_exit_code(
    migrator: Migrator, monkeypatch: pytest.MonkeyPatch, error: MigratorError, code: int
) -> None:
    """One line on standard error with what failed and what to do."""
    monkeypatch.setattr(cli.cli, "main", raising(error))
    # That it was asked to stop is not an error.
    begin = "" if isinstance(error, errors.Interrupted) else "Error: "
    assert Done(code, "", f"{begin}What failed. What to do.\n") == migrator()


def raising(error: BaseException) -> Callable[..., None]:
    """A command that fails."""

    def fail(**_flags: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "Stopped.\n"),
        (click.Abort(), 130, "Stopped.\n"),
        (click.exceptions.Exit(7), 7, ""),
        (click.UsageError("No such flag."), 2, "Error: No such flag.\n"),
        (
            RuntimeError("bug"),
            1,
            "Error: unexpected RuntimeError: bug. Please report it; MIGRATOR_DEBUG=1 shows where.\n",
        ),
    ],
)
def test_other_endings(
    migrator: Migrator, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    """Nothing that a user can cause shows a traceback."""
    monkeypatch.setattr(cli.cli, "main", raising(error))
    assert Done(code, "", text) == migrator()


def test_a_bug_shows_where_it_is_when_asked(migrator: Migrator, monkeypatch: pytest.MonkeyPatch) -> None:
    """MIGRATOR_DEBUG lets the error through."""
    monkeypatch.setenv("MIGRATOR_DEBUG", "1")
    monkeypatch.setattr(cli.cli, "main", raising(RuntimeError("bug")))
    with pytest.raises(RuntimeError):
        migrator()


@pytest.mark.parametrize(
    ("word", "meant"), [("rnu", "'run'"), ("verfy", "'verify'"), ("snapshots", "'snapshot'"), ("qqqqqq", "")]
)
def test_a_mistyped_command_is_guessed(migrator: Migrator, word: str, meant: str) -> None:
    """The nearest one is named."""
    done = migrator(word)
    assert (done.code, done.out) == (2, "")
    assert f"No such command '{word}'." in done.err
    assert ("Did you mean" in done.err) == bool(meant)
    assert meant in done.err


@pytest.mark.parametrize("flag", ["--version", "--help", "-h"])
def test_help_is_a_result(migrator: Migrator, flag: str) -> None:
    """On standard output, with 0."""
    done = migrator(flag)
    assert (done.code, done.err) == (0, "")
    assert "migrator" in done.out


@pytest.mark.parametrize("args", [["run", "--on-conflict", "ask"], ["run", "--in-flight", "x"], ["run", "--nope"]])
def test_a_wrong_flag_is_named(migrator: Migrator, args: list[str]) -> None:
    """With what there is."""
    done = migrator(*args)
    assert (done.code, done.out) == (2, "")
    assert args[1] in done.err


# -- from flags and file to a job -----------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., JobConfig]:
    """Merges a job file's text and flags."""

    def merge(text: str = "", **flags: Any) -> JobConfig:
        path = tmp_path / "job.toml"
        path.write_text(text)
        return options.job_config({"job_file": str(path) if text else None, **flags})

    return merge


def test_a_flag_wins_over_the_file(job: Callable[..., JobConfig]) -> None:
    """What was not given leaves the file's word; what neither says is the default."""
    text = 'from = "a"\nto = "b"\ncollection = ["x", "y"]\ntransform = ["id:hash"]\nbatch_docs = 7\nq = 3\n'
    found = job(text, source="c", target=None, collection=("z",), transform=(), batch_docs=None, q=5, verify=None)
    expected = JobConfig(
        source="c", target="b", collection=("z",), transform=("id:hash",), batch_docs=7, q=5, verify=False
    )
    assert expected == found


def test_flags_alone_are_a_job(job: Callable[..., JobConfig]) -> None:
    """No file is needed."""
    assert JobConfig(source="a", in_flight=2) == job(source="a", in_flight=2, target=None, collection=())


def test_a_zero_is_a_word_too(job: Callable[..., JobConfig]) -> None:
    """A flag that is 0 is given, and refused where it cannot be."""
    with pytest.raises(ConfigError, match="batch_docs is 0"):
        job("batch_docs = 7", batch_docs=0)
    assert job('max_errors = "5"', max_errors="0").max_errors == "0"


def test_maps_are_put_together(job: Callable[..., JobConfig]) -> None:
    """A flag adds to the file's table or replaces a line of it; a name may hold an equals sign."""
    found = job('[map]\na = "x"\nb = "y"\n', map=("b=z", "c=d=e"))
    assert {"a": "x", "b": "z", "c=d": "e"} == found.map


@pytest.mark.parametrize("pair", ["a", "=b", "a=", "="])
def test_a_map_that_is_none(job: Callable[..., JobConfig], pair: str) -> None:
    """It is shown as it was typed."""
    with pytest.raises(ConfigError, match=r"--map .* is not of the form NAME=DATABASE"):
        job(map=(pair,))


@pytest.mark.parametrize(
    ("text", "flags", "expected"),
    [
        ("resume = true", {}, (True, False)),
        ("resume = true", {"restart": True}, (False, True)),
        ("restart = true", {"resume": True}, (True, False)),
        ("resume = true", {"resume": True}, (True, False)),
        ("", {"restart": True}, (False, True)),
    ],
)
def test_the_command_decides_how_to_go_on(
    job: Callable[..., JobConfig], text: str, flags: dict[str, bool], expected: tuple[bool, bool]
) -> None:
    """--restart once is possible for a job whose file always resumes."""
    found = job(text, **flags)
    assert expected == (found.resume, found.restart)


def test_both_ways_to_go_on_exclude_each_other(job: Callable[..., JobConfig]) -> None:
    """In one place both are a mistake."""
    with pytest.raises(ConfigError, match="exclude each other"):
        job(resume=True, restart=True)
    with pytest.raises(ConfigError, match="exclude each other"):
        job("resume = true\nrestart = true")


# -- what is said while it runs -------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """Somebody watches."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.mark.parametrize(
    ("stream", "log_format", "log_level", "quiet", "expected"),
    [
        (Terminal, "text", "info", False, "trying again in 1.0 s: busy"),
        (io.StringIO, "text", "info", False, "[warning  ] retry_scheduled"),
        (Terminal, "json", "info", False, '"event": "retry_scheduled"'),
        (Terminal, "text", "debug", False, "[warning  ] retry_scheduled"),
        (Terminal, "text", "info", True, "[warning  ] retry_scheduled"),
    ],
)
def test_progress_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch,
    stream: type[io.StringIO],
    log_format: str,
    log_level: str,
    quiet: bool,
    expected: str,
) -> None:
    """A bar where a person watches and asked for nothing else; log lines everywhere else."""
    monkeypatch.setattr(sys, "stderr", written := stream())
    monkeypatch.setenv("NO_COLOR", "1")
    with options.listening({"log_format": log_format, "log_level": log_level, "quiet": quiet}) as listener:
        listener(RunStarted("s", "t", ("c",), 5))
        listener(RetryScheduled("load", 1, 1.0, "busy"))
    assert expected in written.getvalue()


@pytest.mark.parametrize(("level", "lines"), [("debug", 1), ("info", 1), ("warning", 1), ("error", 0)])
def test_quiet_leaves_warnings(monkeypatch: pytest.MonkeyPatch, level: str, lines: int) -> None:
    """-q takes away what goes well, and not what goes wrong."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with options.listening({"log_level": level, "quiet": True}) as listener:
        listener(RunStarted("s", "t", (), 0))
        listener(RetryScheduled("load", 1, 1.0, "busy"))
    assert lines == stream.getvalue().count("\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    """Afterwards signals are what they were."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    before = signal.getsignal(number)
    with stoppable() as stopping:
        assert not stopping.is_set()
        os.kill(os.getpid(), number)
        assert stopping.is_set()
        assert ended == []
        os.kill(os.getpid(), number)
    assert ended == [130]
    assert before == signal.getsignal(number)
    assert "once more to end at once" in capfd.readouterr().err


def test_several_may_listen() -> None:
    """Each hears everything, in order."""
    heard: list[str] = []
    others = (lambda _event: heard.append("first"), lambda _event: heard.append("second"))
    with options.listening({"log_level": "error"}, *others) as listener:
        listener(RunStarted("s", "t", (), 0))
    assert heard == ["first", "second"]


# -- run ------------------------------------------------------------------------------------------------------

NUMBERS = ["read", "written", "unchanged", "skipped", "filtered", "rejected", "conflicts", "proven", "altered"]


@pytest.mark.usefixtures("source")
def test_the_report_is_json_of_the_documented_form(migrator: Migrator, tmp_path: Path) -> None:
    """Every key of the page and no other, on standard output alone or in a file."""
    done = migrator("run", "--from", "in", "--to", "out", "--report", "-", "-q")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert ["schema", "ok", "collections", "totals", "seconds", "documents_per_second", "history"] == list(report)
    assert sum(report["history"]["series"]["documents"]) == report["totals"]["read"]
    assert (report["schema"], report["ok"], list(report["collections"])) == (1, True, ["a", "b"])
    assert ["database", *NUMBERS] == list(report["collections"]["a"])
    assert NUMBERS == list(report["totals"])
    for counts in (report["totals"], *report["collections"].values()):
        assert counts["read"] == sum(counts[name] for name in NUMBERS[1:6])
    done = migrator("run", "--from", "in", "--to", "out2", "--report", "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["totals"] == report["totals"]
    assert done.out.startswith("collection")


@pytest.mark.usefixtures("source")
def test_a_run_that_goes_well_leaves_only_its_target(migrator: Migrator, tmp_path: Path) -> None:
    """Neither checkpoint nor lock nor reject file stays, unless it was asked for."""
    assert migrator("run", "--from", "in", "--to", "out").code == 0
    assert files_in(tmp_path) == {"in", "out"}
    assert migrator("run", "--from", "in", "--to", "out", "--checkpoint", "c.json").code == 0
    assert files_in(tmp_path) == {"in", "out", "c.json"}


@pytest.mark.usefixtures("source")
def test_a_second_run_changes_nothing(migrator: Migrator, tmp_path: Path) -> None:
    """All is found unchanged."""
    migrator("run", "--from", "in", "--to", "out")
    before = (tmp_path / "out" / "a.ndjson").stat()
    done = migrator("run", "--from", "in", "--to", "out", "--report", "-", "-q")
    assert json.loads(done.out)["totals"] == Counts(read=5, unchanged=5).as_dict()
    after = (tmp_path / "out" / "a.ndjson").stat()
    # Not when it was read: that may move.
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)


@pytest.mark.usefixtures("source")
def test_a_dry_run_leaves_nothing(migrator: Migrator, tmp_path: Path) -> None:
    """Not even a checkpoint; rejects are counted and not kept."""
    (tmp_path / "in" / "a.ndjson").write_text('{"_id":"a"}\n{"_id":\n')
    done = migrator(
        "run", "--from", "in", "--to", "out", "--dry-run", "--checkpoint", "c.json", "--report", "-", "-q"
    )
    assert done.code == 3
    assert files_in(tmp_path) == {"in"}
    report = json.loads(done.out)
    assert (report["dry_run"], report["totals"]["rejected"], report["ok"]) == (True, 1, False)


@pytest.mark.usefixtures("source")
def test_a_job_file_runs_as_it_says(migrator: Migrator, tmp_path: Path) -> None:
    """And a flag changes one word of it."""
    (tmp_path / "job.toml").write_text('from = "in"\nto = "out"\ncollection = ["a"]\nreport = "-"\n')
    assert list(json.loads(migrator("run", "-c", "job.toml", "-q").out)["collections"]) == ["a"]
    done = migrator("run", "-c", "job.toml", "--collection", "b", "-q")
    assert list(json.loads(done.out)["collections"]) == ["b"]


@pytest.mark.usefixtures("source")
def test_too_many_rejects_end_with_3_and_can_be_gone_on_from(migrator: Migrator, tmp_path: Path) -> None:
    """--max-errors 0 stops at the first, says where it is, and keeps the checkpoint."""
    (tmp_path / "in" / "a.ndjson").write_text('{"_id":"a"}\n{"n":1}\n{"_id":"c"}\n')
    args = ["run", "--from", "in", "--to", "out", "--max-errors", "0", "--batch-docs", "1", "--rejects", "r"]
    done = migrator(*args, "-q")
    assert (done.code, done.out) == (3, "")
    assert "--resume" in done.err
    (line,) = (tmp_path / "r").read_text().splitlines()
    assert "a.ndjson:2" in json.loads(line)["reason"] + done.err
    done = migrator(*args, "--resume", "--report", "-", "-q")
    # The reject of before counts still, though this run met none.
    assert done.code == 3
    report = json.loads(done.out)
    assert (report["ok"], report["totals"]["rejected"], report["settled_before"]["rejected"]) == (False, 0, 1)
    assert report["rejects"] == "r"
    assert {"a", "c"} == {
        json.loads(line)["_id"] for line in (tmp_path / "out" / "a.ndjson").read_text().splitlines()
    }


@pytest.mark.usefixtures("source")
def test_files_of_one_job_are_not_one_file(migrator: Migrator, tmp_path: Path) -> None:
    """A reject file over the checkpoint would lose one of them."""
    done = migrator("run", "--from", "in", "--to", "out", "--checkpoint", "x", "--rejects", "./x")
    assert (done.code, done.out) == (2, "")
    assert "same file" in done.err
    assert files_in(tmp_path) == {"in"}


@pytest.mark.usefixtures("source")
def test_a_precious_file_is_not_taken_for_rejects(migrator: Migrator, tmp_path: Path) -> None:
    """A file that is something else stays as it is."""
    (tmp_path / "precious").write_text("mine\n")
    (tmp_path / "in" / "b.ndjson").write_text("{\n")
    done = migrator("run", "--from", "in", "--to", "out", "--rejects", "precious", "-q")
    assert done.code == 2
    assert "precious" in done.err
    assert (tmp_path / "precious").read_text() == "mine\n"


@pytest.mark.parametrize("source", ["in", "in/a.ndjson", "./in/../in"])
def test_a_source_is_not_written_over(migrator: Migrator, tmp_path: Path, source: str) -> None:
    """Not even by --on-conflict overwrite, under whatever name."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.ndjson").write_text('{"_id":"a"}\n{"torn\n')
    done = migrator(
        "run", "--from", source, "--to", "in", "--on-conflict", "overwrite", "--transform", "set:x=1", "-q"
    )
    assert (done.code, done.out) == (2, "")
    assert "source itself" in done.err
    assert (tmp_path / "in" / "a.ndjson").read_text() == '{"_id":"a"}\n{"torn\n'


@pytest.mark.usefixtures("source")
def test_what_fails_at_its_start_is_simply_run_again(migrator: Migrator, tmp_path: Path) -> None:
    """A wrong flag is fixed and the command repeated; nothing is in the way."""
    args = ["run", "--from", "in", "--to", "out", "--checkpoint", "c.json", "-q"]
    assert migrator(*args, "--rejects", "none/r").code == 2
    (tmp_path / "out").write_text("a file")
    assert migrator(*args).code == 2
    (tmp_path / "out").unlink()
    assert migrator(*args).code == 0


# -- retry and status -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("source")
def test_rejects_are_written_after_a_fix(migrator: Migrator, tmp_path: Path) -> None:
    """By a transformer, or by hand in the file; what is rejected again goes to another file."""
    (tmp_path / "in" / "a.ndjson").write_text('{"_id":"a"}\n{"sku":"s1"}\n{"_id":"t"\n{"nothing":1}\n')
    assert migrator("run", "--from", "in", "--to", "out", "--rejects", "r", "-q").code == 3
    text = (tmp_path / "r").read_text()
    (tmp_path / "r").write_text(text.replace('{\\"_id\\":\\"t\\"', '{\\"sku\\":\\"t\\"}'))
    args = ["retry", "r", "--to", "again", "--transform", "id:field=sku", "--rejects", "r2"]
    done = migrator(*args, "--report", "-", "-q")
    assert done.code == 3
    assert json.loads(done.out)["totals"] == Counts(read=3, written=2, rejected=1).as_dict()
    written = {json.loads(line)["_id"] for line in (tmp_path / "again" / "a.ndjson").read_text().splitlines()}
    assert written == {"s1", "t"}
    (line,) = (tmp_path / "r2").read_text().splitlines()
    assert json.loads(line)["document"] == {"nothing": 1}
    assert "r2" in done.err


def test_retry_does_not_write_over_what_it_reads(migrator: Migrator, tmp_path: Path) -> None:
    """By whatever name."""
    (tmp_path / "r").write_text('{"collection":"c","stage":"load","document":{"_id":"a"}}\n')
    done = migrator("retry", "r", "--to", "out", "--rejects", str(tmp_path / "r"))
    assert (done.code, done.out) == (2, "")
    assert "itself" in done.err


@pytest.mark.parametrize(("content", "place"), [(None, "no reject file r"), ('{"_id": "a"}\n', "r:1")])
def test_retry_of_something_else(migrator: Migrator, tmp_path: Path, content: str | None, place: str) -> None:
    """A missing file and another kind of file are said."""
    if content is not None:
        (tmp_path / "r").write_text(content)
    done = migrator("retry", "r", "--to", "out")
    assert (done.code, done.out) == (2, "")
    assert place in done.err


def test_status_shows_how_far_it_is(migrator: Migrator, tmp_path: Path) -> None:
    """A table for people, JSON for machines."""
    state = CollectionState(position=5, counts=Counts(read=1500, written=1400, rejected=100))
    made = Checkpoint(job={"source": "s", "target": "t"}, collections={"users": state})
    CheckpointFile(tmp_path / "c.json").save(made)
    text = migrator("status", "c.json").out
    assert "from s to t" in text
    assert ["users", "under", "way", "1,500", "1,400", "0", "0", "0", "100"] == text.splitlines()[3].split()
    assert "--resume" in text
    value = json.loads(migrator("status", "c.json", "--json").out)
    assert value["job"] == {"source": "s", "target": "t"}
    assert (value["finished"], value["totals"]) == (False, state.counts.as_dict())
    assert value["collections"]["users"]["finished"] is False


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 9}', ""])
def test_status_of_something_else(migrator: Migrator, tmp_path: Path, content: str) -> None:
    """A damaged or newer file is said, with 6."""
    (tmp_path / "c.json").write_text(content)
    done = migrator("status", "c.json")
    assert (done.code, done.out) == (6, "")
    assert "c.json" in done.err
