"""`migrator restore`: write databases back as they were at some time."""

from __future__ import annotations

from typing import Any

import click

from migrator.backup.options import RestoreOptions
from migrator.cli import backup_options, options, timer
from migrator.cli.flags import flags, made
from migrator.config import JobConfig


@click.command()
@flags(RestoreOptions, "place")
@flags(JobConfig, "target", help={"target": backup_options.SERVER})
@flags(RestoreOptions, without=("place",))
@flags(
    JobConfig,
    *("rejects", "batch_docs", "batch_bytes", "in_flight"),
    help={
        "rejects": "Where rejected revisions are written.",
        "batch_docs": "Maximum revisions per batch.",
        "in_flight": "Maximum batches sent at once.",
    },
    default={"rejects": "migrator-restore.rejects.ndjson"},
)
@backup_options.common_options
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
    from migrator.cli.again import this_command

    config = backup_options.job(
        values, "batch_docs", "batch_bytes", "in_flight", target=backup_options.server(values["target"], "--to")
    )
    more = () if values["into_existing"] else ("--into-existing",)
    wanted = made(RestoreOptions, values, again=this_command(*more))
    with options.stoppable() as stopping, timer.timed("restore", config) as told:
        with options.listening(values) as listener:
            both = options.all_listeners(listener, told.listener)
            result = run_restore(config, wanted, listener=both, stopping=stopping)
        backup_options.tell(result, config.report, wanted.again)
