"""Compares a target with the one that documents were confirmed in: a position belongs to that, not to its name."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol, TypeVar

from migrator.errors import TargetMissing, TargetReplaced
from migrator.model import Batch, Loader, Outcome
from migrator.model.capabilities import Emptiable, Identified
from migrator.naming import counted

T = TypeVar("T")

_ATTEMPTS = attrgetter("attempts")

RESTART = "--restart"
# A cluster's node can answer from an old list of databases for a moment: a difference is read again first.
PAUSES_S = (0.1, 0.3, 0.6)
# So often a target may be said to be missing that is there.
MAX_TIMES_MISSING = 3
NOTHING_THERE = ""
UNKNOWN = "?"
MISSING = "none"


class Target(Protocol):
    """What the guard needs of a target. A loader has it, and may have `identity` and `is_empty` too."""

    def describe(self) -> str:
        """A stable name of the target without credentials."""

    def target_name(self, collection: str) -> str:
        """The database or file that the collection goes to."""


def is_same(recorded: str, now: str) -> bool:
    """True when nothing that both identities tell is different.

    An identity is a few words. `?` stands for what a server does not tell; `none` for a mark that is not there,
    which says something only where there was one before.
    """
    if NOTHING_THERE in (recorded, now):
        return recorded == now
    pairs = zip(recorded.split(" "), now.split(" "), strict=False)
    return all(before == after or before in (UNKNOWN, MISSING) or after == UNKNOWN for before, after in pairs)


def identity_of(target: object, collection: str) -> str | None:
    """What a loader tells of its target; None where it tells nothing, as those of other packages may."""
    return target.identity(collection) if isinstance(target, Identified) else None


@contextlib.contextmanager
def advising(hint: str) -> Iterator[None]:
    """Give another way out of a replaced target than a flag: the same command again."""
    try:
        yield
    except TargetReplaced as error:
        raise TargetReplaced(error.message, hint=hint, flag="") from error


def _fits(recorded: str | None, now: str | None) -> bool:
    if recorded is None:
        return now != NOTHING_THERE
    return now is None or is_same(recorded, now)


def checked(load: Callable[[bool], T], check: Callable[[], object], repeated: Callable[[T], bool]) -> T:
    """Load; where that took more than one attempt, the target is looked at before the outcomes count.

    Args:
        load: does it; told whether an attempt before may have written something.
        check: makes sure that the target is the one that was there at the beginning.
        repeated: True where `load` itself has needed more than one attempt.
    """
    missing = 0
    while True:
        try:
            loaded = load(missing > 0)
        except TargetMissing:
            # It is gone, which the check says, or a cluster's node did not know of it for a moment.
            check()
            missing += 1
            if missing > MAX_TIMES_MISSING:
                raise
        else:
            # During an outage the target can have been replaced.
            if missing or repeated(loaded):
                check()
            return loaded


@dataclass(eq=False)
class TargetGuard:
    """Knows which target each collection's documents were confirmed in, and refuses another one of that name.

    Args:
        target: has `identity(collection)`, which gives "" where there is no target and None where nobody can tell;
            without it nothing is compared. `is_empty(collection)` says that it holds no document.
        hint: what to do about a replaced target.
        flag: what the same command needs for that; None where typing it again does not help.
        known: identities of targets that something was confirmed in before, by collection; it grows.
        sleep: waits before a difference is read again.
    """

    target: Target
    hint: str = "Start over with --restart: what is there already stays as it is."
    flag: str | None = RESTART
    known: dict[str, str] = field(default_factory=dict)
    sleep: Callable[[float], None] = time.sleep

    def refuse_other(self, collection: str, recorded: str | None, *, confirmed: int = 0) -> None:
        """Before a run goes on: refuse a target that is not the recorded one. Nothing is made.

        Args:
            collection: its name.
            recorded: the identity that the checkpoint holds; None where an older version wrote it.
            confirmed: how many documents were confirmed there.

        Raises:
            TargetReplaced: it is gone, another one, or empty.
        """
        self._compare(collection, recorded)
        if confirmed and self._is_empty(collection):
            raise self._error(
                collection, f"is empty, but {counted(confirmed, 'document')} had been confirmed there"
            )

    def begin(self, collection: str, recorded: str | None) -> str | None:
        """Remember the target that is written to from here on; gives what the checkpoint is to hold.

        Args:
            collection: its name.
            recorded: what the target must be; None where nothing is settled yet.

        Raises:
            TargetReplaced: it is another one.
        """
        recorded = self.known.get(collection) if recorded is None else recorded
        now = self._compare(collection, recorded)
        if now is None:
            return recorded
        self.known[collection] = now
        return now

    def check(self, collection: str) -> str | None:
        """Make sure that the target is the one that was there at the beginning; gives its identity.

        One that can be told from now on, as a file that is complete, is remembered.

        Raises:
            TargetReplaced: it is not, so documents that were confirmed are not there any more.
        """
        now = self._compare(collection, self.known.get(collection))
        return self.known.get(collection) if now is None else self.known.setdefault(collection, now)

    def load(self, loader: Loader, batch: Batch) -> Sequence[Outcome]:
        """Load a batch; where it took more than one attempt, the target is looked at before the outcomes count.

        Raises:
            TargetReplaced: it is another one, or gone.
            MigratorError: what the loader raises.
        """
        return checked(
            lambda resend: loader.load(batch, resend=resend),
            lambda: self.check(batch.collection),
            lambda outcomes: max(map(_ATTEMPTS, outcomes), default=1) > 1,
        )

    def _compare(self, collection: str, recorded: str | None) -> str | None:
        now = identity_of(self.target, collection)
        pauses = iter(PAUSES_S)
        while not _fits(recorded, now):
            pause = next(pauses, None)
            if pause is None:
                raise self.replaced(collection, gone=now == NOTHING_THERE)
            self.sleep(pause)
            now = identity_of(self.target, collection)
        return now

    def _is_empty(self, collection: str) -> bool:
        if not (isinstance(self.target, Emptiable) and self.target.is_empty(collection)):
            return False
        for pause in PAUSES_S:
            self.sleep(pause)
            if not self.target.is_empty(collection):
                return False
        return True

    def replaced(self, collection: str, *, gone: bool = False) -> TargetReplaced:
        """What to raise where a target is not the one that there was at the beginning."""
        what = "is gone" if gone else "is another one now"
        return self._error(collection, f"{what}: it was deleted or replaced since this job began")

    def _error(self, collection: str, what: str) -> TargetReplaced:
        place = f"{self.target.describe().rstrip('/')}/{self.target.target_name(collection)}"
        return TargetReplaced(
            f"{place} {what}. What had been confirmed there may be missing.", hint=self.hint, flag=self.flag
        )
