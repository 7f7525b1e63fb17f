"""Segments of lines in zstd frames: `zstd -d` reads them all, and each frame can be read alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import zstandard

from migrator.backup.format.cipher import Cipher
from migrator.backup.format.lines import Offset
from migrator.backup.format.manifest import Segment, StoredFile
from migrator.backup.storage.base import Place

FRAME_BYTES = 262_144
"""The usual size of a frame before compression. It ends with a line, so a long line makes it longer."""

LEVEL = 3
_CHUNK_BYTES = 65_536
# Of a frame's head, and the kind of a block that is one byte again and again (RFC 8878).
_MAX_HEAD_BYTES = 18
_REPEATED = 1
_NO_BOUNDS = ("", "")


class FrameWriter:
    """Lines on their way into a file, compressed as they come."""

    def __init__(self, frame_bytes: int = FRAME_BYTES) -> None:
        self._frame_bytes = frame_bytes
        self._compress = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress
        self._done = bytearray()
        self._lines: list[bytes] = []
        self._pending_bytes = 0

    @property
    def empty(self) -> bool:
        """True before the first line."""
        return not self._done and not self._lines

    def offset(self) -> tuple[int, int]:
        """Where the next line will stand: offset of its frame, number in it."""
        return len(self._done), len(self._lines)

    def add(self, line: bytes) -> bool:
        """Add a line; True when that filled a frame."""
        self._lines.append(line)
        self._pending_bytes += len(line) + 1
        if self._pending_bytes < self._frame_bytes:
            return False
        self._end_frame()
        return True

    def take(self) -> bytearray:
        """All that was added, and start over; of nothing, a frame with nothing in it."""
        if self._lines or not self._done:
            self._end_frame()
        done, self._done = self._done, bytearray()
        return done

    def _end_frame(self) -> None:
        text = b"\n".join([*self._lines, b""]) if self._lines else b""
        self._done += self._compress(text)
        self._lines = []
        self._pending_bytes = 0


class Frame(NamedTuple):
    """A frame's lines, and where the next frame begins."""

    lines: list[bytes]
    end: int


def read_frame(read: Callable[[int, int], bytes], offset: int) -> Frame:
    """Read the frame at an offset.

    Args:
        read: gives up to so many bytes from an offset on.
        offset: where it begins.

    Raises:
        ValueError: there is no whole frame.
    """
    inflate = zstandard.ZstdDecompressor().decompressobj()
    parts = []
    end = offset
    try:
        while not inflate.eof:
            chunk = read(end, _CHUNK_BYTES)
            if not chunk:
                raise ValueError("it is cut off")
            parts.append(inflate.decompress(chunk))
            end += len(chunk)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
    lines = b"".join(parts).split(b"\n")
    if lines.pop():
        raise ValueError("its last line is cut off")
    return Frame(lines, end - len(inflate.unused_data))


def frame_offsets(read: Callable[[int, int], bytes], length: int) -> list[int]:
    """Where each frame of a file begins, by the lengths that frames and their blocks tell; nothing is unpacked.

    Args:
        read: gives up to so many bytes from an offset on.
        length: of the file.

    Raises:
        ValueError: it is not made of whole frames.
    """
    offsets = []
    at = 0
    while at < length:
        offsets.append(at)
        head = read(at, _MAX_HEAD_BYTES)
        try:
            checksum = zstandard.get_frame_parameters(head).has_checksum
            at += zstandard.frame_header_size(head)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None
        last = 0
        while not last:
            block = read(at, 3)
            if len(block) < 3:
                raise ValueError("it is cut off")
            value = int.from_bytes(block, "little")
            last, kind, size = value & 1, value >> 1 & 3, value >> 3
            # Of a byte that is repeated, the one is stored.
            at += 3 + (1 if kind == _REPEATED else size)
        at += 4 if checksum else 0
    return offsets


@dataclass(eq=False)
class SegmentWriter:
    """Holds one segment in memory, compressed, until it is closed.

    Args:
        place: where to.
        folder: the snapshot's.
        cipher: seals what is written.
        frame_bytes: how much is compressed at once.
        segments: those that are written already.
    """

    place: Place
    folder: str
    cipher: Cipher
    frame_bytes: int
    segments: list[Segment]

    def __post_init__(self) -> None:
        self._lines = FrameWriter(self.frame_bytes)
        self._index = FrameWriter(self.frame_bytes)
        self._bounds = _NO_BOUNDS
        self._leaves = 0
        self._documents = 0

    @property
    def size_bytes(self) -> int:
        """Length so far of the one that is not."""
        return self._lines.offset()[0]

    def offset(self) -> Offset:
        """Where the next line will stand."""
        return Offset(len(self.segments) + 1, *self._lines.offset())

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
        number = len(self.segments) + 1
        segment = self._store(f"segment-{number:06}.ndjson.zst", self._lines)
        index = self._store(f"index-{number:06}.ndjson.zst", self._index)
        self.segments.append(
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
        if self.cipher.name:
            data = self.cipher.seal(bytes(data))
        name += self.cipher.suffix
        self.place.write(f"{self.folder}/{name}", memoryview(data))
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
