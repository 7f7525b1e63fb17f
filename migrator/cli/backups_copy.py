"""`migrator backups copy`: snapshots from one place to another."""

from __future__ import annotations

import sys
from typing import Any

import click

from migrator.backup.options import CopyOptions
from migrator.cli import options
from migrator.cli.flags import Command, flags, made
from migrator.cli.messages import say
from migrator.cli.rendering import show
from migrator.cli.stopping import stoppable
from migrator.config import Watch
from migrator.errors import EXIT_OK, ConfigError
from migrator.files.streams import is_standard_output


@click.command("copy", cls=Command, short_help="Copy snapshots to another place.")
@click.argument("places", nargs=-1, metavar="PLACE PLACE")
@flags(CopyOptions)
@options.watch_options
def copy_command(places: tuple[str, ...], **values: Any) -> None:
    """Copy the snapshots of the first PLACE that the second one does not have, with what they add to.

    Each file is compared with its digest as it is read and after it was written, and a snapshot is there when all
    of its files are. After an interruption the same command goes on. Bytes are copied as they are, without a key;
    with --recipient they are encrypted again. Snapshots of a database of that name on another server are not mixed
    with these. Exit 4 when one is damaged and was not copied.

    Examples:

    \b
      migrator backups copy /var/backups/couchdb s3://bucket/couchdb
      migrator backups copy s3://bucket/couchdb /mnt/disk --database 'orders*' --at 2026-11-25
      migrator backups copy /var/backups/couchdb - --at 2026-11-25 | ssh host 'cat > couchdb.tar'
      migrator backups copy - /var/backups/couchdb < couchdb.tar
    """
    from migrator.backup.copy import run_copy

    asked = made(CopyOptions, values)
    found = [place for place in (asked.source, *places, asked.target) if place]
    if len(found) != 2:
        raise ConfigError(
            f"Two places are wanted, and there {'is' if len(found) == 1 else 'are'} {len(found)}.",
            hint="Name where from and where to: migrator backups copy PLACE PLACE",
        )
    asked = made(CopyOptions, values, source=found[0], target=found[1])
    with options.timed("copy", made(Watch, values)) as told, stoppable() as stopping:
        result = run_copy(asked, tell=say, stopping=stopping)
        show(result.to_dict(), result.as_text(), beside=is_standard_output(asked.target))
        told.exit_code = result.exit_code
    if result.exit_code != EXIT_OK:
        sys.exit(result.exit_code)
