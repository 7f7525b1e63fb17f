"""What `migrator backup` and `migrator restore` share: their flags, and how their result is told."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from migrator.cli import options, timer
from migrator.errors import EXIT_OK, ConfigError

if TYPE_CHECKING:
    from migrator.backup.options import ChapterResult
    from migrator.config import JobConfig

PLACES = "a folder, or s3://bucket/path, gcs://…, abfs://…, sftp://host/path"

identity_option = click.option(
    "--identity", metavar="FILE", default="", help="The secret key of an encrypted place, as age-keygen writes it."
)
common_options = options.together(
    click.option("--report", metavar="FILE", default="", help="Write the result to a file, too."),
    timer.watch_options,
    options.connection_options,
    options.log_options,
)


def job(flags: dict[str, Any], *names: str, **more: Any) -> JobConfig:
    """The server's side of a job: what is given of connection and writing flags."""
    from migrator.config import JobConfig  # noqa: PLC0415 late, for a quick start

    connection = ("timeout_s", "max_attempts", "max_outage_s", "ca_file", "client_cert", "client_key")
    values = {name: flags[name] for name in (*connection, *names) if flags.get(name) is not None}
    return JobConfig(**values, **more)


def server(url: str | None, flag: str) -> str:
    """A server's URL as given, or COUCHDB_URL.

    Raises:
        ConfigError: there is none, or it is something else.
    """
    from migrator.couch.places import checked_place, is_server_url  # noqa: PLC0415

    found = url or os.environ.get("COUCHDB_URL", "")
    found = checked_place(found, flag if url else "COUCHDB_URL")
    if not is_server_url(found):
        raise ConfigError(
            f"{flag} names no server." if found else f"There is no server: neither {flag} nor COUCHDB_URL.",
            hint=f"For example {flag} http://localhost:5984",
        )
    return found


def tell(result: ChapterResult, report: str, again: str) -> None:
    """Print the result as one line, write the report, and leave with the exit code.

    Args:
        result: what became of it.
        report: the report file; "" for none.
        again: the command that does what was rejected, after a fix.
    """
    from migrator.report.summary import unconfirmed_lines  # noqa: PLC0415 late, for a quick start

    text = json.dumps(result.as_dict())
    if report and report != "-":
        from migrator.cli.rendering import write_report  # noqa: PLC0415

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
