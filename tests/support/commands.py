"""Runs the command line inside of a test, and gives what it printed and its exit code.

A process takes longer to start than most commands take: tests start one where the process is the subject.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from click.testing import CliRunner

from migrator.cli import cli, main
from migrator.errors import MigratorError


@dataclass
class Ran:
    """What a command printed, and its exit code."""

    code: int
    output: str

    @property
    def value(self) -> Any:
        """The JSON that it printed."""
        return json.loads(self.output)


Command = Callable[..., Ran]


def run(*arguments: str, with_errors: bool = False) -> Ran:
    """Run a command; an error for people becomes its exit code and its text, any other is raised.

    Args:
        arguments: the command's words.
        with_errors: what a command that ended well said on standard error counts as printed too.
    """
    result = CliRunner().invoke(cli, list(arguments))
    if isinstance(result.exception, MigratorError):
        return Ran(result.exception.exit_code, f"{result.output}{result.exception.text}")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.output if with_errors else result.stdout)


def run_whole(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder as its process does, up to the last words to people and the exit code.

    Args:
        folder: the current folder meanwhile; modules that are imported from it are forgotten afterwards.
        words: the command's words.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    code: Any = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(mock.patch.object(sys, "argv", ["migrator", *words]))
        stack.enter_context(mock.patch.object(sys, "path", [*sys.path]))
        stack.enter_context(contextlib.redirect_stdout(streams[0]))
        stack.enter_context(contextlib.redirect_stderr(streams[1]))
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    said = []
    for stream in streams:
        stream.seek(0)
        said.append(stream.read())
    return subprocess.CompletedProcess(words, code, *said)
