"""Notes in a place what a check and a restore test came to, for who looks at the place later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from migrator.backup.check import Checked
from migrator.backup.format.manifest import now
from migrator.backup.format.records import MAX_IDS, CheckRecord, DrillRecord, write_record
from migrator.backup.storage.base import Place
from migrator.errors import ConfigError, EndpointError

if TYPE_CHECKING:
    from migrator.backup.restore_test import Drill


class Recorder:
    """Writes records. A place that cannot be written to takes nothing from a result: that is said, once.

    Args:
        place: where the backups are.
        say: tells a person.

    `ok` is False when something could not be recorded.
    """

    def __init__(self, place: Place, say: Callable[[str], None]) -> None:
        self._place = place
        self._say = say
        self.ok = True

    def checked(self, found: Checked) -> None:
        """Record a check that read everything."""
        for each in found.by_database:
            good = each.good[-1].snapshot if each.good else ""
            numbers = {"snapshots": each.snapshots, "problems": each.problems, "sealed": each.sealed}
            damaged = tuple(each.damaged[-MAX_IDS:])
            self._write(
                each.database, CheckRecord(now(), not each.problems, newest_good=good, damaged=damaged, **numbers)
            )

    def drilled(self, found: Drill) -> None:
        """Record a restore test."""
        numbers = {
            "leaves": found.leaves,
            "attachments": found.attachments,
            "differences": len(found.differences),
        }
        self._write(found.database, DrillRecord(now(), found.ok, found.snapshot, **numbers))

    def _write(self, database: str, record: CheckRecord | DrillRecord) -> None:
        if not self.ok:
            return
        try:
            write_record(self._place, database, record)
        except (ConfigError, EndpointError) as error:
            self.ok = False
            self._say(f"The result stands, but `backups show` will not know of it: {error.message}")
