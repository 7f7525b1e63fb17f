"""Which snapshots are kept, by a rule over their times alone; the others are removed.

They go in an order that leaves whole chains whenever it is stopped.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from migrator.backup.catalog import Catalog, database_folder, forget, snapshot_folder
from migrator.backup.format.heads import write_head
from migrator.backup.format.manifest import COPY, FILE, PROGRESS, Manifest, snapshot_time
from migrator.backup.listing import chains
from migrator.backup.storage.base import Place
from migrator.config.option import option, options_class
from migrator.errors import ConfigError, StorageError

RESUMABLE_FOR = timedelta(days=7)
"""How long an unfinished snapshot is left for a run that goes on with it."""
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)m)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?")


class Duration(NamedTuple):
    """A span of the calendar."""

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    hours: int = 0

    def before(self, moment: datetime) -> datetime:
        """The moment that lies so far back; the 31st of a month that has none is its last day."""
        months = moment.year * 12 + moment.month - 1 - self.years * 12 - self.months
        year, month = divmod(months, 12)
        if year < 1:
            return datetime.min.replace(tzinfo=moment.tzinfo)
        day = min(moment.day, calendar.monthrange(year, month + 1)[1])
        try:
            return moment.replace(year=year, month=month + 1, day=day) - timedelta(
                days=self.days + 7 * self.weeks, hours=self.hours
            )
        except OverflowError:
            return datetime.min.replace(tzinfo=moment.tzinfo)


def parse_duration(text: str) -> Duration:
    """Read a duration such as `7d`, `2w`, `1y6m` or `36h`.

    Raises:
        ConfigError: it is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if not text.strip() or match is None:
        raise ConfigError(
            f"{text!r} is not a duration.",
            hint="Write years, months, weeks, days and hours as in 1y6m, 2w, 7d or 36h.",
        )
    return Duration(*(int(number or 0) for number in match.groups()))


def _number(name: str, help: str) -> Any:
    return option(0, help, unit="N", flag=f"--keep-{name}", at_least=0, text="none")


@options_class
class Policy:
    """What is kept. Days, weeks (ISO) and months are those of UTC; each counts only if it has a snapshot."""

    last: int = _number("last", "Keep the N newest.")
    daily: int = _number(
        "daily", "Keep the newest of each of the last N days that have one. Days are those of UTC."
    )
    weekly: int = _number("weekly", "Keep the newest of each of the last N weeks that have one.")
    monthly: int = _number("monthly", "Keep the newest of each of the last N months that have one.")
    within: Duration | None = option(
        None,
        "Keep every snapshot that is at most this much older than the newest: 7d, 2w, 1y6m.",
        unit="DURATION",
        flag="--keep-within",
        read=parse_duration,
    )

    @property
    def empty(self) -> bool:
        """True when it says nothing."""
        return self == Policy()


class Decision(NamedTuple):
    """What becomes of a snapshot; one with no reason to be kept is removed."""

    manifest: Manifest
    reasons: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """True when there is a reason."""
        return bool(self.reasons)


def decide(snapshots: Sequence[Manifest], policy: Policy) -> list[Decision]:
    """Say which snapshots of one database are kept, and why.

    The newest is, whatever the policy; and so are those that a kept one stands on.

    Args:
        snapshots: all that are finished, oldest first.
        policy: what is wanted.
    """
    reasons: dict[str, list[str]] = {manifest.snapshot: [] for manifest in snapshots}
    newest_first = list(reversed(snapshots))
    for manifest in newest_first[: policy.last]:
        reasons[manifest.snapshot].append("last")
    spans: list[tuple[str, int, Callable[[datetime], object]]] = [
        ("daily", policy.daily, lambda moment: moment.date()),
        ("weekly", policy.weekly, lambda moment: moment.isocalendar()[:2]),
        ("monthly", policy.monthly, lambda moment: (moment.year, moment.month)),
    ]
    for word, count, span in spans:
        seen: set[object] = set()
        for manifest in newest_first:
            if len(seen) < count and span(manifest.finished_at) not in seen:
                seen.add(span(manifest.finished_at))
                reasons[manifest.snapshot].append(word)
    if policy.within is not None and snapshots:
        bound = policy.within.before(newest_first[0].finished_at)
        for manifest in newest_first:
            if manifest.finished_at >= bound:
                reasons[manifest.snapshot].append("within")
    if snapshots and not reasons[newest_first[0].snapshot]:
        reasons[newest_first[0].snapshot].append("newest")
    for manifest in newest_first:
        # A child comes before its parent here, so a reason goes down the whole chain.
        if reasons[manifest.snapshot] and manifest.parent in reasons:
            parent = reasons[manifest.parent]
            if not parent:
                parent.append(f"parent of {manifest.snapshot}")
    return [Decision(manifest, tuple(reasons[manifest.snapshot])) for manifest in snapshots]


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
    # The newest first: none is removed before all that stand on it. Without its manifest it is not a snapshot.
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
