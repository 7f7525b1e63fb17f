"""Writes leaves with the revisions that they have, and believes only what the server confirms to hold."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from migrator.checkpoint.target_guard import checked
from migrator.couch.bulk_get import Asked, read_leaves
from migrator.couch.client import CouchClient
from migrator.couch.copies import copies_of
from migrator.couch.leaf_sender import stream_leaf, with_inline_attachments
from migrator.couch.trouble import NOT_STORED, STORED, VERDICTS, Suspects, is_verdict
from migrator.errors import BatchRefused, TransientError, UnreadableLeaf
from migrator.model import BatchLimits, Outcome, Status
from migrator.model.events import BatchSplit, Listener, ignore
from migrator.model.revisions import Leaf, inline_bytes
from migrator.retry.retrier import MAX_ATTEMPTS_AT_ONE_DOCUMENT, Retrier
from migrator.retry.window import divide_refused, in_batches, refuse_trouble, refused_alone

T = TypeVar("T")


@dataclass(eq=False)
class LeafWriter:
    """A RevisionWriter over one database. Safe for threads that write different documents.

    CouchDB names only what it did not write, so each batch is asked about afterwards. A batch that is refused as a
    whole is divided until the guilty leaf is alone. After a lost answer only what is missing is sent again.

    Args:
        client: the server.
        database: its name.
        retrier: tries again.
        limits: the largest request.
        fresh: nothing can be there yet, so nobody need ask before writing; leaves come in the order of their ids.
        listener: receives divided batches.
        check: makes sure that the database is still the one that was begun with; asked when a request had to be
            repeated, and when the server says that there is none.
    """

    client: CouchClient
    database: str
    retrier: Retrier
    limits: BatchLimits = field(default_factory=BatchLimits)
    fresh: bool = False
    listener: Listener = ignore
    check: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        self.limits = self.client.endpoint.pace.bounded(self.limits)
        # Of more batches than can be under way.
        self._lock = threading.Lock()
        self._last_ids: deque[str] = deque(maxlen=1_000)
        attempts = min(MAX_ATTEMPTS_AT_ONE_DOCUMENT, self.retrier.policy.max_attempts)
        self._suspects = Suspects(self.client, self.database, attempts)
        self._multipart: bool | None = None

    @property
    def unconfirmed(self) -> list[str]:
        """What could not be made sure of, as sentences."""
        return self.client.doubts_of(self.database)

    def write(self, leaves: Sequence[Leaf]) -> list[Outcome]:
        """Write the leaves and say what became of each, in their order.

        Raises:
            EndpointError: the server is out of reach, or fails at every leaf.
            TargetReplaced: the database was deleted or replaced, with what had been written.
        """
        outcomes: dict[int, Outcome] = {}
        # A feed, a file put together or a backup gone on with can hold one revision twice.
        firsts: dict[tuple[str, str], int] = {}
        for index, leaf in enumerate(leaves):
            firsts.setdefault((leaf.id, leaf.rev), index)
        absent = list(firsts.values())
        if leaves and (not self.fresh or self._goes_on(leaves)):
            asked = [leaves[index] for index in absent]
            missing = self._retried(f"look into {self.database}", lambda _: self._ask_missing(asked))
            present = [index for index in absent if leaves[index].rev not in missing.get(leaves[index].id, ())]
            outcomes.update((index, Outcome(leaves[index].id, Status.UNCHANGED)) for index in present)
            absent = [index for index in absent if index not in outcomes]
        # What is streamed travels alone.
        for batch in in_batches(absent, self.limits, lambda index: inline_bytes(leaves[index])):
            outcomes.update(zip(batch, self._divided([leaves[index] for index in batch]), strict=True))
        for index, leaf in enumerate(leaves):
            if index not in outcomes:
                first = outcomes[firsts[leaf.id, leaf.rev]]
                stored = first.status in STORED
                outcomes[index] = Outcome(leaf.id, Status.UNCHANGED) if stored else first
        return [outcomes[index] for index in range(len(leaves))]

    def _goes_on(self, leaves: Sequence[Leaf]) -> bool:
        """True when a batch before ended with this one's first document, so of its leaves some can be there."""
        with self._lock:
            found = leaves[0].id in self._last_ids
            self._last_ids.append(leaves[-1].id)
        return found

    def _divided(self, leaves: Sequence[Leaf]) -> list[Outcome]:
        def send(part: Sequence[Leaf], resend: bool) -> list[Outcome]:
            try:
                return self._written(part, resend=resend)
            except UnreadableLeaf as error:
                raise BatchRefused(error.message, status=0, error=error.error, reason=error.message) from error

        outcomes = divide_refused(
            leaves,
            send,
            lambda leaf, refused: refused_alone(leaf.id, refused),
            id_of=lambda leaf: leaf.id,
            on_split=lambda count, refused: self.listener(BatchSplit(self.database, count, refused.message)),
        )
        refuse_trouble(outcomes, self.client.url, "run the same command again")
        return outcomes

    def _written(self, leaves: Sequence[Leaf], *, resend: bool) -> list[Outcome]:
        """Send until each leaf is confirmed or refused.

        Raises:
            BatchRefused: the server refuses the request as a whole.
            TransientError: the server gives no usable answer for too long.
        """
        ends: dict[int, Outcome] = {}
        waiting = list(range(len(leaves)))

        def refuse(index: int, row: Mapping[str, Any], status: int | None) -> None:
            error, reason = str(row.get("error")), str(row.get("reason", ""))
            ends[index] = Outcome(leaves[index].id, Status.REJECTED, error, reason, http_status=status)

        def attempt(number: int) -> None:
            nonlocal waiting
            waiting = [index for index in waiting if index not in ends]
            if number > 1 or resend:
                # Of the attempt before nobody knows what was written.
                waiting = self._unconfirmed(leaves, waiting, ends)
            if not waiting:
                return
            refused = self._send([leaves[index] for index in waiting])
            rows = {
                index: refused.get((leaves[index].id, leaves[index].rev)) or refused.get((leaves[index].id, ""))
                for index in waiting
            }
            verdicts = {index: row for index, row in rows.items() if row and is_verdict(row.get("error"))}
            for index in self._not_held(leaves, list(verdicts)):
                refuse(index, verdicts[index], VERDICTS[verdicts[index]["error"]])
            asked = [index for index in waiting if index not in ends]
            waiting = self._unconfirmed(leaves, asked, ends)
            if len(waiting) < len(asked):
                self._suspects.passed()
            if waiting:
                self._suspects.settle(
                    {index: rows[index] or _vanished(leaves[index]) for index in waiting},
                    lambda index: (leaves[index].id, leaves[index].rev),
                    lambda index, row: refuse(index, row, row.get("status")),
                    others_stored=any(o.status in STORED for o in ends.values()),
                    size_bytes=max(len(leaves[index].body) for index in waiting),
                )

        self._retried(f"write to {self.database}", attempt)
        return [ends[index] for index in range(len(leaves))]

    def _unconfirmed(self, leaves: Sequence[Leaf], indexes: Sequence[int], ends: dict[int, Outcome]) -> list[int]:
        """Give those that the server does not hold; the others have their end."""
        if not indexes:
            return []
        missing = self._ask_missing([leaves[index] for index in indexes])
        left = self._not_held(leaves, [i for i in indexes if leaves[i].rev in missing.get(leaves[i].id, ())])
        for index in set(indexes).difference(left):
            ends[index] = Outcome(leaves[index].id, Status.WRITTEN)
        return left

    def _send(self, leaves: Sequence[Leaf]) -> dict[tuple[str, str], dict[str, Any]]:
        """The rows of what was not written, by id and revision."""
        if len(leaves) == 1 and inline_bytes(leaves[0]) is None and self._multipart is None:
            self._multipart = "express-pouchdb" not in self.client.welcome()

        def send() -> list[dict[str, Any]]:
            if len(leaves) == 1 and inline_bytes(leaves[0]) is None:
                return stream_leaf(self.client, self.database, leaves[0], multipart=bool(self._multipart))
            return self.client.bulk_docs(self.database, [*map(with_inline_attachments, leaves)], new_edits=False)

        rows = self._suspects.rows(send, [leaf.id for leaf in leaves])
        return {(str(row.get("id")), str(row.get("rev", ""))): row for row in rows if "error" in row}

    def _retried(self, what: str, attempt: Callable[[int], T]) -> T:
        """Attempt until it passes; after more than one attempt the database must be the same still."""
        attempts = 0

        def counted(number: int) -> T:
            nonlocal attempts
            attempts = max(attempts, number)
            return attempt(number)

        def load(resend: bool) -> T:
            # After an attempt that the server knew no database in, as little is known as after any other.
            return self.retrier.call(what, lambda number: counted(number + resend))

        return load(False) if self.check is None else checked(load, self.check, lambda _: attempts > 1)

    def _not_held(self, leaves: Sequence[Leaf], indexes: Sequence[int]) -> list[int]:
        """Those that most copies do not hold: on a cluster one copy alone calls them missing, or refuses them."""
        if not indexes or copies_of(self.client.database_info(self.database)) < 2:
            return list(indexes)
        what = f"Looking for {len(indexes)} revisions on most copies of {self.database}"
        asked = [Asked(leaves[index].id, leaves[index].rev) for index in indexes]
        body = orjson.dumps({"docs": [{"id": id, "rev": rev} for id, rev in asked]})
        answer = self.client.ask(what, "POST", self.database, "_bulk_get", params={"revs": "true"}, body=body)
        found = read_leaves(answer.body, asked, lambda *_: (), what)
        held = {(leaf.id, leaf.rev) for leaf in found if isinstance(leaf, Leaf)}
        return [index for index in indexes if (leaves[index].id, leaves[index].rev) not in held]

    def _ask_missing(self, leaves: Sequence[Leaf]) -> Mapping[str, Sequence[str]]:
        """Which revisions the server does not hold, by id."""
        what = f"Looking for {len(leaves)} revisions in {self.database}"
        asked: dict[str, list[str]] = {}
        for leaf in leaves:
            # Each once: asked for one revision twice, CouchDB calls it missing whether it is there or not.
            asked.setdefault(leaf.id, []).append(leaf.rev)
        found = self.client.value(what, "POST", self.database, "_revs_diff", body=orjson.dumps(asked))
        if not isinstance(found, dict):
            raise TransientError(f"{what}: the answer is to another question.", signature="foreign rows")
        return {id: row.get("missing", ()) for id, row in found.items()}


def _vanished(leaf: Leaf) -> dict[str, Any]:
    # CouchDB says yes to revisions that it cannot write, as when its disk is full.
    reason = f"the server accepted revision {leaf.rev} and does not hold it"
    return {"id": leaf.id, "error": NOT_STORED, "reason": reason}
