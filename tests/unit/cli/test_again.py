"""The whole commands that hints name: what decides where and how documents go, nothing that is a secret."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from migrator.backup.result import DatabaseResult, RevisionsResult
from migrator.checkpoint.file import CheckpointFile
from migrator.checkpoint.rejects import reject_to_line
from migrator.cli import main
from migrator.cli.rendering import WORDS, this_command, whole_hint
from migrator.config import JobConfig
from migrator.couch.trouble import TROUBLE_HINT
from migrator.errors import (
    CheckpointError,
    ConfigError,
    EndpointError,
    Interrupted,
    MigratorError,
    StorageError,
    TargetReplaced,
    TransientError,
)
from migrator.files.failures import RESUME
from migrator.jobs.advice import credentials_hint, retry_commands
from migrator.model import Reject
from tests.support.commands import run


def rejects(path: Path, *stages: str) -> Path:
    """A reject file with these stages."""
    path.write_bytes(
        b"".join(reject_to_line(Reject("c", "a", stage, "e", "r", document={"_id": "a"})) for stage in stages)
    )
    return path


URL = "http://h:5984"


@pytest.mark.parametrize(
    ("fields", "counts", "expected"),
    [
        ({}, {}, "--to http://h:5984"),
        ({"target": "http://h:5984/db"}, {}, "--to http://h:5984/db"),
        ({"target": "https://u:p%40ss@h:5984/db"}, {}, "--to https://h:5984/db"),
        ({"target": "http://u:a@b:c@h/couch/db"}, {}, "--to http://h/couch/db"),
        ({"map": {"c": "people", "d": "x"}}, {"c": 1, "d": 0}, f"--to {URL} --map c=people"),
        ({"map": {"a b": "x"}}, {"a b": 2}, f"--to {URL} --map 'a b=x'"),
        ({"map": {"c": "people"}}, {}, f"--to {URL}"),
        ({"on_conflict": "skip"}, {}, f"--to {URL} --on-conflict skip"),
        (
            {"on_conflict": "newer", "newer_field": "at"},
            {},
            f"--to {URL} --on-conflict newer --newer-field at",
        ),
        ({"ca_file": "my ca.pem"}, {}, f"--to {URL} --ca-file 'my ca.pem'"),
        ({"client_cert": "c", "client_key": "k"}, {}, f"--to {URL} --client-cert c --client-key k"),
        ({"q": 2, "n": 1, "partitioned": True}, {}, f"--to {URL} --q 2 --n 1 --partitioned"),
        ({"timeout_s": 5.0, "max_outage_s": 1.5}, {}, f"--to {URL} --timeout 5 --max-outage 1.5"),
        ({"max_attempts": 3}, {}, f"--to {URL} --max-attempts 3"),
        ({"target": "out folder"}, {}, "--to 'out folder'"),
        ({"target": "out", "map": {"c": "x"}}, {"c": 1}, "--to out"),
        # Of the source, and of how quick it is, nothing is said.
        (
            {"source": "in", "batch_docs": 7, "codec": "tagged", "checkpoint": "c", "resume": True},
            {},
            f"--to {URL}",
        ),
    ],
)
def test_names_what_decides(
    tmp_path: Path, fields: dict[str, Any], counts: Mapping[str, int], expected: str
) -> None:
    """Each flag of the run that says where and how, with its value, ready for a shell."""
    path = rejects(tmp_path / "r", "load")
    (command,) = retry_commands(path, JobConfig(**{"target": URL, **fields}), counts)
    assert command == f"migrator retry {path} {expected}"


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([], [""]),
        (["load"], [""]),
        (["extract"], ["--transform a:b --transform 'c d'"]),
        (["transform", "extract"], ["--transform a:b --transform 'c d'"]),
        (["load", "extract"], ["--stage load", "--stage extract --transform a:b --transform 'c d'"]),
        (
            ["load", "transform", "extract"],
            ["--stage load", "--stage extract --stage transform --transform a:b --transform 'c d'"],
        ),
    ],
)
def test_transformers_go_along_where_they_are_still_to_be_applied(
    tmp_path: Path, stages: list[str], expected: list[str]
) -> None:
    """And nowhere else: what was sent has passed them."""
    path = rejects(tmp_path / "r", *stages)
    commands = retry_commands(path, JobConfig(target=URL, transform=("a:b", "c d")), {})
    assert commands == [f"migrator retry {path} --to {URL} {more}".rstrip() for more in expected]


@pytest.mark.parametrize("name", ["-r", "a b", "it's", "--rejects", "ü"])
def test_any_name_of_a_file_can_be_pasted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that looks like an option."""
    monkeypatch.chdir(tmp_path)
    (command,) = retry_commands(rejects(Path(name), "load"), JobConfig(target=URL), {})
    path = shlex.split(command)[2]
    assert not path.startswith("-")
    assert Path(path).samefile(tmp_path / name)


def test_a_transformer_shows_no_password(tmp_path: Path) -> None:
    """A transformer can set a URL; the command says that something is to be added."""
    config = JobConfig(target=URL, transform=("set:at=http://joe:geh3im@h/x",))
    (command,) = retry_commands(rejects(tmp_path / "r", "transform"), config, {})
    assert shlex.split(command)[-2:] == ["--transform", "set:at=http://h/x"]
    assert "--transform had credentials" in credentials_hint(config)
    assert not credentials_hint(JobConfig(target=URL, transform=("set:at=http://h/x",)))


def words(*given: str, more: tuple[str, ...] = ()) -> str:
    """The command that is made of these words."""
    with click.Context(click.Command("x")) as context:
        context.meta[WORDS] = list(given)
        return this_command(*more)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["apply", "p.json"], "apply p.json"),
        (["apply", "a b.json", "--resume"], "apply 'a b.json'"),
        (["apply", "p", "--to", "http://u:secret@h"], "apply p --to http://h"),
        (["apply", "p", "--to=http://u:secret@h/x"], "apply p --to=http://h/x"),
        (
            ["restore", "--from", "s3://b/x", "--to", "http://u:a@secret@h:1"],
            "restore --from s3://b/x --to http://h:1",
        ),
        (["run", "--ping", "https://hc/secret", "--from", "a"], "run --from a"),
        (["run", "--ping=https://hc/secret", "--from", "a"], "run --from a"),
        (["run", "--from", "postgresql://h/d?password=secret"], "run --from 'postgresql://h/d?password=…'"),
        (["run", "--from", "redis://:secret@h/0"], "run --from redis://h/0"),
        (["run", "--restart", "--from", "a@b"], "run --from a@b"),
        (["run", "--transform", "id:template={a}@{b}"], "run --transform 'id:template={a}@{b}'"),
    ],
)
def test_the_same_command_again_has_no_secrets(given: list[str], expected: str) -> None:
    """Whatever way they were given."""
    found = words(*given)
    assert found == f"migrator {expected}"
    assert "secret" not in found


def test_the_same_command_with_other_words() -> None:
    """What is added stands at the end; what is never said again goes with its value."""
    found = words("run", "--ping", "http://p", "--resume", "--to", "x", more=("--a",))
    assert found == "migrator run --to x --a"


def test_what_keeps_revisions_names_the_command_that_does_it_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversion's reject holds it, the conversion prints it, and a retry says it; it runs as it is."""
    monkeypatch.chdir(tmp_path)
    good = {"id": "a", "key": "a", "value": {"rev": "1-967a00dff5e02add41819138abb3284d"}, "doc": {"_id": "a"}}
    good["doc"] = {"_id": "a", "_rev": "1-967a00dff5e02add41819138abb3284d"}
    rows = {"total_rows": 2, "offset": 0, "rows": [good, {"id": "b", "key": "b", "value": {}, "doc": 7}]}
    Path("in file.json").write_text(json.dumps(rows))
    flags = ("--from-format", "all-docs", "--format", "couchbackup", "--rejects", "r")
    ran = run("convert", "--from", "in file.json", "--to", "out", *flags, "-q")
    assert ran.code == 3, ran.output
    again = ran.output.partition("after a fix: ")[2].strip()
    assert shlex.split(again)[:5] == ["migrator", "convert", "--from", "in file.json", "--to"]
    retried = run("retry", "r", "--to", "http://127.0.0.1:9", "-q")
    assert (retried.code, again in retried.output) == (2, True)
    rows["rows"] = [good]
    Path("in file.json").write_text(json.dumps(rows))
    assert run(*shlex.split(again)[1:]).code == 0


@pytest.mark.parametrize("command", ["status", "run"])
def test_a_damaged_checkpoint_is_exit_code_6(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Whoever reads it."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in/a.ndjson").write_text('{"_id":"a"}\n')
    given = ("run", "--from", "in", "--to", "out", "--checkpoint", "c", "-q")
    assert run(*given).code == 0
    text = Path("c").read_bytes()
    Path("c").write_bytes(text.replace(b'"read": 1', b'"read": 0'))
    ran = run("status", "c") if command == "status" else run(*given, "--resume")
    assert (ran.code, "checksum" in ran.output) == (6, True)
    Path("c").write_bytes(text)
    assert CheckpointFile(Path("c")).load().finished
    assert run("status", "c").code == 0


RUN = ("run", "--from", "a b.json", "--to", "http://h:5984")
COMMANDS_WITHOUT = [
    ("convert", "--from", "a.txt", "--to", "http://h:5984/a"),
    ("seed", "fixtures", "--to", "http://h:5984"),
    ("retry", "r.ndjson", "--to", "http://h:5984"),
    ("restore", "--from", "b", "--to", "http://h:5984"),
    ("backup", "--from", "http://h:5984", "--to", "b"),
    ("snapshot", "--from", "http://h:5984", "f"),
    ("singer-target", "--to", "http://h:5984"),
    ("doctor", "http://h:5984"),
]


@pytest.mark.parametrize("command", [RUN, ("verify", *RUN[1:]), ("apply", "plan.toml")])
@pytest.mark.parametrize(
    ("error", "flags"),
    [
        (
            CheckpointError("m", hint="Add --resume to go on from it, or --restart to start over."),
            ["resume", "restart"],
        ),
        (CheckpointError("m", hint="Start over with --restart (what is there stays)."), ["restart"]),
        (CheckpointError("m", hint="Put the old file back, or start over with --restart."), ["restart"]),
        (Interrupted("m", hint="Go on with --resume."), ["resume"]),
        (TransientError("m"), ["resume"]),
        (StorageError("m", hint=f"Make room; then {RESUME}."), ["resume"]),
        (EndpointError("m", hint=TROUBLE_HINT), ["resume"]),
        (MigratorError("m", hint="Fix the cause or raise --max-errors, then --resume."), ["resume"]),
        (TargetReplaced("m", hint="Start over.", flag="--restart"), ["restart"]),
        (TargetReplaced("m", hint="Start over.", flag=""), [""]),
    ],
)
def test_a_hint_has_the_whole_command(command: tuple[str, ...], error: MigratorError, flags: list[str]) -> None:
    """With the flag that the hint names, and without the other one that was typed."""
    for typed in (command, (*command, "--resume"), (*command, "--restart")):
        hint = whole_hint(error, typed)
        begin, _, commands = hint.partition(" Type: ")
        assert begin == (error.hint or error.usual_hint)
        wanted = [["migrator", *command, *([f"--{flag}"] if flag else [])] for flag in flags]
        assert [shlex.split(each) for each in commands.split(" or: ")] == wanted


@pytest.mark.parametrize("command", COMMANDS_WITHOUT)
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StorageError("m", hint=f"Make room; then {RESUME}."), "then run the same command again."),
        (TransientError("m"), "Run the same command again later."),
        (Interrupted("m", hint="Go on with --resume."), "Run the same command again."),
        (EndpointError("m", hint=TROUBLE_HINT), "Then run the same command again."),
    ],
)
def test_a_command_without_resume_is_run_again(command: tuple[str, ...], error: MigratorError, said: str) -> None:
    """Nobody is told a flag that the command does not have."""
    hint = whole_hint(error, command)
    assert said in hint or said[:1].lower() + said[1:] in hint
    assert "--resume" not in hint
    assert shlex.split(hint.partition(" Type: ")[2]) == ["migrator", *command]


@pytest.mark.parametrize(
    "hint",
    [
        "Leave --resume out, or name a folder.",
        "Keep one of them.",
        "Check the path.",
        "migrator apply PLAN --restart",
    ],
)
def test_another_hint_stays(hint: str) -> None:
    """What names no way on has no command after it, and neither has what was started by no words."""
    assert whole_hint(ConfigError("m", hint=hint), [*RUN, "--resume"]) == hint
    assert whole_hint(ConfigError("m", hint="Go on with --resume."), []) == "Go on with --resume."
    assert whole_hint(TargetReplaced("m", hint="Do it over.", flag=None), RUN) == "Do it over."


def test_the_command_line_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint that is damaged, as the command prints it."""
    (tmp_path / "a.ndjson").write_text('{"_id": "a"}\n')
    (tmp_path / "c").write_text("{")
    words = ["run", "--from", f"{tmp_path}/a.ndjson", "--to", f"{tmp_path}/o", "--checkpoint", f"{tmp_path}/c"]
    monkeypatch.setattr(sys, "argv", ["migrator", *words, "--resume"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 6
    assert capsys.readouterr().err.rstrip().endswith(f"Type: migrator {shlex.join(words)} --restart")


def test_the_command_that_starts_over_shows_no_password() -> None:
    """Neither before the host nor in the query, as PostgreSQL's URLs have it."""
    words = ["run", "--from", "postgresql://h/d?user=u&password=geh3im", "--to=http://a:geh3im@h:1", "--resume"]
    said = whole_hint(TargetReplaced("m", hint="h", flag="--restart"), words)
    assert "geh3im" not in said
    assert shlex.split(said)[-2:] == ["--to=http://h:1", "--restart"]


def test_what_ended_one_database_has_the_whole_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A restore has no --resume: neither its message nor its line of JSON names it."""

    def full(*_: object, **__: object) -> RevisionsResult:
        ended = DatabaseResult("d", error=TransientError("m", hint=TROUBLE_HINT))
        return RevisionsResult("restore", "a", "b", [ended], 1.0)

    monkeypatch.setattr("migrator.backup.restore.run_restore", full)
    words = ["restore", "--from", str(tmp_path), "--to", URL, "--json"]
    monkeypatch.setattr(sys, "argv", ["migrator", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 5
    out, err = capsys.readouterr()
    for said in (json.loads(out)["databases"]["d"]["error"], err):
        assert "--resume" not in said
        assert said.rstrip().endswith(f"Then run the same command again. Type: migrator {shlex.join(words)}")
