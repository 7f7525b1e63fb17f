"""Which snapshots are kept: a rule over their times alone, so that it can be shown before anything is removed."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from migrator.config.option import check, documented, option
from migrator.errors import ConfigError

if TYPE_CHECKING:
    from migrator.backup.format.manifest import Manifest

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
            f"{text!r} is no duration.",
            hint="Write years, months, weeks, days and hours as in 1y6m, 2w, 7d or 36h.",
        )
    return Duration(*(int(number or 0) for number in match.groups()))


def _number(name: str, help: str) -> Any:
    return option(0, help, unit="N", flag=f"--keep-{name}", at_least=0, text="none")


@documented
@dataclass(frozen=True, slots=True)
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

    def __post_init__(self) -> None:
        check(self)

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
