"""`migrator backup` and `migrator restore`: write what changed in databases to a place, and back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from migrator.backup.options import BackupOptions, RestoreOptions
from migrator.cli import options
from migrator.cli.again import this_command, whole_hint
from migrator.cli.flags import flags, made
from migrator.cli.rendering import rejected_text, write_report
from migrator.config import JobConfig
from migrator.couch.places import checked_place, is_server_url
from migrator.errors import EXIT_OK, ConfigError
from migrator.report.summary import dump, unconfirmed_lines

if TYPE_CHECKING:
    from migrator.backup.result import RevisionsResult

F = TypeVar("F", bound=Callable[..., Any])
SERVER = "http(s)://host:5984, or http(s)://host:5984/database for one database."
REPORT = "Also write the result to a file."
OF_RESTORE = ("rejects", "batch_docs", "batch_bytes", "in_flight")


def _common_options(function: F) -> F:
    """The flags of both, after their own."""
    function = options.watch_options(options.connection_options(options.log_options(function)))
    return flags(JobConfig, "report", help={"report": REPORT})(function)


@click.command()
@flags(JobConfig, "source", help={"source": SERVER}, default={"source": "COUCHDB_URL"})
@flags(BackupOptions)
@flags(
    JobConfig,
    "rejects",
    help={"rejects": "Where the names of revisions are written that could not be read."},
    default={"rejects": "migrator-backup.rejects.ndjson"},
)
@_common_options
def backup(**values: Any) -> None:
    """Write databases to PLACE: all the first time, what has changed since then every other time.

    Every leaf revision goes along with its ancestry and attachments: conflicts, tombstones, design documents too.
    A snapshot appears when it is complete. After an interruption the same command goes on.

    The result is one line of JSON on standard output.

    \b
    Examples:
      migrator backup --from http://localhost:5984 --to backups/
      migrator backup --from http://localhost:5984 --database 'orders-*' --database _users --to s3://bucket/couchdb
      migrator backup --from http://localhost:5984/orders --to backups/ --recipient age1…
    """
    from migrator.backup.create import run_backup

    source = server(values["source"], "--from")
    config = options.part_of_job(values, "rejects", "report", source=source)
    _carry_out("backup", run_backup, config, made(BackupOptions, values, again=this_command()), values)


@click.command()
@flags(RestoreOptions, "place")
@flags(JobConfig, "target", help={"target": SERVER})
@flags(RestoreOptions, without=("place",))
@flags(
    JobConfig,
    *OF_RESTORE,
    help={
        "rejects": "Where rejected revisions are written.",
        "batch_docs": "Maximum revisions per batch.",
        "in_flight": "Maximum batches sent at once.",
    },
    default={"rejects": "migrator-restore.rejects.ndjson"},
)
@_common_options
def restore(**values: Any) -> None:
    """Write databases of PLACE back to a server, with the very revisions that they had.

    A database is made with the shards and the partitioning of the old one. Design documents come last, and who is
    let in at the very end. After an interruption the same command writes what is missing.

    The result is one line of JSON on standard output.

    \b
    Examples:
      migrator restore --from backups/ --to http://localhost:5984
      migrator restore --from backups/ --to http://localhost:5984 --database orders --map orders=orders-old
      migrator restore --from backups/ --to http://localhost:5984 --database orders --id o-17 --into-existing
      migrator restore --from backups/ --to http://localhost:5984 --at 2026-11-25T03:00:00Z
    """
    from migrator.backup.restore import run_restore

    target = server(values["target"], "--to")
    config = options.part_of_job(values, *OF_RESTORE, "report", target=target)
    more = () if values["into_existing"] else ("--into-existing",)
    _carry_out("restore", run_restore, config, made(RestoreOptions, values, again=this_command(*more)), values)


def _carry_out(
    name: str,
    function: Callable[..., RevisionsResult],
    config: JobConfig,
    wanted: BackupOptions | RestoreOptions,
    values: Mapping[str, Any],
) -> None:
    """Back up or restore, tell who watches, and print what became of it."""
    with options.stoppable() as stopping, options.timed(name, config) as told:
        with options.listening(values, told.listener) as listener:
            result = function(config, wanted, listener=listener, stopping=stopping)
        _tell(result, config.report, wanted.again)


def server(url: str | None, flag: str) -> str:
    """A server's URL as given, or COUCHDB_URL.

    Raises:
        ConfigError: there is none, or it is something else.
    """
    found = url or os.environ.get("COUCHDB_URL", "")
    found = checked_place(found, flag if url else "COUCHDB_URL")
    if not is_server_url(found):
        raise ConfigError(
            f"{flag} names no server." if found else f"There is no server: neither {flag} nor COUCHDB_URL.",
            hint=f"For example {flag} http://localhost:5984",
        )
    return found


def _tell(result: RevisionsResult, report: str, again: str) -> None:
    """Print the result as one line, write the report, and leave with the exit code.

    Args:
        result: what became of it.
        report: the report file; "" for none.
        again: the command that does what was rejected, after a fix.
    """
    for database in result.databases:
        if database.error is not None:
            database.error.hint = whole_hint(database.error)
    value = result.as_dict()
    if report and report != "-":
        write_report(report, dump(value))
    click.echo(json.dumps(value))
    for database in result.databases:
        for line in unconfirmed_lines(database.unconfirmed):
            click.echo(line, err=True)
        if database.error is not None:
            click.echo(f"Error: {database.database}: {database.error.text}", err=True)
        elif database.rejected:
            what, where = rejected_text(database.rejected, "revision"), result.rejects or "the backup"
            click.echo(f"{database.database}: {what}; they are in {where}; after a fix: {again}", err=True)
    if result.exit_code != EXIT_OK:
        sys.exit(result.exit_code)
