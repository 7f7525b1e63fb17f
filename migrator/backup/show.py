"""A place of backups as its owner wants to see it: what is there, how it grew, and what of it was proven when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from migrator.backup.age import from_future, newest, time_text
from migrator.backup.catalog import Catalog
from migrator.backup.check import Good
from migrator.backup.format.manifest import Manifest
from migrator.backup.format.records import CheckRecord, DrillRecord, read_record
from migrator.backup.listing import Listed, listed
from migrator.backup.schedule import Schedule, schedule_of
from migrator.errors import DamagedBackup

R = TypeVar("R", CheckRecord, DrillRecord)
BY_CHECK = "the last check found it damaged"


class Point(NamedTuple):
    """A snapshot, and the database as it was then.

    `database_documents` and `database_bytes` are the server's numbers, None where it did not say; `change` is by
    how many documents it had more than at the snapshot before.
    """

    row: Listed
    database_documents: int | None = None
    database_bytes: int | None = None
    change: int | None = None
    faults: int = 0
    encrypted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For machines; as `backups list` has it, and more."""
        return {**self.row._asdict(), **{name: value for name, value in self._asdict().items() if name != "row"}}


@dataclass(slots=True)
class ShownDatabase:
    """What there is of one database.

    Args:
        database: its name.
        points: its snapshots, oldest first, damaged ones too.
        schedule: what their times tell.
        newest_good: the one that was finished last of those that can be restored.
        age: how old that is.
        ahead: the ids of those that seem to be from the future.
        unfinished: the ids of those that were begun and not finished.
        check: the last whole check.
        drill: the last restore test.
        unreadable: what is wrong with the records of these.
    """

    database: str
    points: list[Point]
    schedule: Schedule
    newest_good: Point | None = None
    age: timedelta | None = None
    ahead: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    check: CheckRecord | None = None
    drill: DrillRecord | None = None
    unreadable: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """All that is stored of it."""
        return sum(point.row.size_bytes for point in self.points)

    @property
    def problems(self) -> list[Listed]:
        """The snapshots with which something is wrong."""
        return [point.row for point in self.points if point.row.problem]

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        good, usual = self.newest_good, self.schedule.usual
        return {
            "database": self.database,
            "ok": not self.problems,
            "newest_good": good.row.snapshot if good else None,
            "finished": good.row.finished if good else None,
            "age_s": None if self.age is None else int(self.age.total_seconds()),
            "documents": good.database_documents if good else None,
            "size_bytes": self.size_bytes,
            "usual_interval_s": None if usual is None else int(usual.total_seconds()),
            "gaps": list(self.gaps()),
            "check": self.check and asdict(self.check),
            "drill": self.drill and asdict(self.drill),
            "unreadable_records": self.unreadable,
            "from_the_future": self.ahead,
            "unfinished": self.unfinished,
            "snapshots": [point.as_dict() for point in self.points],
        }

    def gaps(self) -> Iterator[dict[str, Any]]:
        """Where snapshots are missing; `until` is None where that lasts."""
        for gap in self.schedule.gaps:
            yield {
                "from": gap.after.finished,
                "until": gap.before.finished if gap.before else None,
                "seconds": int(gap.length.total_seconds()),
            }


@dataclass(frozen=True, slots=True)
class ShownPlace:
    """What there is in a place at a time."""

    place: str
    at: datetime
    databases: Sequence[ShownDatabase]

    @property
    def ok(self) -> bool:
        """True when every snapshot can be restored, as far as is known without reading it."""
        return not any(each.problems for each in self.databases)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "schema": 1,
            "place": self.place,
            "at": time_text(self.at),
            "ok": self.ok,
            "snapshots": sum(len(each.points) for each in self.databases),
            "size_bytes": sum(each.size_bytes for each in self.databases),
            "databases": [each.as_dict() for each in self.databases],
        }


def show_place(catalog: Catalog, databases: Sequence[str], now: datetime) -> ShownPlace:
    """Look at a place; manifests are read, and no other file. No key is needed.

    Args:
        catalog: of the place.
        databases: which.
        now: the time.

    Raises:
        EndpointError: the place cannot be read.
    """
    return ShownPlace(catalog.place.describe(), now, [_shown(catalog, each, now) for each in databases])


def _shown(catalog: Catalog, database: str, now: datetime) -> ShownDatabase:
    survey = catalog.survey(database)
    unreadable: list[str] = []
    check = _record(catalog, CheckRecord, database, unreadable)
    drill = _record(catalog, DrillRecord, database, unreadable)
    manifests = {each.snapshot: each for each in survey.manifests}
    rows = listed(database, survey)
    by_check = frozenset(check.damaged if check else ())
    rows = [row._replace(problem=row.problem or (BY_CHECK if row.snapshot in by_check else "")) for row in rows]
    points = [_point(row, manifests.get(row.snapshot)) for row in rows]
    for place, (before, after) in enumerate(pairwise(points), start=1):
        if before.database_documents is not None and after.database_documents is not None:
            points[place] = after._replace(change=after.database_documents - before.database_documents)
    found = {point.row.snapshot: point for point in points}
    # Of one whose manifest has only its copy left nothing is lost.
    good = [
        Good(row.snapshot, row.finished)
        for row in rows
        if row.chain and row.snapshot not in by_check and row.finished
    ]
    last = newest(good, now)
    return ShownDatabase(
        database,
        points,
        schedule_of(survey.manifests, now),
        found[last.snapshot] if last else None,
        now - last.finished_at if last else None,
        [each.snapshot for each in from_future(good, now)],
        catalog.unfinished(database),
        check,
        drill,
        unreadable,
    )


def _point(row: Listed, manifest: Manifest | None) -> Point:
    if manifest is None:
        return Point(row)
    facts = manifest.facts
    return Point(
        row, facts.documents, facts.size_bytes, None, manifest.counts.faults, encrypted=bool(manifest.encryption)
    )


def _record(catalog: Catalog, kind: type[R], database: str, unreadable: list[str]) -> R | None:
    try:
        return read_record(catalog.place, kind, database)
    except DamagedBackup as error:
        unreadable.append(error.message)
        return None
