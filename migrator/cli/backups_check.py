"""`migrator backups check`: reads what is in a place, and restores the newest where that is asked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from migrator.backup.age import Overdue, overdue, parse_age, watched
from migrator.backup.catalog import Catalog
from migrator.backup.format.cipher import open_cipher
from migrator.backup.options import RestoreOptions
from migrator.backup.storage.base import open_place
from migrator.cli import options
from migrator.cli.backup_options import database_option, from_option, lines_text, readable
from migrator.cli.flags import Command, flags, made
from migrator.cli.messages import say
from migrator.cli.rendering import show, this_command
from migrator.cli.stopping import stoppable
from migrator.config import LogOptions, Watch
from migrator.config.option import DATABASES, option, options_class
from migrator.errors import EXIT_DIFFERENCES, ConfigError, Interrupted
from migrator.files.urls import shown_url
from migrator.naming import counted, printable, was
from migrator.report.summary import unconfirmed_lines

if TYPE_CHECKING:
    from migrator.backup.check import Checked
    from migrator.backup.format.manifest import Manifest
    from migrator.backup.restore_test import Drill

MAX_NAMED = 10
"""With more databases than these, a command that names each does not help."""


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


@options_class
class AgeOptions:
    """How old the newest snapshots may be, and how much is read to know."""

    max_age: timedelta | None = option(
        None,
        "Also fail, with 4, where the newest good snapshot of a database was finished longer ago: 26h, 8d, 5w.",
        unit="DURATION",
        read=parse_age,
    )
    manifests_only: bool = option(
        False, "Read manifests only, and see whether all files are there: seconds, where the whole takes hours."
    )


@click.command("check", cls=Command, short_help="Read everything and name what is damaged or too old.")
@from_option
@database_option
@flags(AgeOptions)
@flags(RestoreOptions, "identity")
@flags(DrillOptions)
@flags(LogOptions, "quiet", help={"quiet": "No progress."})
@options.watch_options
@options.connection_options
def check_command(**values: Any) -> None:
    """Read all of the backups in PLACE: every file against its digest, every line, count and attachment.

    Names what is damaged and ends with 4. Without the key, encrypted files are compared with their digests only.

    With --max-age it also ends with 4 where the newest snapshot that can be restored is older: the watchdog of a
    timer that has died. With --manifests-only beside it, it can run every hour.

    With --drill, the newest snapshot of each database is restored as well, and each leaf, its ancestry and its
    attachments are compared with the backup.

    Examples:

    \b
      migrator backups check --from /var/backups/couchdb
      migrator backups check --from s3://bucket/couchdb --database orders --identity key.txt
      migrator backups check --from /var/backups/couchdb --drill --to http://localhost:5984
      migrator backups check --from /var/backups/couchdb --max-age 26h --manifests-only
    """
    from migrator.backup.check import check
    from migrator.backup.record import Recorder
    from migrator.files.streams import is_stream

    asked, age, wanted = made(DrillOptions, values), made(AgeOptions, values), made(RestoreOptions, values)
    if asked.target and not asked.drill:
        raise ConfigError("--to names a server, but nothing is restored.", hint="Add --drill, or leave it out.")
    from migrator.jobs.registry import server_text

    config = options.part_of_job(values, target=server_text(asked.target, "target")) if asked.drill else None
    with options.timed("check", made(Watch, values)) as run, stoppable() as stopping:
        opened = open_place(wanted.place, stopping=stopping)
        cipher = open_cipher(identity_file=wanted.identity or None)
        catalog = Catalog(opened, cipher)
        names = watched(catalog, wanted.databases) if age.max_age else catalog.chosen(wanted.databases)

        def tell(manifest: Manifest, what: str = "") -> None:
            if stopping.is_set():
                raise Interrupted("Stopped; not all was looked at.", hint="Start it again.")
            if what and not values["quiet"]:
                say(f"{what} {printable(manifest.database)} {manifest.snapshot}")

        recorder = Recorder(opened, partial(say, level="warning"))
        reading = partial(tell, what="" if age.manifests_only else "reading")
        checked = check(opened, names, cipher, contents=not age.manifests_only, listener=reading)
        found = Found(checked, manifests_only=age.manifests_only)
        # What came through a pipe keeps nothing.
        keeps = not is_stream(wanted.place)
        if keeps and not age.manifests_only:
            recorder.checked(checked)
        if age.max_age:
            place = shown_url(wanted.place)
            found.overdue += overdue(checked.by_database, age.max_age, datetime.now(UTC), place=place)
        if config:
            from migrator.backup.restore_test import drill

            for each in drill(config, wanted, names, stopping=stopping, told=partial(tell, what="restoring")):
                found.drills.append(each)
                if keeps:
                    recorder.drilled(each)
        found.recorded = recorder.ok if keeps and (config or not age.manifests_only) else None
        show(found_as_dict(found), found_to_text(found, opened.describe()))
        if not found.ok:
            run.failure = " ".join(found.verdicts)
            sys.exit(EXIT_DIFFERENCES)


@dataclass(slots=True)
class Found:
    """What came of it. `recorded` is False where the place refused it, None where nothing was to be recorded."""

    checked: Checked
    drills: list[Drill] = field(default_factory=list)
    overdue: list[Overdue] = field(default_factory=list)
    recorded: bool | None = None
    manifests_only: bool = False

    @property
    def ok(self) -> bool:
        """True when nothing is damaged, too old or different."""
        return self.checked.ok and not self.overdue and all(drill.ok for drill in self.drills)

    @property
    def verdicts(self) -> Iterator[str]:
        """What is wrong with which database, without ids of documents: for those who are told elsewhere."""
        for each in self.checked.by_database:
            if each.problems:
                yield f"{printable(each.database)}: {counted(each.problems, 'problem')}."
        yield from (f"{printable(each.database)}: {each.what}" for each in self.overdue)
        for drill in self.drills:
            if not drill.ok:
                yield f"{printable(drill.database)}: restored, it was not what {drill.snapshot} holds."


def found_to_text(found: Found, place: str) -> str:
    """What was looked at and restored, and each thing that is wrong."""
    checked = found.checked
    lines = [
        f"DAMAGED {f'{printable(problem.database)} {problem.snapshot}'.rstrip()}: {problem.what}"
        for problem in checked.problems
    ]
    lines.append(
        f"{counted(checked.snapshots, 'snapshot')} of {counted(checked.databases, 'database')} in {place}: "
        f"{counted(checked.files, 'file')}, {readable(checked.size_bytes)}"
        f"{'' if found.manifests_only else f', {_leaves(checked)}'}"
    )
    if checked.sealed:
        sealed = f"{checked.sealed:,} {was(checked.sealed, 'is', 'are')} encrypted"
        lines.append(f"{sealed}: only digests were compared (--identity FILE looks inside)")
    whole = "All files are there; none was read." if found.manifests_only else "All is as it was written."
    lines.append(whole if checked.ok else f"{counted(len(checked.problems), 'problem')}.")
    lines += [f"OVERDUE {printable(each.database)}: {each.what} Make one: {each.next}" for each in found.overdue]
    if found.overdue:
        lines.append(_without_those_gone(found))
    for drill in found.drills:
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


def _without_those_gone(found: Found) -> str:
    """What to type where a database is gone on purpose."""
    late = {each.database for each in found.overdue}
    fresh = [each.database for each in found.checked.by_database if each.database not in late]
    text = "Where a database was removed from the server on purpose, "
    if not 0 < len(fresh) <= MAX_NAMED:
        return f"{text}choose the others with --database, or remove its backups."
    names = [word for name in fresh for word in ("--database", name)]
    return f"{text}watch the others: {this_command(*names, without=DATABASES.split())}"


def found_as_dict(found: Found) -> dict[str, Any]:
    """The same for machines."""
    checked = found.checked
    value = {"ok": found.ok, **asdict(checked)}
    value["problems"] = [problem._asdict() for problem in checked.problems]
    value["by_database"] = [
        {
            "database": each.database,
            "snapshots": each.snapshots,
            "problems": each.problems,
            "newest_good": each.good[-1].snapshot if each.good else None,
        }
        for each in checked.by_database
    ]
    value["overdue"] = [each._asdict() for each in found.overdue]
    value["drills"] = [{"ok": drill.ok, **asdict(drill)} for drill in found.drills]
    value["recorded"] = found.recorded
    return value
