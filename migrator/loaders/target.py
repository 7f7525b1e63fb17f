"""One database of one run: what it is seen to hold before documents are sent, and who wins over other content.

Most of what a scheduled run brings is there already. To send it, meet a conflict and read it costs three times as
much as the first load; to list ids and revisions, a tenth.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from itertools import islice
from typing import Any

from migrator.couch.client import CouchClient
from migrator.couch.copies import bring_together
from migrator.couch.documents import Fidelity, TooLong, bounded
from migrator.couch.endpoint import database_url
from migrator.couch.listing import DocumentsWanted, IdRange
from migrator.couch.rows import Row
from migrator.couch.trouble import Suspects
from migrator.errors import ConfigError, TransientError
from migrator.loaders.proof import Proof

# A look that finds less of a batch than this finds too little; it is worth it again when so many meet a conflict.
WORTH = 0.05
# So many in a row that find too little are enough.
MAX_VAIN = 2
# Between the first and the last id of a batch the target may hold so many times as many as the batch, and these.
MAX_ROWS_EACH = 4
MORE_ROWS = 100


class OnConflict(Enum):
    """Who wins when a document of the same id and other content is at the target."""

    FAIL = "fail"
    SKIP = "skip"
    OVERWRITE = "overwrite"
    NEWER = "newer"


class Look:
    """Looks for the documents of one database, for as long as it finds some. Safe for threads.

    Args:
        client: the server.
        database: its name there.
        wanted: it held documents when the run began; else looking begins when documents meet conflicts.
        by_ranges: the server lists ids in the order of their bytes; else each id is asked for.
    """

    def __init__(self, client: CouchClient, database: str, *, wanted: bool, by_ranges: bool) -> None:
        self._client = client
        self._database = database
        self._wanted = wanted
        self._by_ranges = by_ranges
        self._together: bool | None = None
        self._vain = 0
        self._lock = threading.Lock()
        self.documents_wanted = DocumentsWanted()

    def rows(self, ids: Sequence[str]) -> Iterator[Row]:
        """What is there of these ids, with its document where most had to be read lately.

        Of the others it is not known that they are not there.

        Args:
            ids: of one batch.
        """
        if not self._wanted:
            return
        found = 0
        try:
            for row in self._in_range(ids) if self._listed() else self._asked(ids):
                found += 1
                yield row
        except TransientError:
            # Sending will meet the same trouble, and is tried again.
            return
        self._note(found, len(ids))

    def met(self, conflicts: int, sent: int) -> None:
        """So many documents that were sent met a conflict."""
        if not self._wanted and conflicts > WORTH * sent:
            self._vain = 0
            self._wanted = True

    def _note(self, found: int, asked: int) -> None:
        self._vain = 0 if found >= WORTH * asked else self._vain + 1
        if self._vain >= MAX_VAIN:
            self._wanted = False

    def _listed(self) -> bool:
        """True when a list holds all that was acknowledged before this run; each id is asked of most copies."""
        if not self._by_ranges:
            return False
        with self._lock:
            if self._together is None:
                self._together = not bring_together(self._client, self._database)
        return self._together

    def _in_range(self, ids: Sequence[str]) -> Iterator[Row]:
        wanted, count, end = set(ids), 0, ""
        for row in self._rows(ids, include_docs=self.documents_wanted()):
            count, end = count + 1, row.id
            if end in wanted:
                yield row
        if count < _most_rows(ids):
            return
        # The batch is spread among many others.
        left = [id for id in ids if id > end]
        if 2 * len(left) >= len(ids):
            self._by_ranges = False
        if left:
            yield from self._asked(left)

    def _asked(self, ids: Sequence[str]) -> Iterator[Row]:
        return (Row(id, rev, None) for id, rev in self._client.present(self._database, ids).items())

    def documents(self, ids: Sequence[str], asked: int) -> Iterator[Row]:
        """The documents of a range that holds these ids, and others of it, where that is the way to read them.

        Args:
            ids: what is wanted.
            asked: how many the batch has that they are of.
        """
        if self._wanted and self._by_ranges and self._together and len(ids) * MAX_ROWS_EACH >= asked:
            yield from self._rows(ids, include_docs=True)

    def _rows(self, ids: Sequence[str], *, include_docs: bool) -> Iterator[Row]:
        limit = _most_rows(ids)
        # Python compares texts by code points, which is the order of their bytes.
        within = IdRange(min(ids), max(ids))
        listing = self._client.listing(self._database)
        ask = listing.ask
        listing = replace(listing, id_ranges=(within,), ask=lambda params: bounded(ask(params), limit))
        try:
            yield from islice(listing.rows(page_rows=limit, include_docs=include_docs), limit)
        except TooLong:
            # Known before the first row. What is read one by one instead is held one at a time.
            yield from self._rows(ids, include_docs=False) if include_docs else self._asked(ids)


def _most_rows(ids: Sequence[str]) -> int:
    return MAX_ROWS_EACH * len(ids) + MORE_ROWS


@dataclass
class Target:
    """One database of one run.

    Args:
        client: the server.
        database: its name there.
        on_conflict: the policy.
        newer_field: dotted path of the field that OnConflict.NEWER compares.
        fidelity: what the server keeps of a document.
        was_empty: it held nothing when the run began, so what is found there after a lost answer is ours.
        dry_run: read and decide, but send nothing.
        overwriting: ids whose overwriting was sent and not yet confirmed: found equal later, it was our write.
        confirmed: ids whose writing a failed attempt had confirmed, and whether that was over a conflict.
        look: sees which documents are there before they are sent; None to find out by their conflicts.
        proof: the revisions that documents are to get, as they are sent.
        suspects: documents that the server does not store; those of `client` and `database` by default.
        sleep: waits between the rounds of a race.
        one_large: held while a large stored document is compared.
    """

    client: CouchClient
    database: str
    on_conflict: OnConflict = OnConflict.FAIL
    newer_field: str = ""
    fidelity: Fidelity = field(default_factory=Fidelity)
    was_empty: bool = False
    dry_run: bool = False
    # Ids of batches in flight are disjoint, and adding to or discarding from a set is one step.
    overwriting: set[str] = field(default_factory=set)
    confirmed: dict[str, bool] = field(default_factory=dict)
    look: Look | None = None
    proof: Proof = field(default_factory=Proof)
    suspects: Suspects = None  # type: ignore[assignment] # by default made below
    sleep: Callable[[float], None] = time.sleep
    one_large: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.suspects = self.suspects or Suspects(self.client, self.database)

    def overwrites(self, id: str) -> bool:
        """True where it does not matter in what a document differs from the stored one."""
        return self.on_conflict is OnConflict.OVERWRITE and id not in self.proof.doubted

    def wrong_rows(self, what: str, signature: str) -> TransientError:
        """What to raise where an answer is not to what was sent."""
        url = database_url(self.client.endpoint, self.database)
        hint = "Something between here and the server mixes up or loses answers; go on with --resume."
        return TransientError(f"{url}: {what}.", hint=hint, outcome_unknown=True, signature=signature)


class Incomparable(Exception):
    """Two values have no order; the text says why."""


def parse_policy(name: str, newer_field: str | None) -> OnConflict:
    """Check a policy's name and what it needs."""
    policy = OnConflict(name)
    if policy is OnConflict.NEWER and not newer_field:
        raise ConfigError(
            "--on-conflict newer needs the field that tells which is newer.", hint="Add --newer-field updated_at"
        )
    return policy


def value_at(document: Any, path: str) -> Any:
    """The value at a dotted path.

    Raises:
        Incomparable: there is no such field.
    """
    value = document
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            raise Incomparable(f"there is no field {path}")
        value = value[part]
    return value


def is_newer(source: Any, target: Any, path: str) -> bool:
    """True when the source's field is later than the target's: numbers by size, texts as times or else as texts.

    Raises:
        Incomparable: a field is missing, or the two are of different kinds.
    """
    ours, theirs = value_at(source, path), value_at(target, path)
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (ours, theirs)]
    if all(numbers):
        return bool(ours > theirs)
    if isinstance(ours, str) and isinstance(theirs, str):
        times = _time(ours), _time(theirs)
        if times[0] is not None and times[1] is not None:
            return times[0] > times[1]
        return ours > theirs
    raise Incomparable(f"{path} is {ours!r:.60} here and {theirs!r:.60} there, which have no order")


def _time(text: str) -> datetime | None:
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    # A time without a zone is taken as UTC, so that two of one kind keep their order.
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def rounds(ids: Sequence[str]) -> list[list[int]]:
    """Places such that no id is twice in one round: the later of two must meet the earlier at the target.

    >>> rounds(["a", "b", "a"])
    [[0, 1], [2]]
    """
    if len(set(ids)) == len(ids):
        return [list(range(len(ids)))] if ids else []
    times: Counter[str] = Counter()
    found: list[list[int]] = []
    for place, id in enumerate(ids):
        if times[id] == len(found):
            found.append([])
        found[times[id]].append(place)
        times[id] += 1
    return found
