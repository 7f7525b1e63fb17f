"""`migrator backups check`: reads what is in a place, and restores the newest where that is asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from migrator.backup.catalog import Catalog
from migrator.backup.format.cipher import open_cipher
from migrator.backup.options import RestoreOptions
from migrator.backup.storage.base import open_place
from migrator.cli import options
from migrator.cli.backup_options import database_option, from_option, lines_text, readable
from migrator.cli.flags import Command, flags, made
from migrator.cli.messages import say
from migrator.cli.rendering import show
from migrator.cli.stopping import stoppable
from migrator.config import LogOptions, Watch
from migrator.config.option import option, options_class
from migrator.errors import EXIT_DIFFERENCES, ConfigError, Interrupted
from migrator.naming import counted, printable, was
from migrator.report.summary import unconfirmed_lines

if TYPE_CHECKING:
    from migrator.backup.check import Checked
    from migrator.backup.format.manifest import Manifest
    from migrator.backup.restore_test import Drill


@options_class
class DrillOptions:
    """Whether backups are restored to be checked, and where."""

    drill: bool = option(False, "Also restore the newest snapshot of each database and compare it.")
    target: str = option(
        "",
        "The server for --drill, http(s)://host:5984. Each snapshot is restored to a temporary database.",
        unit="URL",
        flag="--to",
        text="COUCHDB_URL",
    )


@click.command("check", cls=Command, short_help="Read everything and name what is damaged.")
@from_option
@database_option
@flags(RestoreOptions, "identity")
@flags(DrillOptions)
@flags(LogOptions, "quiet", help={"quiet": "No progress."})
@options.watch_options
@options.connection_options
def check_command(**values: Any) -> None:
    """Read all of the backups in PLACE: every file against its digest, every line, count and attachment.

    Names what is damaged and ends with 4. Without the key, encrypted files are compared with their digests only.

    With --drill, the newest snapshot of each database is restored as well, and each leaf, its ancestry and its
    attachments are compared with the backup.

    Examples:

    \b
      migrator backups check --from /var/backups/couchdb
      migrator backups check --from s3://bucket/couchdb --database orders --identity key.txt
      migrator backups check --from /var/backups/couchdb --drill --to http://localhost:5984
    """
    from migrator.backup.check import check

    asked, wanted = made(DrillOptions, values), made(RestoreOptions, values)
    if asked.target and not asked.drill:
        raise ConfigError("--to names a server, but nothing is restored.", hint="Add --drill, or leave it out.")
    from migrator.jobs.registry import server_text

    config = options.part_of_job(values, target=server_text(asked.target, "target")) if asked.drill else None
    with options.timed("check", made(Watch, values)), stoppable() as stopping:
        opened = open_place(wanted.place)
        cipher = open_cipher(identity_file=wanted.identity or None)
        names = Catalog(opened).chosen(wanted.databases)

        def tell(manifest: Manifest, what: str = "reading") -> None:
            if stopping.is_set():
                raise Interrupted("Stopped; not all was looked at.", hint="Start it again.")
            if not values["quiet"]:
                say(f"{what} {printable(manifest.database)} {manifest.snapshot}")

        checked = check(opened, names, cipher, listener=tell)
        drills: list[Drill] = []
        if config:
            from migrator.backup.restore_test import drill

            restoring = partial(tell, what="restoring")
            drills += drill(config, wanted, names, stopping=stopping, told=restoring)
        show(
            checked_as_dict(checked, drills),
            checked_to_text(checked, drills, opened.describe()),
        )
        if not checked.ok or not all(each.ok for each in drills):
            sys.exit(EXIT_DIFFERENCES)


def checked_to_text(checked: Checked, drills: Sequence[Drill], place: str) -> str:
    """What was looked at and restored, and each thing that is wrong."""
    lines = [
        f"DAMAGED {f'{printable(problem.database)} {problem.snapshot}'.rstrip()}: {problem.what}"
        for problem in checked.problems
    ]
    lines.append(
        f"{counted(checked.snapshots, 'snapshot')} of {counted(checked.databases, 'database')} in {place}: "
        f"{counted(checked.files, 'file')}, {readable(checked.size_bytes)}, {_leaves(checked)}"
    )
    if checked.sealed:
        sealed = f"{checked.sealed:,} {was(checked.sealed, 'is', 'are')} encrypted"
        lines.append(f"{sealed}: only digests were compared (--identity FILE looks inside)")
    lines.append("All is as it was written." if checked.ok else f"{counted(len(checked.problems), 'problem')}.")
    for drill in drills:
        name = f"{printable(drill.database)} {drill.snapshot}"
        lines += [f"DIFFERENT {name}: {difference}" for difference in drill.differences]
        if drill.faults:
            faults = counted(drill.faults, "leaf", "leaves")
            lines.append(f"{name}: {faults} could not be read when the backup was made")
        lines += unconfirmed_lines(drill.unconfirmed)
        if drill.ok:
            lines.append(f"{name} was restored and is equal: {_leaves(drill)}")
    return lines_text(lines)


def _leaves(found: Checked | Drill) -> str:
    return f"{counted(found.leaves, 'leaf', 'leaves')}, {counted(found.attachments, 'attachment')}"


def checked_as_dict(checked: Checked, drills: Sequence[Drill]) -> dict[str, Any]:
    """The same for machines."""
    value = {"ok": checked.ok and all(drill.ok for drill in drills), **asdict(checked)}
    value["problems"] = [problem._asdict() for problem in checked.problems]
    value["drills"] = [{"ok": drill.ok, **asdict(drill)} for drill in drills]
    return value
