"""Shell completion: what the shells ask is answered, and real ones complete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from migrator.cli import COMMANDS, cli
from migrator.cli.report import SHELLS
from tests.support.processes import LIMIT_S

COMMAND = "import sys; sys.argv[0] = 'migrator'; from migrator.cli import main; main()"


def asked(words: str, place: int, folder: Path) -> list[str]:
    """What bash is told when it asks for the word at a place."""
    environ = {**os.environ, "_MIGRATOR_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
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
        done = subprocess.run(
            [program, "-n"], input=script, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        assert (done.returncode, done.stderr) == (0, "")


# A word's beginning is typed, and the shell is asked what it would put there.
ASKED = {
    "bash": """
        source <(migrator completion bash)
        COMP_WORDS=(migrator comple); COMP_CWORD=1
        $(complete -p migrator | sed 's/.*-F \\([^ ]*\\).*/\\1/') migrator
        echo "${COMPREPLY[@]}"
    """,
    "zsh": """
        zmodload zsh/zpty
        zpty -b shell zsh -f -i
        # A prompt that can be told from all else; the script of a bare zsh must load what it needs itself.
        zpty -w shell 'PS1="ready> "; source <(migrator completion zsh) && echo sourced'
        expect() {
            local text= part tries=0
            while [[ $text != *$1* ]] && (( tries++ < 300 )); do
                if zpty -r -t shell part; then text+=$part; else sleep 0.05; fi
            done
            [[ $text == *$1* ]] || { print -r -- "no $1 in: $text"; exit 1 }
        }
        expect $'sourced\\r'
        expect 'ready> '
        zpty -w -n shell $'migrator comple\\t'
        expect completion
        print completion
    """,
    "fish": """
        migrator completion fish | source
        complete --do-complete "migrator comple" | string split -f 1 \\t
    """,
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes(shell: str, tmp_path: Path) -> None:
    """The script in the shell itself fills in the word."""
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    program = tmp_path / "migrator"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{COMMAND}" "$@"\n')
    program.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(
        [shell, "-c", ASKED[shell]],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=LIMIT_S,
    )
    assert (done.stdout, done.stderr) == ("completion\n", "")


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """The words of every command, those within groups too."""
    yield names
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if found := command.get_command(context, name):
                yield from commands(found, *names, name)


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_examples_are_laid_out_as_they_are_typed(words: tuple[str, ...]) -> None:
    """Every command's help has examples, each on a line of its own, whole, and of that command."""
    shown = CliRunner().invoke(cli, [*words, "--help"], prog_name="migrator").output
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    examples = [line.strip() for line in (command.help or "").splitlines() if line.strip().startswith("migrator ")]
    assert examples
    assert [line for line in examples if not line.startswith(" ".join(["migrator", *words]))] == []
    lines = [line.strip() for line in shown.splitlines()]
    assert [line for line in examples if line not in lines] == []
