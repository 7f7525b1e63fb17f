"""Writes one batch that holds deletions too: they are carried where there is something to delete."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.couch.trouble import CONFLICT
from migrator.loaders.batch_write import BatchWrite
from migrator.loaders.conflicts import OnConflict
from migrator.model import Status

# How the text of a deletion ends; no other document's text does, for it is no document's to have such a field.
DELETED = b',"_deleted":true}'


class MirrorWrite(BatchWrite):
    """As BatchWrite, with deletions.

    A deletion needs the revision that it deletes, and where there is none, it would make a tombstone of nothing:
    so what stands at the target is read first. It goes by the policy as other content does; `newer` deletes, for a
    deletion has no field to compare.
    """

    def _write(self, indexes: list[int]) -> None:
        tombstones = self._tombstones(indexes)
        if len(tombstones) < len(indexes):
            deleted = set(tombstones)
            super()._write([index for index in indexes if index not in deleted])
        if tombstones and (conflicts := self._send(self._examine(tombstones))):
            self._settle(conflicts)

    def _examine(self, indexes: Sequence[int]) -> dict[int, str | None]:
        tombstones = self._tombstones(indexes)
        if not tombstones:
            return super()._examine(indexes)
        sending: dict[int, str | None] = {}
        there = self._present(tombstones)
        for index in tombstones:
            id = self._documents[index].id
            policy = self._target.on_conflict
            if id not in there:
                ours = id in self._target.overwriting or id in self._target.confirmed
                self._end(index, Status.WRITTEN if ours else Status.UNCHANGED)
            elif policy is OnConflict.SKIP:
                self._end(index, Status.SKIPPED, reason="deleted at the source, kept at the target", conflict=True)
            elif policy is OnConflict.FAIL:
                reason = f"deleted at the source, and at the target as {there[id]}"
                self._end(index, Status.REJECTED, error=CONFLICT, reason=reason, conflict=True, status=409)
            else:
                self._target.overwriting.add(id)
                sending[index] = there[id]
        return sending

    def _tombstones(self, indexes: Sequence[int]) -> list[int]:
        return [index for index in indexes if self._documents[index].body.endswith(DELETED)]
