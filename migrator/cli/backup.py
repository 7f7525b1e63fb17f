"""`migrator backup`: write what changed in databases to a place."""

from __future__ import annotations

from typing import Any

import click

from migrator.cli import chapters, options, timer

# The library's own default stands in a module that is too slow to import for a help text; a test holds them equal.
FULL_EVERY = 30


@click.command()
@click.option(
    "--from",
    "source",
    metavar="URL",
    help="http(s)://host:5984, or http(s)://host:5984/database for one. [default: COUCHDB_URL]",
)
@click.option(
    "--database",
    "databases",
    metavar="PATTERN",
    multiple=True,
    help="Only databases of this name, in which * and ? may stand; may be given again. Names that begin with _ "
    "must be given with it. [default: all others]",
)
@click.option("--to", "place", metavar="PLACE", required=True, help=f"Where backups are kept: {chapters.PLACES}.")
@click.option("--full", is_flag=True, help="Begin anew, whatever is there.")
@click.option(
    "--full-every",
    type=int,
    metavar="N",
    default=FULL_EVERY,
    show_default=True,
    help="Begin anew when so many snapshots stand on each other.",
)
@click.option(
    "--recipient",
    "recipients",
    metavar="KEY",
    multiple=True,
    help="Encrypt to this public key, age1… or ssh-…; may be given again.",
)
@chapters.identity_option
@click.option(
    "--rejects",
    metavar="FILE",
    default="",
    help="Where the names of revisions go that could not be read. [default: migrator-backup.rejects.ndjson]",
)
@chapters.common_options
def backup(log_format: str, log_level: str, quiet: bool, report: str, **flags: Any) -> None:
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
    from migrator.backup.create import run_backup  # noqa: PLC0415
    from migrator.backup.options import BackupOptions  # noqa: PLC0415 late, for a quick start
    from migrator.cli.again import this_command  # noqa: PLC0415

    config = chapters.job(flags, "rejects", source=chapters.server(flags["source"], "--from"))
    names = ("place", "databases", "full", "full_every", "recipients", "identity")
    wanted = BackupOptions(**{name: flags[name] for name in names}, again=this_command())
    watched = timer.timed("backup", metrics=flags["metrics"] or "", ping=flags["ping"] or "")
    with options.stoppable() as stopping, watched as told:
        with options.listening(log_format, log_level, quiet=quiet) as listener:
            both = options.all_listeners(listener, told.listener)
            result = run_backup(config, wanted, listener=both, stopping=stopping)
        chapters.tell(result, report, wanted.again)
