"""Whatever is kept, no chain is broken, and the rule keeps as many days as it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from migrator.backup.format.manifest import Manifest, new_snapshot_id
from migrator.backup.prune import Duration, Policy, decide
from tests.support.backups import FACTS

COUNTS = st.integers(0, 5)
POLICIES = st.builds(
    Policy,
    last=COUNTS,
    daily=COUNTS,
    weekly=COUNTS,
    monthly=COUNTS,
    within=st.none() | st.integers(0, 40).map(lambda days: Duration(days=days)),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Manifest]:
    """Full snapshots and chains of incremental ones, hours to weeks apart."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    made: list[Manifest] = []
    for hours, full in draw(st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=30)):
        moment += timedelta(hours=hours)
        parent = None if full or not made else draw(st.sampled_from(made[-3:])).snapshot
        stamp = moment.isoformat()
        made.append(Manifest("a", new_snapshot_id(now=moment), parent, "", "", stamp, stamp, FACTS, "", ""))
    return made


@given(histories(), POLICIES)
def test_every_kept_snapshot_can_be_restored(made: list[Manifest], policy: Policy) -> None:
    """Its chain is kept to the full one, the newest is kept, and nothing is kept without a reason."""
    decisions = decide(made, policy)
    assert made == [decision.manifest for decision in decisions]
    kept = {decision.manifest.snapshot for decision in decisions if decision.kept}
    assert not made or made[-1].snapshot in kept
    for decision in decisions:
        if decision.kept and decision.manifest.parent is not None:
            assert decision.manifest.parent in kept
    days = {each.finished_at.date() for each in made}
    kept_days = {each.manifest.finished_at.date() for each in decisions if "daily" in each.reasons}
    assert set(sorted(days)[::-1][: policy.daily]) == kept_days
    assert [each.snapshot for each in made[::-1][: policy.last]][::-1] == [
        each.manifest.snapshot for each in decisions if "last" in each.reasons
    ]


@given(histories(), POLICIES)
def test_pruning_twice_removes_nothing_more(made: list[Manifest], policy: Policy) -> None:
    """What is kept is kept the next time too, for the reasons that it had."""
    first = decide(made, policy)
    left = [decision for decision in first if decision.kept]
    again = decide([decision.manifest for decision in left], policy)
    assert all(decision.kept for decision in again)
