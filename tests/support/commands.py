"""Runs the command line inside of a test, and gives what it printed and its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from migrator.cli import cli
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
        return Ran(result.exception.exit_code, f"{result.output}{result.exception}")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.output if with_errors else result.stdout)
