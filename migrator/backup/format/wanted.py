"""Which documents of a snapshot are asked for, and where in its files they can stand."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from migrator.backup.format.lines import PIECE, divide
from migrator.backup.format.manifest import Segment, StoredFile
from migrator.backup.format.stored_files import StoredFiles


@dataclass(frozen=True)
class Wanted:
    """Ids by their UTF-8 bytes.

    Args:
        after: only those above this one.
        prefix: only those that begin so.
        ids: only these, sorted.
    """

    after: bytes | None = None
    prefix: bytes = b""
    ids: Sequence[bytes] | None = field(default=None, compare=False)

    @property
    def everything(self) -> bool:
        """True where all ids are asked for."""
        return self.after is None and not self.prefix and self.ids is None

    @cached_property
    def _known(self) -> frozenset[bytes]:
        return frozenset(self.ids or ())

    def has(self, key: bytes) -> bool:
        """True for an id that is asked for."""
        return (
            (self.after is None or key > self.after)
            and key.startswith(self.prefix)
            and (self.ids is None or key in self._known)
        )

    def ends_before(self, key: bytes) -> bool:
        """True where neither this id nor any above it is asked for."""
        if self.ids is not None and (not self.ids or key > self.ids[-1]):
            return True
        return key > self.prefix and not key.startswith(self.prefix)

    def may_be_in(self, segment: Segment) -> bool:
        """False where a segment is sure to hold none."""
        if not segment.last_id:
            return True
        first, last = segment.first_id.encode(), segment.last_id.encode()
        if (self.after is not None and last <= self.after) or last < self.prefix or self.ends_before(first):
            return False
        if self.ids is None:
            return True
        place = bisect_left(self.ids, first)
        return place < len(self.ids) and self.ids[place] <= last

    def first_in(self, segment: Segment) -> bytes:
        """No id below this one is asked for in a segment."""
        least = max(self.after or b"", self.prefix)
        if self.ids is None:
            return least
        place = bisect_left(self.ids, max(least, segment.first_id.encode()))
        return self.ids[place] if place < len(self.ids) else least


EVERYTHING = Wanted()


def first_frame(files: StoredFiles, snapshot: str, file: Segment | StoredFile, key: bytes) -> int:
    """Where to begin to read a file for an id: at a frame before which none of its lines can stand.

    A few frames are unpacked for it, of however many there are.

    Raises:
        DamagedBackup, ConfigError: as for a frame.
        ValueError: a line is not of the format.
    """
    offsets = files.offsets(snapshot, file)
    low, high = 0, len(offsets)
    # Frames before `low` begin below the id, those from `high` on do not.
    while low < high:
        middle = probe = (low + high) // 2
        found = None
        # Frames that hold pieces alone do not say where they are.
        while found is None and probe < high:
            found = _first_key(files.frame(snapshot, file, offsets[probe]).lines)
            probe += 1
        if found is not None and found < key:
            low = probe
        else:
            high = middle
    return offsets[max(0, low - 1)] if offsets else 0


def _first_key(lines: Sequence[bytes]) -> bytes | None:
    for line in lines:
        if not line.startswith(PIECE):
            return divide(line)[0]["id"].encode()  # type: ignore[no-any-return]
    return None
