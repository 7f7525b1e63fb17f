"""What users can get wrong: one clear sentence with the place and the remedy, the exit code, no traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import run_whole as migrator

pytestmark = pytest.mark.usefixtures("no_credentials")


def process(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "migrator", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good source, and a few bad things beside it."""
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.ndjson").write_text('{"_id":"x"}\n')
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.json").write_text('{"a": {"x": {"n": 1},')
    (tmp_path / "list.json").write_text('{"a": 5}')
    (tmp_path / "twice").mkdir()
    for name in ("A b", "a_b"):
        (tmp_path / "twice" / f"{name.replace(' ', '%20')}.ndjson").write_text('{"_id":"x"}\n')
    (tmp_path / "app.py").write_text("def broken():\n    return {}['missing']\nnumber = 5\n")
    (tmp_path / "typo.toml").write_text('from = "good"\nto = "out"\ntransfrom = []\n')
    (tmp_path / "kind.toml").write_text('from = "good"\nto = "out"\nin_flight = "four"\n')
    (tmp_path / "variable.toml").write_text('from = "good"\nto = "env:NOT_SET_ANYWHERE"\n')
    return tmp_path


CASES = [
    (["--from", "mongo://host/db", "--to", "out"], 2, "mongo", "Known are"),
    (["--from", "good", "--to", "ftp://host"], 2, "ftp", "Known are"),
    (["--from", "nowhere", "--to", "out"], 2, "nowhere", "path"),
    (["--from", "nowhere.json", "--to", "out"], 2, "nowhere.json", "path"),
    (["--from", "empty", "--to", "out"], 2, "empty", "ndjson"),
    (["--from", "list.json", "--to", "out"], 2, "list.json", "documents"),
    (["--from", "good", "--to", "good/a.ndjson"], 2, "a.ndjson", "folder"),
    (["--from", "good"], 2, "target", "--to"),
    (["--to", "out"], 2, "source", "--from"),
    (["--from", "good", "--to", "out", "--collection", "b"], 2, "'b'", "It has: 'a'"),
    (["--from", "memory:no_such_module:x", "--to", "out"], 2, "no_such_module", "PYTHONPATH"),
    (["--from", "memory:app:nothing", "--to", "out"], 2, "nothing", "app"),
    (["--from", "memory:app:broken", "--to", "out"], 2, "app.py:2", "KeyError"),
    (["--from", "memory:app:number", "--to", "out"], 2, "app:number", "collection"),
    (["--from", "good", "--to", "out", "--transform", "renmae:a=b"], 2, "renmae", "rename"),
    (["--from", "good", "--to", "out", "--transform", "id:field="], 2, "id", "field"),
    (["--from", "good", "--to", "out", "--resume", "--restart"], 2, "--resume", "one of them"),
    (["--from", "good", "--to", "out", "--on-conflict", "newer"], 2, "newer", "--newer-field"),
    (["--from", "good", "--to", "out", "--max-errors", "many"], 2, "many", "percentage"),
    (["--from", "good", "--to", "out", "--batch-docs", "0"], 2, "batch_docs", "at least 1"),
    (["-c", "typo.toml"], 2, "transfrom", "transform"),
    (["-c", "kind.toml"], 2, "in_flight", "number"),
    (["-c", "variable.toml"], 2, "NOT_SET_ANYWHERE", "Set"),
    (["-c", "nofile.toml"], 2, "nofile.toml", "configs/"),
    (["--from", "good", "--to", "http://127.0.0.1:1"], 5, "127.0.0.1:1", "migrator wait"),
    (["--from", "http://127.0.0.1:1", "--to", "out"], 5, "127.0.0.1:1", "migrator wait"),
    (["--from", "twice", "--to", "http://127.0.0.1:1"], 2, "a_b", "--map"),
    (["--from", "good", "--to", "http://host:port"], 2, "host:port", "http://host:5984"),
    (["--from", "good", "--to", "https://127.0.0.1:1", "--ca-file", "none.pem"], 2, "none.pem", "path"),
]


@pytest.mark.parametrize(
    ("args", "code", "place", "remedy"),
    CASES,
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_clear_sentence(
    args: list[str], code: int, place: str, remedy: str, folder: Path
) -> None:
    """The message names the place and what to do next; nothing is written, nothing goes to standard output."""
    done = migrator(folder, "run", *args, "-q")
    assert code == done.returncode, done.stderr
    error = done.stderr.splitlines()[-1]
    assert error.startswith("Error: ")
    assert place in error
    assert remedy in error
    assert "Traceback" not in done.stderr
    assert "" == done.stdout
    assert not (folder / "out").exists() or [] == list((folder / "out").iterdir())


def test_bad_lines_are_rejects_with_file_and_line(folder: Path) -> None:
    """Every kind of bad document is named by file and line, the good ones are written, and the run ends with 3."""
    lines = [
        '{"_id":"good"}',
        '{"_id":"torn',
        "[1]",
        "5",
        '{"_id":""}',
        '{"_id":5}',
        '{"n":1}',
        "\ufeff{}",
        '{"_id":"n","v":NaN}',
    ]
    (folder / "good" / "a.ndjson").write_text("\n".join(lines), encoding="utf-8")
    done = migrator(folder, "run", "--from", "good", "--to", "out", "--rejects", "r.ndjson", "--report", "-", "-q")
    assert 3 == done.returncode
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    assert (9, 1, 8) == tuple(report["totals"][key] for key in ("read", "written", "rejected"))
    rejects = [json.loads(line) for line in (folder / "r.ndjson").read_text().splitlines()]
    for number, reject in enumerate(rejects, 2):
        assert f"a.ndjson:{number}" in reject["reason"]
        assert f"a.ndjson:{number}" in done.stderr
        assert {"collection", "id", "stage", "error", "reason", "attempts", "document"} <= set(reject)
    assert "migrator retry r.ndjson" in done.stderr
    assert 0o600 == (folder / "r.ndjson").stat().st_mode & 0o777


def test_a_file_that_was_cut_off_is_one_reject(folder: Path) -> None:
    """It is named with its place, and the run ends with 3."""
    done = migrator(folder, "run", "--from", "torn.json", "--to", "out", "--rejects", "r.ndjson", "-q")
    assert 3 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    (reject,) = [json.loads(line) for line in (folder / "r.ndjson").read_text().splitlines()]
    assert "torn.json:1" in reject["reason"]
    assert "but the file ends" in reject["reason"]


def test_a_process_says_and_ends_the_same(folder: Path) -> None:
    """What the cases above see within the test is what a user sees."""
    for args, code, place, remedy in CASES[::12]:
        done = process(folder, "run", *args, "-q")
        assert (code, "") == (done.returncode, done.stdout)
        within = migrator(folder, "run", *args, "-q")
        assert done.stderr.splitlines()[-1] == within.stderr.splitlines()[-1]
        assert place in done.stderr
        assert remedy in done.stderr


def test_checkpoints_in_the_way(folder: Path) -> None:
    """One that exists, another job's, a damaged, a truncated and a newer one: 6 and what to do, each."""
    args = ["run", "--from", "good", "--to", "out", "--checkpoint", "cp.json", "-q"]
    assert 0 == migrator(folder, *args).returncode
    assert 0o600 == (folder / "cp.json").stat().st_mode & 0o777
    text = (folder / "cp.json").read_text()

    def refused(*more: str) -> str:
        done = migrator(folder, *args, *more)
        assert 6 == done.returncode, done.stderr
        assert "Traceback" not in done.stderr
        assert "--restart" in done.stderr
        return done.stderr

    # A finished one is in nobody's way.
    assert 0 == migrator(folder, *args).returncode
    assert "transform" in refused("--resume", "--transform", "drop:x")
    assert "transform" in refused("--transform", "drop:x")
    (folder / "cp.json").write_text(text[: len(text) // 2])
    assert "damaged" in refused("--resume")
    (folder / "cp.json").write_text(text.replace('"version": 1', '"version": 2'))
    assert "checksum" in refused("--resume")
    newer = {**json.loads(text), "version": 2}
    del newer["checksum"]
    (folder / "cp.json").write_text(json.dumps(newer))
    assert "newer" in refused("--resume")
    (folder / "cp.json").write_text('{"other": "file"}')
    refused("--resume")
    assert 0 == migrator(folder, *args, "--restart").returncode


def test_status_of_nothing(folder: Path) -> None:
    """A checkpoint that is not there is said, with 2."""
    done = migrator(folder, "status", "none.json")
    assert (2, "") == (done.returncode, done.stdout)
    assert "none.json" in done.stderr


def test_a_link_to_itself_is_called_one(folder: Path) -> None:
    """Whatever it stands for: nothing unexpected, and nothing done before it is said."""
    (folder / "loop").symlink_to("loop")
    for words, code in (
        (["status", "loop"], 6),
        (["run", "--from", "good", "--to", "out", "--report", "loop"], 2),
        (["run", "--from", "good", "--to", "out", "--rejects", "loop"], 2),
        (["run", "--from", "good", "--to", "loop"], 2),
        (["retry", "loop", "--to", "out", "--rejects", "loop"], 2),
    ):
        done = migrator(folder, *words)
        assert (code, "") == (done.returncode, done.stdout), words
        assert "loop" in done.stderr
        assert "unexpected" not in done.stderr
    assert not list(folder.glob("out/*"))
    assert "symbolic links" in migrator(folder, "status", "loop").stderr


@pytest.mark.parametrize("command", ["run", "verify", "seed"])
def test_a_report_without_a_folder_is_refused_before_anything_is_done(folder: Path, command: str) -> None:
    """And not when the work is done."""
    sides = ["good"] if command == "seed" else ["--from", "good", "--to", "out"]
    done = migrator(folder, command, *sides, "--report", "missing/report.json")
    assert (2, "") == (done.returncode, done.stdout)
    wanted = "Report missing/report.json cannot be written: there is no folder missing. Make it, or name another"
    assert wanted in done.stderr
    assert not (folder / "out").exists()


def test_a_report_may_go_into_the_folder_that_the_run_makes(folder: Path) -> None:
    """It is there when the report is written."""
    done = migrator(folder, "run", "--from", "good", "--to", "out", "--report", "out/report.json")
    assert 0 == done.returncode, done.stderr
    assert json.loads((folder / "out" / "report.json").read_text())["ok"] is True


def test_standard_output_carries_results_only(folder: Path) -> None:
    """Logs go to standard error, as JSON when asked; the report alone is on standard output."""
    done = process(folder, "run", "--from", "good", "--to", "out", "--report", "-", "--log-format", "json")
    assert json.loads(done.stdout)["ok"] is True
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events[0] == "folder_chosen"
    assert ["run_started", "collection_started", "collection_finished", "run_finished"] == events[1:]
    table = process(folder, "run", "--from", "good", "--to", "out", "--log-level", "error")
    assert re.search(r"^total +1 +0 +1 +0$", table.stdout, re.MULTILINE)
    assert "" == table.stderr
