"""What docs/reference/same-everywhere.md says holds for every command, also for one that is added later."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from migrator.checkpoint.file import COMMAND, Checkpoint, CheckpointFile, CollectionState
from migrator.cli import cli, options
from migrator.cli.flags import Command
from migrator.config import JobConfig
from migrator.config.option import DATABASES
from migrator.config.words import words_of
from migrator.model.events import RetryScheduled
from tests.support.commands import run_whole
from tests.support.processes import LIMIT_S, started

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "same-everywhere.md"
# Standard output belongs to a tap's runner, or is a shell's script.
OWN_OUTPUT = {"singer-target", "completion"}
# A parameter of these names chooses databases or collections.
CHOOSING = {"collection", "databases", "database", "patterns"}


def walk(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command of the tree, by the words that are typed."""
    context = click.Context(group)
    for word in group.list_commands(context):
        found = group.get_command(context, word)
        assert found is not None
        if isinstance(found, click.Group):
            yield from walk(found, f"{name}{word} ")
        else:
            yield name + word, found


COMMANDS = dict(walk(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_options_have_one_meaning(name: str) -> None:
    """--json, --quiet and the choice of databases are everywhere, and each is the same option."""
    flags = {flag: param for param in COMMANDS[name].params for flag in param.opts}
    assert {"-q", "--quiet"} <= set(flags)
    assert ("--json" in flags) is (name not in OWN_OUTPUT)
    for param in COMMANDS[name].params:
        if param.name in CHOOSING:
            assert " ".join(param.opts) == DATABASES
    if "--resume" in flags:
        assert {"--restart", "--checkpoint"} <= set(flags)


def test_the_page_names_what_is_not_as_everywhere() -> None:
    """And each option that it explains is one."""
    text = PAGE.read_text(encoding="utf-8")
    for name in OWN_OUTPUT:
        assert f"`{name}`" in text
    known = {flag for command in COMMANDS.values() for param in command.params for flag in param.opts}
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= known


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--from", "NONE", "--to", "out"],
        ["plan", "--from", "NONE", "--to", "out"],
        ["verify", "--from", "NONE", "--to", "out"],
        ["verify", "--from", "in", "--to", "NONE"],
        ["run", "--from", "in", "--to", "out", "--database", "NONE*"],
        ["retry", "NONE", "--to", "out"],
        ["status", "NONE"],
        ["report", "NONE"],
        ["apply", "NONE"],
        ["seed", "NONE", "--to", "http://localhost:1"],
        ["seed", "empty", "--to", "http://localhost:1"],
        ["restore", "--from", "NONE", "--to", "http://localhost:1"],
        ["backups", "list", "--from", "NONE"],
        ["backups", "check", "--from", "NONE"],
        ["backups", "check", "--from", "NONE", "--max-age", "26h"],
        ["backups", "show", "NONE"],
        ["backups", "ls", "--from", "NONE"],
        ["backups", "find", "--from", "NONE", "a"],
        ["backups", "diff", "--from", "NONE", "2026-11-25"],
        ["backups", "cat", "--from", "NONE", "orders", "a"],
        ["backups", "history", "--from", "NONE", "orders", "a"],
        ["backups", "prune", "--from", "NONE", "--keep-last", "1"],
        ["backups", "copy", "NONE", "x"],
        ["convert", "--from", "NONE", "--to", "x", "--format", "ndjson"],
        ["run", "-c", "NONE"],
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_exit_code_2(words: list[str], tmp_path: Path) -> None:
    """Source, target, plan, checkpoint, report, backup: and nothing is made or printed."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "orders.ndjson").write_text('{"_id": "a"}\n')
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    done = run_whole(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert ("NONE" if "NONE" in str(words) else "empty") in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_quiet_prints_nothing_on_success_and_all_of_it_otherwise(tmp_path: Path) -> None:
    """And --json is one line, also then."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "orders.ndjson").write_text('{"_id": "a"}\n')
    sides = ("--from", "in", "--to", "out")
    for words in (["run", *sides], ["verify", *sides], ["plan", *sides], ["plugins"]):
        done = run_whole(tmp_path, *words, "-q")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), words
        done = run_whole(tmp_path, *words, "-q", "--json")
        assert done.stdout.count("\n") == 1, words
        assert json.loads(done.stdout)
    with (tmp_path / "result.txt").open("w+") as kept:
        command = [sys.executable, "-m", "migrator", "verify", *sides, "-q"]
        subprocess.run(command, cwd=tmp_path, stdout=kept, check=True, timeout=60)
        assert kept.tell(), "what is sent into a file is kept"
    (tmp_path / "out" / "orders.ndjson").write_text('{"_id": "b"}\n')
    done = run_whole(tmp_path, "verify", *sides, "-q")
    assert done.returncode == 4
    assert "missing: orders 'a'" in done.stdout


@pytest.mark.parametrize(
    ("job", "words", "command"),
    [
        (
            {"source": "in", "target": "http://h:5984"},
            words_of(JobConfig(source="in", target="http://u:secret@h:5984", map={"a": "b"}, codec="tagged")),
            "migrator run --from in --to http://h:5984 --map a=b --codec tagged --checkpoint c.json --resume",
        ),
        (
            {"source": "in", "target": "http://h:5984", "operation": "verify"},
            words_of(JobConfig(source="in", target="http://h:5984", checkpoint="c.json")),
            "migrator verify --from in --to http://h:5984 --checkpoint c.json --resume",
        ),
        (
            {"source": "http://a:1", "target": "http://h:5984", "operation": "since last"},
            [],
            "migrator run --since-last --from http://a:1 --to http://h:5984 --checkpoint c.json --resume",
        ),
        (
            {"command": "apply", "plan": "0" * 32},
            ["migrator", "apply", "move.json", "--checkpoint", "c.json", "--restart"],
            "migrator apply move.json --checkpoint c.json --resume",
        ),
    ],
)
def test_status_names_the_whole_command(
    tmp_path: Path, job: dict[str, str], words: list[str], command: str
) -> None:
    """Of each kind of checkpoint, also of one that an older version wrote, and without credentials."""
    checkpoint = Checkpoint(job=dict(job), collections={"a": CollectionState(position="1")})
    if words:
        checkpoint.details[COMMAND] = words
    CheckpointFile(tmp_path / "c.json").save(checkpoint)
    assert "secret" not in (tmp_path / "c.json").read_text()
    done = run_whole(tmp_path, "status", "c.json")
    assert done.returncode == 0
    assert done.stdout.endswith(f"The job is not finished. Go on with: {command}\n")


@pytest.mark.parametrize("code", [0, 5])
def test_what_was_overcome_is_not_told_quietly(code: int) -> None:
    """A wait for a server that came back is no news; where a command failed, waits of any thread are told."""

    @click.command(cls=Command)
    @options.log_options
    def work(**values: Any) -> None:
        with options.listening(values) as listener:
            event = RetryScheduled("reach it", 1, 0.5, "gone")
            started(partial(listener, event)).join(LIMIT_S)
        sys.exit(code)

    done = CliRunner().invoke(work, ["-q"])
    assert (done.exit_code, done.stdout) == (code, "")
    assert ("retry_scheduled" in done.stderr) is bool(code)


def test_a_result_is_not_mixed_with_documents(tmp_path: Path) -> None:
    """Where these go to standard output, the line of JSON goes beside them."""
    reject = {"collection": "a", "id": "x", "stage": "load", "error": "e", "reason": "r", "document": {"_id": "x"}}
    (tmp_path / "r.ndjson").write_text(json.dumps(reject) + "\n")
    command = [sys.executable, "-m", "migrator", "retry", "r.ndjson", "--to", "-", "--json", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == '{"_id":"x"}\n'
    assert json.loads(done.stderr)["totals"]["written"] == 1
