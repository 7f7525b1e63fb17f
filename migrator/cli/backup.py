"""`migrator backup`: write what changed in databases to a place."""

from __future__ import annotations

from typing import Any

import click

from migrator.backup.options import BackupOptions
from migrator.cli import backup_options, options, timer
from migrator.cli.flags import flags, made
from migrator.config import JobConfig


@click.command()
@flags(JobConfig, "source", help={"source": backup_options.SERVER}, default={"source": "COUCHDB_URL"})
@flags(BackupOptions)
@flags(
    JobConfig,
    "rejects",
    help={"rejects": "Where the names of revisions are written that could not be read."},
    default={"rejects": "migrator-backup.rejects.ndjson"},
)
@backup_options.common_options
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
    from migrator.cli.again import this_command

    config = backup_options.job(values, source=backup_options.server(values["source"], "--from"))
    wanted = made(BackupOptions, values, again=this_command())
    with options.stoppable() as stopping, timer.timed("backup", config) as told:
        with options.listening(values) as listener:
            both = options.all_listeners(listener, told.listener)
            result = run_backup(config, wanted, listener=both, stopping=stopping)
        backup_options.tell(result, config.report, wanted.again)
