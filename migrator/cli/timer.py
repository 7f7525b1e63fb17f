"""What is told of a command that runs on a timer when it ends, however it ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from migrator.config import Watch
from migrator.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_UNEXPECTED, MigratorError

if TYPE_CHECKING:
    from migrator.monitoring.timed import TimedRun


@contextlib.contextmanager
def timed(command: str, watch: Watch, *, json_line: bool = False) -> Iterator[TimedRun]:
    """Tell those who watch that the run begins and how it ends; give it the events as `listener`.

    Raises:
        ConfigError: the metrics file or the URL cannot be used.
    """
    from migrator.monitoring.timed import TimedRun

    run = TimedRun(command, watch.metrics, watch.ping, lambda text: click.echo(text, err=True))
    run.start()
    try:
        yield run
    except BaseException as error:
        _end(run, exit_code_of(error), error, json_line=json_line)
        raise
    _end(run, EXIT_OK, None, json_line=json_line)


def exit_code_of(error: BaseException) -> int:
    """The code with which the command ends by this error."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_OK if error.code is None else EXIT_UNEXPECTED
    if isinstance(error, MigratorError | click.exceptions.Exit | click.ClickException):
        return error.exit_code
    return EXIT_INTERRUPTED if isinstance(error, click.Abort | KeyboardInterrupt) else EXIT_UNEXPECTED


def _end(run: TimedRun, exit_code: int, error: BaseException | None, *, json_line: bool) -> None:
    result = run.end(exit_code, error)
    if json_line:
        # Names from outside can hold what is no Unicode text; escaped, they can be printed.
        click.echo(json.dumps(result))
