"""Removes what is not to be kept, in an order that leaves whole chains whenever it is stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from migrator.backup.catalog import Catalog, database_folder, forget, snapshot_folder
from migrator.backup.format.head import write_head
from migrator.backup.format.manifest import COPY, FILE, PROGRESS, Manifest, snapshot_time
from migrator.backup.listing import chains
from migrator.backup.retention import Decision, Policy, decide
from migrator.backup.storage.base import Place
from migrator.errors import StorageError

RESUMABLE_FOR = timedelta(days=7)
"""How long an unfinished snapshot is left for a run that goes on with it."""


class PrunePlan(NamedTuple):
    """What becomes of one database's snapshots. `stale` are folders of unfinished or half removed ones.

    `damaged` says of snapshots what is wrong with them; none of these is removed, and none counts as kept. Of
    `repaired` ones the manifest is lost and its copy serves.
    """

    database: str
    decisions: list[Decision]
    stale: list[str]
    damaged: dict[str, str]
    repaired: dict[str, str]

    @property
    def removed(self) -> list[Manifest]:
        """The snapshots that go, oldest first."""
        return [decision.manifest for decision in self.decisions if not decision.kept]


def plan_pruning(place: Place, databases: Iterable[str], policy: Policy) -> Iterator[PrunePlan]:
    """Say what would be removed.

    A snapshot whose manifest is damaged or gone is left alone, and so is what it may add to; one that adds to it
    cannot be restored, so it stays and counts for no rule: the rules are for what can be restored.
    """
    catalog = Catalog(place)
    for database in databases:
        survey = catalog.survey(database)
        damaged = dict(survey.damaged)
        whole: list[Manifest] = []
        for manifest, _, broken in chains(survey):
            if broken:
                damaged[manifest.snapshot] = broken
            else:
                whole.append(manifest)
        decisions = _kept_for(damaged, decide(whole, policy))
        yield PrunePlan(database, decisions, _stale(place, catalog, database), damaged, survey.repaired)


def _kept_for(damaged: Iterable[str], decisions: list[Decision]) -> list[Decision]:
    """Keep what a damaged snapshot may add to: the newest one before it, and what that one adds to."""
    by_id = {decision.manifest.snapshot: decision for decision in decisions}
    for snapshot in damaged:
        reason = f"parent of {snapshot}, perhaps"
        parent = max((id for id in by_id if id < snapshot), default=None)
        while parent in by_id and not by_id[parent].kept:
            by_id[parent] = by_id[parent]._replace(reasons=(reason,))
            parent = by_id[parent].manifest.parent
    return list(by_id.values())


def prune(place: Place, plan: PrunePlan) -> None:
    """Do it, holding the place's lock. Stopped anywhere, every snapshot that is still listed is whole."""
    # The newest first: none is removed before all that stand on it. Without its manifest it is no snapshot.
    gone = {manifest.snapshot for manifest in plan.removed}
    left = {id: digest for id, digest in Catalog(place).head(plan.database).items() if id not in gone}
    try:
        forget(place, plan.database, gone)
    except StorageError:
        # Whoever prunes because the disk is full has no room for a list: it goes now, and comes back at the end.
        forget(place, plan.database, None)
    for manifest in reversed(plan.removed):
        folder = snapshot_folder(manifest.database, manifest.snapshot)
        for name in (COPY, FILE):
            place.remove(f"{folder}/{name}")
        place.remove_folder(folder)
    for snapshot in plan.stale:
        place.remove_folder(snapshot_folder(plan.database, snapshot))
    folder = database_folder(plan.database)
    if Catalog(place).head(plan.database) != left:
        write_head(place, plan.database, left)
    # What somebody else keeps there is not ours to remove.
    if (plan.removed or plan.stale) and not place.folders(folder) and not place.names(f"{folder}/"):
        place.remove_folder(folder)


def _stale(place: Place, catalog: Catalog, database: str) -> list[str]:
    """Unfinished snapshots that no run will go on with."""
    unfinished = catalog.unfinished(database)
    newest = max(set(catalog.ids(database)).difference(unfinished), default="")
    oldest_left = datetime.now(UTC) - RESUMABLE_FOR
    return [
        snapshot
        for snapshot in unfinished
        if (
            snapshot < newest
            or snapshot_time(snapshot) < oldest_left
            or not place.exists(f"{snapshot_folder(database, snapshot)}/{PROGRESS}")
        )
    ]
