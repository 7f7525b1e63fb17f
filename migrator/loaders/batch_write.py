"""Writes one batch to one database and finds the end of each document in it.

A row that says `conflict` is settled by reading just that document: equal content is UNCHANGED, other content
goes by the declared policy. A batch whose answer was lost is settled the same way before anything is sent again.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from migrator.codec import decode
from migrator.couch.answers import TRANSIENT_ROWS
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import database_url
from migrator.couch.fidelity import Fidelity
from migrator.errors import TransientError
from migrator.loaders.conflicts import Incomparable, OnConflict, is_newer
from migrator.model import EncodedDocument, Outcome, Status
from migrator.retry import repeat_while

# Other writers would have to win every one of these races in turn.
MAX_CONFLICT_ROUNDS = 12
CONFLICT = "conflict"


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
        sleep: waits between the rounds of a race.
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
    sleep: Callable[[float], None] = time.sleep


class BatchWrite:
    """The writing of one batch: what is still open, and the outcomes so far. Documents go by their index."""

    def __init__(self, target: Target, documents: Sequence[EncodedDocument], *, resend: bool) -> None:
        self._target = target
        self._client = target.client
        self._documents = documents
        self._database = target.database
        self._resend = resend
        self._stored: dict[str, dict[str, Any] | None] = {}
        self._outcomes: list[Outcome | None] = [None] * len(documents)

    def run(self) -> list[Outcome]:
        """Write, settle, and give one outcome for each document, in order.

        Raises:
            TransientError: the end of some documents is not known; call again with `resend`.
            BatchRefused: the server refuses the batch as a whole.
        """
        if self._resend or self._target.dry_run:
            # The answer to an earlier attempt was lost: what it wrote is found by reading, and the rest sent.
            absent, conflicts = self._compare(range(len(self._documents)))
            conflicts += self._send(dict.fromkeys(absent, None))
        else:
            conflicts = self._send(dict.fromkeys(range(len(self._documents)), None))
        if conflicts:
            self._settle(conflicts)
        return [outcome for outcome in self._outcomes if outcome is not None]

    # -- sending ----------------------------------------------------------------------------------------------

    def _send(self, revisions: Mapping[int, str | None]) -> list[int]:
        """Send these documents, each with its parent revision or none; give those that met a conflict."""
        if not revisions:
            return []
        if self._target.dry_run:
            for index in revisions:
                self._end(index, Status.WRITTEN)
            return []
        bodies = [
            self._documents[index].body if rev is None else _with_revision(self._documents[index].body, rev)
            for index, rev in revisions.items()
        ]
        rows = self._client.bulk_docs(self._database, bodies)
        by_id: defaultdict[str, deque[int]] = defaultdict(deque)
        for index in revisions:
            by_id[self._documents[index].id].append(index)
        conflicts: list[int] = []
        trouble: dict[str, Any] | None = None
        for row in rows:
            waiting = by_id.get(row.get("id", ""))
            if not waiting:
                raise TransientError(
                    f"{self._url}: the server answered for {row.get('id')!r:.100}, which was not asked.",
                    hint="Something between here and the server mixes up answers; go on with --resume.",
                    outcome_unknown=True,
                    signature="foreign rows",
                )
            index = waiting.popleft()
            error = row.get("error")
            if error is None and "rev" in row:
                self._end(index, Status.WRITTEN)
            elif error == CONFLICT:
                conflicts.append(index)
            elif error is None or error in TRANSIENT_ROWS:
                trouble = row
            else:
                self._end(
                    index,
                    Status.REJECTED,
                    error=str(error),
                    reason=str(row.get("reason", "")),
                    status=_status(error),
                )
        unanswered = [self._documents[index].id for waiting in by_id.values() for index in waiting]
        if trouble is not None or unanswered:
            # What has no end yet is found by reading when this batch is loaded again.
            word = (
                f"{trouble.get('error')} ({trouble.get('reason')}) for {trouble.get('id')!r:.100}"
                if trouble
                else f"no answer for {len(unanswered)} documents, the first {unanswered[0]!r:.100}"
            )
            raise TransientError(
                f"{self._url}: {word}.",
                hint="Look into the server's log and disk; then go on with --resume.",
                outcome_unknown=True,
                status=500 if trouble else None,
                signature=f"row {trouble.get('error')}" if trouble else "missing rows",
            )
        return conflicts

    # -- settling ---------------------------------------------------------------------------------------------

    def _settle(self, conflicts: list[int]) -> None:
        """Read, decide and re-send only the documents in question, until none is open."""
        open_indexes = conflicts

        def step() -> list[int]:
            nonlocal open_indexes
            absent, differing = self._compare(open_indexes)
            again: dict[int, str | None] = dict.fromkeys(absent, None)
            again.update(self._decide(differing))
            open_indexes = self._send(again)
            return open_indexes

        left = repeat_while(bool, step, max_attempts=MAX_CONFLICT_ROUNDS, sleep=self._target.sleep)
        for index in left:
            self._end(
                index,
                Status.REJECTED,
                error=CONFLICT,
                reason=f"other writers changed the document {MAX_CONFLICT_ROUNDS} times in a row",
                conflict=True,
                status=409,
            )

    def _compare(self, indexes: Sequence[int]) -> tuple[list[int], list[int]]:
        """Read the current revisions; give the documents that are absent and those whose content differs.

        Equal ones get their outcome: by revision alone where it is computed, by content elsewhere.
        """
        ids = list(dict.fromkeys(self._documents[index].id for index in indexes))
        if not ids:
            return [], []
        states = self._client.lookup(self._database, ids)
        absent: list[int] = []
        unsure: list[int] = []
        seen: set[str] = set()
        for index in indexes:
            id, body = self._documents[index]
            state = states[id]
            if state is None or state.get("deleted"):
                if id in seen:
                    unsure.append(index)
                else:
                    seen.add(id)
                    absent.append(index)
            elif self._target.fidelity.proves(body, state["rev"]):
                self._equal(index)
            else:
                unsure.append(index)
        return absent, self._compare_content(unsure)

    def _compare_content(self, indexes: list[int]) -> list[int]:
        if not indexes:
            return []
        ids = dict.fromkeys(self._documents[index].id for index in indexes)
        self._stored = self._client.documents(self._database, list(ids))
        differing: list[int] = []
        for index in indexes:
            id, body = self._documents[index]
            stored = self._stored.get(id)
            if stored is not None and self._target.fidelity.differing(body, stored) is None:
                self._equal(index)
            else:
                differing.append(index)
        return differing

    def _decide(self, indexes: Sequence[int]) -> dict[int, str | None]:
        """Apply the policy; give what is to be written over which revision."""
        again: dict[int, str | None] = {}
        policy = self._target.on_conflict
        for index in indexes:
            id, body = self._documents[index]
            stored = self._stored.get(id)
            if stored is None:
                # It vanished between two readings, or its twin in this batch is not written yet.
                again[index] = None
                continue
            rev = str(stored["_rev"])
            if policy is OnConflict.OVERWRITE:
                again[index] = rev
            elif policy is OnConflict.SKIP:
                self._end(index, Status.SKIPPED, reason=f"other content at the target ({rev})", conflict=True)
            elif policy is OnConflict.FAIL:
                path = self._target.fidelity.differing(body, stored)
                reason = f"other content at the target ({rev}), first at {path}"
                self._end(index, Status.REJECTED, error=CONFLICT, reason=reason, conflict=True, status=409)
            else:
                self._decide_newer(index, stored, rev, again)
        self._target.overwriting.update(self._documents[index].id for index, rev in again.items() if rev)
        return again

    def _decide_newer(self, index: int, stored: dict[str, Any], rev: str, again: dict[int, str | None]) -> None:
        field = self._target.newer_field
        try:
            if is_newer(decode(self._documents[index].body), stored, field):
                again[index] = rev
            else:
                self._end(index, Status.SKIPPED, reason=f"the target's {field} is as new ({rev})", conflict=True)
        except Incomparable as error:
            self._end(index, Status.REJECTED, error=CONFLICT, reason=str(error), conflict=True, status=409)

    # -- ends -------------------------------------------------------------------------------------------------

    def _equal(self, index: int) -> None:
        """The target holds this very content: since before, or by a write of ours whose answer was lost."""
        overwritten = self._documents[index].id in self._target.overwriting
        ours = overwritten or (self._resend and self._target.was_empty)
        self._end(index, Status.WRITTEN if ours else Status.UNCHANGED)

    def _end(
        self,
        index: int,
        end: Status,
        *,
        error: str = "",
        reason: str = "",
        conflict: bool = False,
        status: int | None = None,
    ) -> None:
        id = self._documents[index].id
        if id in self._target.overwriting:
            conflict = True
            self._target.overwriting.discard(id)
        self._outcomes[index] = Outcome(id, end, error, reason, conflict, 1, status)

    @property
    def _url(self) -> str:
        return database_url(self._client.endpoint, self._database)


def _with_revision(body: bytes, rev: str) -> bytes:
    return b'{"_rev":"' + rev.encode() + b'",' + body.lstrip()[1:]


def _status(error: object) -> int | None:
    return {"forbidden": 403, "unauthorized": 401, "partition_overflow": 403}.get(str(error))
