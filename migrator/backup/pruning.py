"""Removes what is not to be kept, in an order that leaves whole chains whenever it is stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from migrator.backup.catalog import Catalog, database_folder, snapshot_folder
from migrator.backup.manifest import FILE, Manifest, snapshot_time
from migrator.backup.place import Place
from migrator.backup.progress import PROGRESS
from migrator.backup.retention import Decision, Policy, decide

RESUMABLE_FOR = timedelta(days=7)
"""How long an unfinished snapshot is left for a run that goes on with it."""


class PrunePlan(NamedTuple):
    """What becomes of one database's snapshots. `stale` are folders of unfinished or half removed ones."""

    database: str
    decisions: list[Decision]
    stale: list[str]

    @property
    def removed(self) -> list[Manifest]:
        """The snapshots that go, oldest first."""
        return [decision.manifest for decision in self.decisions if not decision.kept]


def plan_pruning(place: Place, databases: Iterable[str], policy: Policy) -> Iterator[PrunePlan]:
    """Say what would be removed.

    Raises:
        DamagedBackup: a manifest is damaged, so that nobody knows what stands on what.
    """
    catalog = Catalog(place)
    for database in databases:
        snapshots = catalog.snapshots(database)
        yield PrunePlan(database, decide(snapshots, policy), _stale(place, catalog, database, snapshots))


def prune(place: Place, plan: PrunePlan) -> None:
    """Do it, holding the place's lock. Stopped anywhere, every snapshot that is still listed is whole."""
    # The newest first: none is removed before all that stand on it. Without its manifest it is no snapshot.
    for manifest in reversed(plan.removed):
        folder = snapshot_folder(manifest.database, manifest.snapshot)
        place.remove(f"{folder}/{FILE}")
        place.remove_folder(folder)
    for snapshot in plan.stale:
        place.remove_folder(snapshot_folder(plan.database, snapshot))
    folder = database_folder(plan.database)
    # What somebody else keeps there is not ours to remove.
    if (plan.removed or plan.stale) and not place.folders(folder) and not place.names(f"{folder}/"):
        place.remove_folder(folder)


def _stale(place: Place, catalog: Catalog, database: str, snapshots: list[Manifest]) -> list[str]:
    """Unfinished snapshots that no run will go on with."""
    finished = {manifest.snapshot for manifest in snapshots}
    newest = max(finished, default="")
    oldest_left = datetime.now(UTC) - RESUMABLE_FOR
    return [
        snapshot
        for snapshot in catalog.folders(database)
        if snapshot not in finished
        and (
            snapshot < newest
            or snapshot_time(snapshot) < oldest_left
            or not place.exists(f"{snapshot_folder(database, snapshot)}/{PROGRESS}")
        )
    ]
