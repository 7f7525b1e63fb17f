"""What `migrator backup` and `migrator restore` share: their flags, and how their result is printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from migrator.cli import options, timer
from migrator.cli.flags import flags, given
from migrator.config import Connection, JobConfig, Watch
from migrator.errors import EXIT_OK, ConfigError

if TYPE_CHECKING:
    from migrator.backup.result import RevisionsResult

F = TypeVar("F", bound=Callable[..., Any])
SERVER = "http(s)://host:5984, or http(s)://host:5984/database for one database."
REPORT = "Also write the result to a file."


def common_options(function: F) -> F:
    """The flags of both, after their own."""
    function = timer.watch_options(options.connection_options(options.log_options(function)))
    return flags(JobConfig, "report", help={"report": REPORT})(function)


def job(values: Mapping[str, Any], *names: str, **more: Any) -> JobConfig:
    """The server's side of a job, its files and who is notified of it, from flags.

    Args:
        values: of all flags, by name.
        names: further options of a job that the command has.
        more: further fields.
    """
    known = {*names, "rejects", "report"}
    own = {name: value for name, value in given(JobConfig, values).items() if name in known}
    return JobConfig(**own, **given(Connection, values), **given(Watch, values), **more)


def server(url: str | None, flag: str) -> str:
    """A server's URL as given, or COUCHDB_URL.

    Raises:
        ConfigError: there is none, or it is something else.
    """
    from migrator.couch.places import checked_place, is_server_url

    found = url or os.environ.get("COUCHDB_URL", "")
    found = checked_place(found, flag if url else "COUCHDB_URL")
    if not is_server_url(found):
        raise ConfigError(
            f"{flag} names no server." if found else f"There is no server: neither {flag} nor COUCHDB_URL.",
            hint=f"For example {flag} http://localhost:5984",
        )
    return found


def tell(result: RevisionsResult, report: str, again: str) -> None:
    """Print the result as one line, write the report, and leave with the exit code.

    Args:
        result: what became of it.
        report: the report file; "" for none.
        again: the command that does what was rejected, after a fix.
    """
    from migrator.report.summary import unconfirmed_lines

    text = json.dumps(result.as_dict())
    if report and report != "-":
        from migrator.cli.rendering import write_report

        write_report(report, json.dumps(result.as_dict(), indent=2) + "\n")
    click.echo(text)
    for database in result.databases:
        for line in unconfirmed_lines(database.unconfirmed):
            click.echo(line, err=True)
        if database.error is not None:
            click.echo(f"Error: {database.database}: {database.error}", err=True)
        elif database.rejected:
            what = "1 revision was" if database.rejected == 1 else f"{database.rejected:,} revisions were"
            where = result.rejects or "the backup"
            click.echo(
                f"{database.database}: {what} rejected; they are in {where}; after a fix: {again}", err=True
            )
    if result.exit_code != EXIT_OK:
        sys.exit(result.exit_code)
