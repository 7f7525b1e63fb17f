"""Whether backups are younger than they must be: what finds a timer that has died."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from migrator.backup.catalog import Catalog
from migrator.backup.check import DatabaseCheck, Good
from migrator.backup.format.manifest import snapshot_time
from migrator.backup.prune import parse_duration
from migrator.errors import ConfigError
from migrator.naming import counted, selected, span_text

CLOCKS_DIFFER = timedelta(minutes=10)
"""A snapshot that seems to be so much from the future may be of a machine whose clock is ahead."""

LONGEST = timedelta(days=3660)


def parse_age(text: str) -> timedelta:
    """Read an age such as `26h`, `8d` or `5w`.

    Raises:
        ConfigError: it is none, or in months or years, which no watchdog means: `90m` would be met for years.
    """
    span = parse_duration(text)
    if span.years or span.months:
        raise ConfigError(
            f"--max-age {text} is in years or months: m does not stand for minutes.",
            hint="Write weeks, days and hours, as in 26h, 8d or 5w.",
        )
    try:
        age = timedelta(weeks=span.weeks, days=span.days, hours=span.hours)
    except OverflowError:
        age = timedelta.max
    if not timedelta() < age <= LONGEST:
        raise ConfigError(f"--max-age {text} is not between 1h and ten years.", hint="For example --max-age 26h")
    return age


def newest(found: Iterable[Good], now: datetime) -> Good | None:
    """The one that was finished last, by the clock of now: those from the future tell nothing of their age."""
    past = [each for each in found if each.finished_at <= now + CLOCKS_DIFFER]
    return max(past, key=lambda each: each.finished_at, default=None)


def from_future(found: Iterable[Good], now: datetime) -> list[Good]:
    """Those that seem to be from the future: this clock is wrong, or another was when they were made."""
    return [each for each in found if each.finished_at > now + CLOCKS_DIFFER]


def watched(catalog: Catalog, patterns: Sequence[str]) -> list[str]:
    """The databases that are chosen, with those of which no snapshot was ever finished.

    Raises:
        ConfigError: there is none.
    """
    # Also folders that somebody else keeps there look like databases.
    known = [name for name in catalog.databases(unfinished=True) if catalog.ids(name)]
    return selected(known, patterns, catalog.place.describe()) if known else catalog.chosen(patterns)


class Overdue(NamedTuple):
    """A database whose newest good snapshot is too old. `snapshot` and `finished` are "" where there is none."""

    database: str
    snapshot: str
    finished: str
    age_s: int | None
    due: str
    what: str
    next: str


def overdue(checks: Iterable[DatabaseCheck], max_age: timedelta, now: datetime, *, place: str) -> list[Overdue]:
    """The databases whose newest good snapshot was finished longer ago than that.

    Args:
        checks: of each database, what a check found.
        max_age: how old it may be.
        now: the time.
        place: the place as a command names it.
    """
    found = []
    for check in checks:
        last = newest(check.good, now)
        # The first backup of a large database may still go on.
        begun = snapshot_time(check.begun) if check.begun else None
        since = last.finished_at if last else begun
        if since and now - since <= max_age:
            continue
        due = time_text(since + max_age) if since else ""
        found.append(
            Overdue(
                check.database,
                last.snapshot if last else "",
                last.finished if last else "",
                int((now - last.finished_at).total_seconds()) if last else None,
                due,
                f"{_how_old(check, last, due, now)}; at most {span_text(max_age.total_seconds())} is allowed.",
                _make_one(check, place),
            )
        )
    return found


def _make_one(check: DatabaseCheck, place: str) -> str:
    """The command that makes a newer one; what only its user knows is in capitals."""
    source = [check.source] if check.source else ["URL", "--database", check.database]
    sealed = ["--recipient", "KEY"] if check.encryption else []
    return shlex.join(["migrator", "backup", "--from", *source, "--to", place, *sealed])


def _how_old(check: DatabaseCheck, last: Good | None, due: str, now: datetime) -> str:
    ahead = from_future(check.good, now)
    if last:
        age = span_text((now - last.finished_at).total_seconds())
        what = f"its newest good snapshot {last.snapshot} is {age} old, and a newer one was due {due}"
    elif check.begun:
        what = f"no backup of it was ever finished; {check.begun} was begun, and one was due {due}"
    elif ahead:
        what = "of no good snapshot the age can be told"
    else:
        what = "no snapshot of it can be restored"
    damaged = [snapshot for snapshot in check.damaged if last and snapshot > last.snapshot]
    if damaged:
        what += f"; {counted(len(damaged), 'newer one')} cannot be restored"
    if ahead:
        what += (
            f"; {ahead[-1].snapshot} says that it was finished {ahead[-1].finished}, and the clock here says "
            f"{time_text(now)}: one of the two is wrong"
        )
    return what


def time_text(moment: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
