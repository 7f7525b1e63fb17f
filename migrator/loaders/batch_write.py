"""Writes one batch to one database and finds the end of each document in it.

A row that says `conflict` is settled by reading just that document: equal content is UNCHANGED, other content
goes by the declared policy. A batch whose answer was lost is settled the same way before anything is sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from typing import Any

from migrator.codec import decode
from migrator.couch.documents import ATTACHMENTS, with_revision
from migrator.couch.rows import Row
from migrator.couch.trouble import CONFLICT, STORED, VERDICTS, is_verdict
from migrator.errors import BatchRefused, TransientError
from migrator.loaders.target import Incomparable, Look, OnConflict, Target, is_newer, rounds
from migrator.model import ALTERED, EncodedDocument, Outcome, Status
from migrator.naming import counted
from migrator.retry.retrier import repeat_while

# Other writers would have to win every one of these races in turn.
MAX_CONFLICT_ROUNDS = 12
# Of stored documents from this size on one is parsed at a time, however many batches are on their way.
LARGE_BYTES = 500_000


class BatchWrite:
    """The writing of one batch: what is still open, and the outcomes so far. Documents go by their index."""

    def __init__(self, target: Target, documents: Sequence[EncodedDocument], *, resend: bool) -> None:
        self._target = target
        self._client = target.client
        self._documents = documents
        self._database = target.database
        self._resend = resend
        self._begun = 0
        self._outcomes: list[Outcome | None] = [None] * len(documents)

    def run(self) -> list[Outcome]:
        """Write, settle, and give one outcome for each document, in order.

        Raises:
            TransientError: the end of some documents is not known; call again with `resend`.
            BatchRefused: the server refuses the batch as a whole.
        """
        try:
            for indexes in rounds([document.id for document in self._documents]):
                self._write(indexes)
        except (TransientError, BatchRefused):
            for outcome in self._outcomes:
                if outcome is not None and outcome.status is Status.WRITTEN:
                    self._target.confirmed[outcome.id] = outcome.conflict
            raise
        return [outcome for outcome in self._outcomes if outcome is not None]

    def _write(self, indexes: list[int]) -> None:
        self._begun += 1
        if self._resend or self._target.dry_run or self._begun > 1:
            # The answer to an earlier attempt was lost: what it wrote is found by reading, and the rest sent. What
            # this batch itself wrote is looked up too: a late copy of a cluster would take the same id as new.
            conflicts = self._send(self._examine(indexes))
        else:
            conflicts = self._send_absent(indexes)
        if conflicts:
            self._settle(conflicts)

    def _send_absent(self, indexes: list[int]) -> list[int]:
        """Send what the target is not seen to hold; give what it holds with other content, or met a conflict."""
        look = self._target.look
        there = look.rows([self._documents[index].id for index in indexes]) if look else ()
        sending = self._decide(indexes, there, look)
        conflicts = self._send(sending)
        if look:
            look.met(len(conflicts), len(sending))
        return conflicts

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
            self._documents[index].body if rev is None else with_revision(self._documents[index].body, rev)
            for index, rev in revisions.items()
        ]
        ids = [self._documents[index].id for index in revisions]
        rows = self._target.suspects.rows(lambda: self._client.bulk_docs(self._database, bodies), ids)
        prove = self._target.proof.expected
        expected = {index: prove(self._documents[index], rev) for index, rev in revisions.items()}
        # Of this batch's ids nobody else notes anything meanwhile.
        noted = self._target.overwriting or self._target.confirmed
        if not noted and self._all_written(rows, [*expected.values()]):
            return []
        waiting = {self._documents[index].id: index for index in revisions}
        conflicts: list[int] = []
        troubles: dict[int, dict[str, Any]] = {}
        for row in rows:
            index = waiting.pop(row.get("id", ""), -1)
            if index < 0:
                raise self._target.wrong_rows(
                    f"it answered for {row.get('id')!r:.100}, which was not asked", "foreign rows"
                )
            error = row.get("error")
            if error is None and "rev" in row:
                known = expected[index]
                if self._target.proof.doubts(row, known, revisions[index]):
                    conflicts.append(index)
                else:
                    self._end(index, Status.WRITTEN, proof=known if known == row["rev"] else None)
            elif error == CONFLICT:
                conflicts.append(index)
            elif is_verdict(error):
                self._refuse(index, row, VERDICTS[str(error)])
            else:
                troubles[index] = row
        if waiting:
            what = f"no answer for {counted(len(waiting), 'document')}, the first {next(iter(waiting))!r:.100}"
            raise self._target.wrong_rows(what, "missing rows")
        if troubles:
            self._target.suspects.settle(
                troubles,
                lambda index: self._documents[index].id,
                lambda index, row: self._refuse(index, row, row.get("status")),
                others_stored=any(o is not None and o.status in STORED for o in self._outcomes),
                size_bytes=max(len(self._documents[index].body) for index in troubles),
            )
        return conflicts

    def _all_written(self, rows: Sequence[Mapping[str, Any]], expected: Sequence[str | None]) -> bool:
        """The usual case, told at once: a row for each document of the batch, in order, and all as expected."""
        ids = [document.id for document in self._documents]
        if ids != [row.get("id") for row in rows] or not all("rev" in row and "error" not in row for row in rows):
            return False
        if any(rev is not None and rev != row["rev"] for rev, row in zip(expected, rows, strict=True)):
            return False
        self._outcomes = [
            Outcome(id, Status.WRITTEN, proof=rev or "") for id, rev in zip(ids, expected, strict=True)
        ]
        self._target.suspects.passed()
        return True

    def _refuse(self, index: int, row: Mapping[str, Any], status: int | None) -> None:
        reason = str(row.get("reason", ""))
        self._end(index, Status.REJECTED, error=str(row.get("error")), reason=reason, status=status)

    # -- settling ---------------------------------------------------------------------------------------------

    def _settle(self, conflicts: list[int]) -> None:
        """Read, decide and re-send only the documents in question, until none is open."""
        open_indexes = conflicts

        def step() -> list[int]:
            nonlocal open_indexes
            open_indexes = self._send(self._examine(open_indexes))
            return open_indexes

        for index in repeat_while(bool, step, max_attempts=MAX_CONFLICT_ROUNDS, sleep=self._target.sleep):
            self._end(
                index,
                Status.REJECTED,
                error=CONFLICT,
                reason=f"other writers changed the document {MAX_CONFLICT_ROUNDS} times in a row",
                conflict=True,
                status=409,
            )

    def _examine(self, indexes: Sequence[int]) -> dict[int, str | None]:
        """Read what stands at the target; give what is to be sent, each with its parent revision or none."""
        return self._decide(indexes, [Row(id, rev, None) for id, rev in self._present(indexes).items()])

    def _present(self, indexes: Sequence[int]) -> dict[str, str]:
        return self._client.present(self._database, [self._documents[index].id for index in indexes])

    def _decide(
        self, indexes: Sequence[int], there: Iterable[Row], look: Look | None = None
    ) -> dict[int, str | None]:
        """What is to be sent, in order, where these rows are there and nothing is known of other ids.

        What is there already gets its outcome: by revision alone where that proves it, by content elsewhere.
        """
        places = {self._documents[index].id: index for index in indexes}
        sending: dict[int, str | None] = {}
        unsure: list[int] = []
        unproven = 0
        for row in there:
            if (index := places.pop(row.id, -1)) < 0:
                continue
            if self._target.fidelity.proves(self._documents[index], row.rev):
                self._equal(index, row.rev)
                continue
            unproven += 1
            if row.document is None:
                unsure.append(index)
            else:
                self._compare_stored(index, row, sending)
        if look:
            look.documents_wanted.note(len(indexes) - len(places), unproven)
        sending |= dict.fromkeys(places.values())
        self._read(unsure, sending, look)
        return dict(sorted(sending.items()))

    def _read(self, indexes: Sequence[int], sending: dict[int, str | None], look: Look | None = None) -> None:
        """Read what stands there of these documents, and compare it."""
        places = {self._documents[index].id: index for index in indexes}
        for row in look.documents(list(places), len(self._documents)) if look and places else ():
            if row.id in places and row.document is not None:
                self._compare_stored(places.pop(row.id), row, sending)
        with closing(self._client.stored(self._database, places)) as found:
            for id, stored in found:
                self._compare_stored(places[id], stored, sending)

    def _compare_stored(self, index: int, row: Row | None, sending: dict[int, str | None]) -> None:
        document, fidelity = self._documents[index], self._target.fidelity
        text = row.document if row and row.document else b""
        with self._target.one_large if len(text) >= LARGE_BYTES or ATTACHMENTS in text else nullcontext():
            if fidelity.equal(document, text):
                self._equal(index)
            elif row and self._target.overwrites(document.id) and fidelity.unequal(document, text):
                self._target.overwriting.add(document.id)
                sending[index] = row.rev
            else:
                self._compare(index, self._client.document_of(self._database, row), sending)

    def _compare(self, index: int, stored: dict[str, Any] | None, sending: dict[int, str | None]) -> None:
        """Compare content, and apply the policy where it differs."""
        if stored is None:
            # It vanished between two readings.
            sending[index] = None
            return
        id, body, _ = self._documents[index]
        path = self._target.fidelity.differing(body, stored)
        policy, rev = self._target.on_conflict, str(stored["_rev"])
        if path is None:
            self._equal(index)
        elif reason := self._target.proof.altered(id, rev, path):
            self._end(index, Status.REJECTED, error=ALTERED, reason=reason)
        elif policy is OnConflict.SKIP:
            self._end(index, Status.SKIPPED, reason=f"other content at the target ({rev})", conflict=True)
        elif policy is OnConflict.FAIL:
            reason = f"other content at the target ({rev}), first at {path}"
            self._end(index, Status.REJECTED, error=CONFLICT, reason=reason, conflict=True, status=409)
        elif policy is OnConflict.OVERWRITE or self._is_newer(index, stored, rev):
            self._target.overwriting.add(id)
            sending[index] = rev

    def _is_newer(self, index: int, stored: dict[str, Any], rev: str) -> bool:
        """True when ours is newer; else the document gets its outcome."""
        field = self._target.newer_field
        try:
            if is_newer(decode(self._documents[index].body), stored, field):
                return True
        except Incomparable as error:
            self._end(index, Status.REJECTED, error=CONFLICT, reason=str(error), conflict=True, status=409)
        else:
            self._end(index, Status.SKIPPED, reason=f"the target's {field} is as new ({rev})", conflict=True)
        return False

    def _equal(self, index: int, proof: str = "") -> None:
        """The target holds this very content: since before, or by a write of ours whose answer was lost.

        `proof` is the revision where that alone has shown it.
        """
        id = self._documents[index].id
        proof = self._target.proof.of_equal(id, proof)
        confirmed = self._target.confirmed.get(id)
        # A second document of this batch with the same id and content is not another write.
        found_ours = self._resend and self._target.was_empty and self._begun == 1
        doubted = id in self._target.proof.doubted
        if id in self._target.overwriting or confirmed is not None or found_ours or doubted:
            self._end(index, Status.WRITTEN, conflict=bool(confirmed), proof=proof)
        else:
            self._end(index, Status.UNCHANGED, proof=proof)

    def _end(
        self,
        index: int,
        end: Status,
        *,
        error: str = "",
        reason: str = "",
        conflict: bool = False,
        status: int | None = None,
        proof: str | None = "",
    ) -> None:
        id = self._documents[index].id
        if id in self._target.overwriting:
            conflict = True
            self._target.overwriting.discard(id)
        self._target.confirmed.pop(id, None)
        if error != ALTERED:
            # Sent again with others, it is still ours.
            self._target.proof.doubted.pop(id, None)
        self._outcomes[index] = Outcome(id, end, error, reason, conflict, 1, status, proof or "")
