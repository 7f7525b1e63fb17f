"""Writes the segments of a snapshot, one after the other, each with the index of its leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from migrator.backup.format.cipher import Cipher
from migrator.backup.format.frames import FrameWriter
from migrator.backup.format.lines import Offset
from migrator.backup.format.manifest import Segment, StoredFile
from migrator.backup.storage.base import Place

_NO_BOUNDS = ("", "")


class SegmentWriter:
    """Holds one segment in memory, compressed, until it is closed.

    Args:
        place: where to.
        folder: the snapshot's.
        cipher: seals what is written.
        frame_bytes: how much is compressed at once.
        segments: those that are written already.
    """

    def __init__(
        self, place: Place, folder: str, cipher: Cipher, frame_bytes: int, segments: Iterable[Segment]
    ) -> None:
        self._place = place
        self._folder = folder
        self._cipher = cipher
        self._lines = FrameWriter(frame_bytes)
        self._index = FrameWriter(frame_bytes)
        self._segments = list(segments)
        self._bounds = _NO_BOUNDS
        self._leaves = 0
        self._documents = 0

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Those that are written."""
        return tuple(self._segments)

    @property
    def size_bytes(self) -> int:
        """Length so far of the one that is not."""
        return self._lines.size_bytes

    def offset(self) -> Offset:
        """Where the next line will stand."""
        return Offset(len(self._segments) + 1, *self._lines.offset())

    def leaf(self, id: str, line: bytes, index: bytes, *, first: bool) -> bool:
        """Add the line of a leaf; `first` of its document. True when that filled a frame."""
        self._leaves += 1
        self._documents += first
        self._index.add(index)
        return self.line(id, line)

    def fault(self, id: str, line: bytes) -> bool:
        """Add the line of a leaf that could not be read."""
        self._index.add(line)
        return self.line(id, line)

    def line(self, id: str, line: bytes) -> bool:
        """Add a line that belongs to a document."""
        self._bounds = (self._bounds[0] or id, id)
        return self._lines.add(line)

    def close(self) -> None:
        """Write the segment, durably, where there is something in it."""
        if self._lines.empty:
            return
        number = len(self._segments) + 1
        segment = self._store(f"segment-{number:06}.ndjson.zst", self._lines)
        index = self._store(f"index-{number:06}.ndjson.zst", self._index)
        self._segments.append(
            Segment(
                segment.name,
                segment.sha256,
                segment.size_bytes,
                self._leaves,
                self._documents,
                *self._bounds,
                index,
            )
        )
        self._leaves = self._documents = 0
        self._bounds = _NO_BOUNDS

    def _store(self, name: str, frames: FrameWriter) -> StoredFile:
        data: bytes | bytearray = frames.take()
        if self._cipher.name:
            data = self._cipher.seal(bytes(data))
        name += self._cipher.suffix
        self._place.write(f"{self._folder}/{name}", memoryview(data))
        return StoredFile(name, hashlib.sha256(data).hexdigest(), len(data))


def pieces(source: Iterator[bytes], piece_bytes: int) -> Iterator[bytes]:
    """The same bytes in pieces of one size, the last one excepted."""
    buffer = bytearray()
    for chunk in source:
        buffer += chunk
        while len(buffer) >= piece_bytes:
            yield bytes(buffer[:piece_bytes])
            del buffer[:piece_bytes]
    if buffer:
        yield bytes(buffer)
