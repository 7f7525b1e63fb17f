"""What is kept: by count, day, week, month and age, and never half a chain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from migrator.backup.format.manifest import Manifest, new_snapshot_id, snapshot_time
from migrator.backup.prune import Duration, Policy, decide, parse_duration
from migrator.errors import ConfigError
from tests.support.backups import FACTS


def snapshot(finished: datetime, parent: Manifest | None = None) -> Manifest:
    """One that began a minute before it was finished."""
    begun = new_snapshot_id(now=finished - timedelta(minutes=1))
    stamp = finished.isoformat()
    parent_id = parent.snapshot if parent else None
    return Manifest("a", begun, parent_id, "", "", stamp, stamp, FACTS, "", "")


def every(step: timedelta, count: int, *, last: datetime) -> list[Manifest]:
    """Full snapshots at equal distances, oldest first."""
    return [snapshot(last - step * n) for n in range(count)][::-1]


def kept(snapshots: Sequence[Manifest], policy: Policy) -> list[str]:
    """When the kept ones were finished."""
    return [
        f"{decision.manifest.finished_at:%Y-%m-%d %H}" for decision in decide(snapshots, policy) if decision.kept
    ]


NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HALF_DAYS = every(timedelta(hours=12), 100, last=NOON)


def test_the_last() -> None:
    """So many of the newest."""
    assert ["2026-11-24 12", "2026-11-25 00", "2026-11-25 12"] == kept(HALF_DAYS, Policy(last=3))
    assert 100 == len(kept(HALF_DAYS, Policy(last=1000)))


def test_days() -> None:
    """Of each day the newest; a day without any does not count."""
    assert ["2026-11-23 12", "2026-11-24 12", "2026-11-25 12"] == kept(HALF_DAYS, Policy(daily=3))
    gap = [each for each in HALF_DAYS if each.finished_at.day != 24]
    assert ["2026-11-22 12", "2026-11-23 12", "2026-11-25 12"] == kept(gap, Policy(daily=3))


def test_weeks() -> None:
    """Weeks end on Sunday, and at the turn of the year one week is one."""
    assert ["2026-11-15 12", "2026-11-22 12", "2026-11-25 12"] == kept(HALF_DAYS, Policy(weekly=3))
    turn = every(timedelta(days=1), 10, last=datetime(2027, 1, 2, 12, tzinfo=UTC))
    assert ["2026-12-27 12", "2027-01-02 12"] == kept(turn, Policy(weekly=2))


def test_months() -> None:
    """Of each month the newest."""
    assert ["2026-10-31 12", "2026-11-25 12"] == kept(HALF_DAYS, Policy(monthly=2))


def test_within() -> None:
    """Counted from the newest, not from today: who stopped making backups loses none by pruning."""
    assert 7 == len(kept(HALF_DAYS, Policy(within=Duration(days=3))))
    old = every(timedelta(days=1), 5, last=datetime(2001, 1, 1, tzinfo=UTC))
    assert 3 == len(kept(old, Policy(within=Duration(hours=48))))


def test_flags_add_up() -> None:
    """What one of them keeps is kept, and says why."""
    decisions = decide(HALF_DAYS, Policy(last=1, daily=2, monthly=2))
    reasons = {f"{each.manifest.finished_at:%m-%d %H}": each.reasons for each in decisions if each.kept}
    assert {"10-31 12": ("monthly",), "11-24 12": ("daily",), "11-25 12": ("last", "daily", "monthly")} == reasons


def test_the_newest_stays() -> None:
    """Whatever is asked."""
    assert ("newest",) == decide(HALF_DAYS, Policy())[-1].reasons
    assert 1 == len(kept(HALF_DAYS, Policy()))
    assert [] == decide([], Policy(last=1))


def test_chains_stay_whole() -> None:
    """A kept one keeps all that it adds to; those that add to it may go."""
    full = snapshot(NOON)
    one = snapshot(NOON + timedelta(days=1), full)
    two = snapshot(NOON + timedelta(days=2), one)
    other = snapshot(NOON + timedelta(days=3))
    decisions = decide([full, one, two, other], Policy(last=1))
    assert [False, False, False, True] == [decision.kept for decision in decisions]
    assert [(f"parent of {one.snapshot}",), (f"parent of {two.snapshot}",), ("newest",)] == [
        decision.reasons for decision in decide([full, one, two], Policy())
    ]


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("7d", Duration(days=7)),
        ("1y6m2w3d4h", Duration(1, 6, 2, 3, 4)),
        ("36h", Duration(hours=36)),
        (" 2w ", Duration(weeks=2)),
    ],
)
def test_durations(text: str, duration: Duration) -> None:
    """As restic has them, and weeks."""
    assert duration == parse_duration(text)


@pytest.mark.parametrize("text", ["", " ", "7", "d", "7days", "3d1y", "-1d", "1.5d"])
def test_what_is_no_duration_is_said(text: str) -> None:
    """With the form that is one."""
    with pytest.raises(ConfigError, match="36h"):
        parse_duration(text)


def test_months_are_those_of_the_calendar() -> None:
    """The 31st of a month that has none is its last day, and nothing lies before the first year."""
    assert datetime(2026, 2, 28, tzinfo=UTC) == Duration(months=1).before(datetime(2026, 3, 31, tzinfo=UTC))
    assert datetime(2023, 2, 28, tzinfo=UTC) == Duration(years=1).before(datetime(2024, 2, 29, tzinfo=UTC))
    assert datetime.min.replace(tzinfo=UTC) == Duration(years=9999).before(NOON)
    assert datetime.min.replace(tzinfo=UTC) == Duration(days=3_000_000).before(NOON)


def test_ids_of_snapshots_sort_by_time() -> None:
    """To the millisecond, and after what is there even where the clock was put back."""
    moment = datetime(2026, 11, 25, 10, 15, 0, 123_000, tzinfo=UTC)
    first = new_snapshot_id(now=moment)
    assert first.startswith("20261125T101500.123Z-")
    assert moment == snapshot_time(first)
    again = new_snapshot_id(first, now=moment - timedelta(days=400))
    assert first < again
    assert moment + timedelta(milliseconds=1) == snapshot_time(again)
