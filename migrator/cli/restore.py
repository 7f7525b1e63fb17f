"""`migrator restore`: write databases back as they were at some time."""

from __future__ import annotations

from typing import Any

import click

from migrator.cli import chapters, options, timer


@click.command()
@click.option("--from", "place", metavar="PLACE", required=True, help=f"Where backups are: {chapters.PLACES}.")
@click.option(
    "--to",
    "target",
    metavar="URL",
    help="http(s)://host:5984, or http(s)://host:5984/database for one. [default: COUCHDB_URL]",
)
@click.option(
    "--at",
    metavar="TIME",
    default="",
    help="As of this time: 2026-11-25T03:00:00Z, 2026-11-25 03:00 (local), 2026-11-25 (its end), or a snapshot's "
    "id. [default: the newest]",
)
@click.option(
    "--database",
    "databases",
    metavar="PATTERN",
    multiple=True,
    help="Only databases of this name, in which * and ? may stand; may be given again. Names that begin with _ "
    "must be given with it. [default: all others]",
)
@click.option("--id", "ids", metavar="ID", multiple=True, help="Only this document; may be given again.")
@click.option(
    "--map", metavar="OLD=NEW", multiple=True, help="Restore a database to another name; may be given again."
)
@click.option("--into-existing", is_flag=True, help="Also into databases that hold documents; none is removed.")
@click.option(
    "--restore-security/--no-security",
    "security",
    default=None,
    help="Give databases the security object of the backup, or none. [default: those that restore makes]",
)
@click.option(
    "--start-replications", is_flag=True, help="Restore _replicator, whose jobs the server starts at once."
)
@chapters.identity_option
@click.option(
    "--rejects",
    metavar="FILE",
    default="",
    help="Where revisions go that were not written. [default: migrator-restore.rejects.ndjson]",
)
@click.option("--batch-docs", type=int, metavar="N", help="Most revisions in a batch. [default: 1000]")
@click.option("--batch-bytes", type=int, metavar="N", help="Most bytes in a batch. [default: 2000000]")
@click.option("--in-flight", type=int, metavar="N", help="Batches sent at once. [default: 8]")
@chapters.common_options
def restore(log_format: str, log_level: str, quiet: bool, report: str, **flags: Any) -> None:
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
    from migrator.backup.options import RestoreOptions  # noqa: PLC0415 late, for a quick start
    from migrator.backup.restore import run_restore  # noqa: PLC0415
    from migrator.cli.again import this_command  # noqa: PLC0415

    sizes = ("batch_docs", "batch_bytes", "in_flight")
    config = chapters.job(flags, "rejects", *sizes, target=chapters.server(flags["target"], "--to"))
    names = ("place", "databases", "at", "ids", "into_existing", "security", "start_replications", "identity")
    wanted = RestoreOptions(
        **{name: flags[name] for name in names},
        map=dict(options.pair(text) for text in flags["map"]),
        again=this_command(*(() if flags["into_existing"] else ("--into-existing",))),
    )
    watched = timer.timed("restore", metrics=flags["metrics"] or "", ping=flags["ping"] or "")
    with options.stoppable() as stopping, watched as told:
        with options.listening(log_format, log_level, quiet=quiet) as listener:
            both = options.all_listeners(listener, told.listener)
            result = run_restore(config, wanted, listener=both, stopping=stopping)
        chapters.tell(result, report, wanted.again)
