"""Shell completion: what the shells ask is answered, and a real bash completes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from migrator.cli import COMMANDS, cli
from migrator.cli.completion import SHELLS

COMMAND = "import sys; sys.argv[0] = 'migrator'; from migrator.cli import main; main()"


def asked(words: str, place: int, folder: Path) -> list[str]:
    """What bash is told when it asks for the word at a place."""
    environ = {**os.environ, "_MIGRATOR_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], env=environ, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "place", "expected"),
    [
        ("migrator ver", 1, ["plain,verify"]),
        ("migrator run --on-conflict ", 3, ["plain,fail", "plain,skip", "plain,overwrite", "plain,newer"]),
        ("migrator run --batch-d", 2, ["plain,--batch-docs"]),
        ("migrator run --from exp", 3, ["file,exp"]),
        ("migrator status ", 2, ["file,"]),
        ("migrator run --no-such-flag", 2, [""]),
    ],
)
def test_answers_what_a_shell_asks(words: str, place: int, expected: list[str], tmp_path: Path) -> None:
    """Commands, choices and flags by their beginnings; files where a value is wanted."""
    assert asked(words, place, tmp_path) == expected


def test_every_command_is_completed(tmp_path: Path) -> None:
    """The empty word offers all commands."""
    assert asked("migrator ", 1, tmp_path) == [f"plain,{name}" for name in COMMANDS]


@pytest.mark.parametrize("shell", SHELLS)
def test_prints_a_script(shell: str) -> None:
    """For each shell one that asks in its way; those that are here read it without complaint."""
    script = CliRunner().invoke(cli, ["completion", shell], catch_exceptions=False).stdout
    assert f"_MIGRATOR_COMPLETE={shell}_complete" in script
    if program := shutil.which(shell):
        done = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes(tmp_path: Path) -> None:
    """The script in a real bash: the function that it registers fills in the word."""
    program = tmp_path / "migrator"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{COMMAND}" "$@"\n')
    program.chmod(0o755)
    script = """
        source <(migrator completion bash)
        COMP_WORDS=(migrator comple); COMP_CWORD=1
        $(complete -p migrator | sed 's/.*-F \\([^ ]*\\).*/\\1/') migrator
        echo "${COMPREPLY[@]}"
    """
    environ = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], env=environ, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("completion\n", "")


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_examples_are_laid_out_as_they_are_typed(name: str) -> None:
    """Each example stands on a line of its own, whole, in what --help prints."""
    command = cli if not name else cli.get_command(click.Context(cli), name)
    assert command is not None
    examples = [line.strip() for line in (command.help or "").splitlines() if line.strip().startswith("migrator ")]
    assert examples
    shown = CliRunner().invoke(cli, [name, "--help"] if name else ["--help"], prog_name="migrator").output
    lines = [line.strip() for line in shown.splitlines()]
    assert [line for line in examples if line not in lines] == []
