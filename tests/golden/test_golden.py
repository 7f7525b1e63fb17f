"""Help, plan, report, checkpoint and reject file are what they were, but for what was changed on purpose."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from migrator.checkpoint.file import CheckpointFile
from migrator.checkpoint.rejects import line_to_reject
from migrator.cli import COMMANDS, cli

FOLDER = Path(__file__).parent


def assert_golden(name: str, text: str) -> None:
    """Compare with the file, or write it when asked to."""
    path = FOLDER / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def commands() -> dict[str, click.Command]:
    """All commands, and those of groups, by what is typed."""
    found: dict[str, click.Command] = {"": cli}
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {each}": inner for each, inner in command.commands.items()}
    return found


@pytest.mark.parametrize("name", commands())
def test_help(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The help of every command."""
    monkeypatch.setenv("COLUMNS", "100")
    for command in commands().values():
        # Click keeps the help option of the first context that it saw, which may have been another test's.
        monkeypatch.setattr(command, "_help_option", None, raising=False)
    for help in ["help", "help-all"] if getattr(commands()[name], "many", False) else ["help"]:
        result = CliRunner().invoke(cli, [*name.split(), f"--{help}"], prog_name="migrator")
        assert 0 == result.exit_code
        # Click itself lays out the same text in more than one way; words and their order are what counts.
        words = "\n".join(" ".join(line.split()) for line in result.output.splitlines())
        assert_golden(f"{'-'.join([help, *name.split()])}.txt", words + "\n")


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *args: str) -> str:
    """Run a command in a folder; its standard output with the moving parts fixed."""
    monkeypatch.chdir(folder)
    runner = CliRunner()
    try:
        result = runner.invoke(cli, list(args), standalone_mode=False)
    except click.ClickException as error:
        pytest.fail(str(error))
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A source with a good and a bad document."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "agents.ndjson").write_text('{"_id":"a","name":"Ada"}\n{"name":"nobody"}\n')
    return tmp_path


def test_plan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan as people read it."""
    text = run(folder, monkeypatch, "plan", "--from", "source", "--to", "out", "--transform", "drop:secret")
    assert_golden("plan.txt", re.sub(r"migrator-[0-9a-f]{8}", "migrator-JOB", text.replace(str(folder), "")))


def test_report_checkpoint_and_rejects(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three files of a run, with the moving parts fixed."""
    args = ["run", "--from", "source", "--to", "out", "--checkpoint", "cp.json", "--rejects", "r.ndjson", "-q"]
    run(folder, monkeypatch, *args, "--report", "report.json")
    report = json.loads((folder / "report.json").read_text())
    assert report.pop("seconds") >= 0
    assert report.pop("documents_per_second") > 0
    history = report["history"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", history.pop("started_at"))
    assert history["collections"]["agents"].pop("seconds") >= 0
    # How many slices there are depends on the machine's speed.
    assert sum(history.pop("series")["documents"]) == 2
    assert history.pop("interval_s") > 0
    assert list(history.pop("latency_ms")) == ["p50", "p95", "max"]
    assert_golden("report.json", json.dumps(report, indent=2).replace(str(folder), "") + "\n")
    checkpoint = json.loads((folder / "cp.json").read_text())
    assert 64 == len(checkpoint.pop("checksum"))
    assert 32 == len(checkpoint.pop("seed"))
    assert 32 == len(checkpoint.pop("rejects_digest"))
    run_id = checkpoint.pop("run")
    assert checkpoint.pop("started_ms") > 1_700_000_000_000
    # The complete file's size and time of change tell it from a later one.
    size, _, changed_ns = checkpoint["collections"]["agents"].pop("target").partition(" ")
    found = (folder / "out/agents.ndjson").stat()
    assert (int(size), int(changed_ns)) == (found.st_size, found.st_mtime_ns)
    assert_golden("checkpoint.json", json.dumps(checkpoint, indent=2).replace(str(folder), "") + "\n")
    rejects = (folder / "r.ndjson").read_text()
    assert rejects.startswith(f'{{"run":"{run_id}",')
    assert_golden("rejects.ndjson", rejects.replace(str(folder), "").replace(f'"run":"{run_id}",', ""))


def test_the_first_format_of_files_can_be_read() -> None:
    """A checkpoint and a reject file as version 0.1 wrote them are read by every later one."""
    checkpoint = CheckpointFile(FOLDER / "checkpoint-v1.json").load()
    assert checkpoint.collections["agents"].counts.read == 2
    (line,) = (FOLDER / "rejects.ndjson").read_bytes().splitlines()
    assert line_to_reject(line, "golden").error == "missing_id"
