"""What a place keeps of its last check and its last restore test, a file each for every database.

Numbers and ids of snapshots only: no id of a document, which an encrypted place must not show.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TypeVar

from migrator.backup.format.manifest import damaged, is_snapshot_id, with_sum, without_sum
from migrator.backup.storage.base import Place
from migrator.files.own_json import from_json
from migrator.naming import file_name

VERSION = 1
MAX_IDS = 1_000
"""Of so many damaged snapshots the ids are kept, the newest."""


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """A check that read everything.

    Args:
        finished: when, in UTC.
        ok: nothing was wrong.
        snapshots: how many there were.
        problems: how many things were wrong.
        newest_good: the newest snapshot that can be restored; "" where none can.
        damaged: the ids of those that cannot.
        sealed: how many could be compared with their digests only.
    """

    finished: str
    ok: bool
    snapshots: int = 0
    problems: int = 0
    newest_good: str = ""
    damaged: tuple[str, ...] = ()
    sealed: int = 0


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """A restore test.

    Args:
        finished: when, in UTC.
        ok: what was restored is what the backup holds.
        snapshot: which one was restored.
        leaves: of so many equality was shown.
        attachments: of so many as well.
        differences: so many things were not equal, or more.
    """

    finished: str
    ok: bool
    snapshot: str = ""
    leaves: int = 0
    attachments: int = 0
    differences: int = 0


R = TypeVar("R", CheckRecord, DrillRecord)
FOLDERS: dict[type[CheckRecord | DrillRecord], str] = {CheckRecord: ".checks", DrillRecord: ".drills"}


def record_name(kind: type[CheckRecord | DrillRecord], database: str) -> str:
    """A record's name in the place."""
    return f"{FOLDERS[kind]}/{file_name(database)}.json"


def read_record(place: Place, kind: type[R], database: str) -> R | None:
    """What was recorded; None where nothing was.

    Args:
        place: where backups are.
        kind: `CheckRecord` or `DrillRecord`.
        database: whose.

    Raises:
        DamagedBackup: it is not as it was written, or by a newer version.
    """
    name = record_name(kind, database)
    try:
        text = place.read(name)
    except FileNotFoundError:
        return None
    where = f"{place.describe()}/{name}"
    value = without_sum(text, where)
    with contextlib.suppress(TypeError, ValueError):
        record = from_json(kind, value, defaults=True)
        ids = record.damaged if isinstance(record, CheckRecord) else ()
        if datetime.fromisoformat(record.finished).tzinfo and all(map(is_snapshot_id, ids)):
            return record
    raise damaged(where, "it is not a record that this version knows")


def write_record(place: Place, database: str, record: CheckRecord | DrillRecord) -> None:
    """Replace a record.

    Raises:
        EndpointError: it cannot be written.
    """
    value = {"version": VERSION, **asdict(record)}
    place.write(record_name(type(record), database), with_sum(value))
