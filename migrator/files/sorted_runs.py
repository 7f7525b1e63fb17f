"""A sorted run on disk: blocks of records, each a zstd frame with its own checksum.

    kind length frame | kind length frame | ...

Before each block stands its last key, by which blocks are passed over. A body larger than a block lies in a frame
of its own, in front of the block that refers to it, and is read when its record is asked for; so reading many runs
at once takes one small block of each.
"""

from __future__ import annotations

import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

import zstandard

from migrator.errors import MigratorError
from migrator.files.durable import create_file, flush_to_disk

BLOCK_BYTES = 65_536
"""The usual size of a block before compression."""

LEVEL = 1
_CHUNK_BYTES = 1 << 20
_HEAD = struct.Struct(">BQ")
_BLOCK, _LARGE_BODY, _LAST_KEY = 0, 1, 2
# In place of a body's length: the offset of its frame follows instead of the body.
_APART = 0xFFFFFFFF
_OFFSET = struct.Struct(">Q")


class LargeBody(NamedTuple):
    """A body that is still on disk."""

    load: Callable[[int], bytes]
    offset: int

    def read(self) -> bytes:
        """Read it."""
        return self.load(self.offset)


Entry: TypeAlias = tuple[bytes, bytes | LargeBody]
"""A key and its body."""

entry_key = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Run:
    """What must be known of a finished run to read it, and to see that it is whole."""

    name: str
    records: int
    size_bytes: int
    checksum: int


class RunWriter:
    """Writes one run; entries come in order.

    Args:
        path: the file, which must not exist yet. Only its owner may read it.
        block_bytes: how much is compressed at once; a larger body is written apart.
    """

    def __init__(self, path: Path, *, block_bytes: int = BLOCK_BYTES) -> None:
        self._name = path.name
        self._block_bytes = block_bytes
        self._compress = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress
        self._file = os.fdopen(create_file(path), "wb", buffering=_CHUNK_BYTES)
        self._checksum = 0
        self._offset = 0
        self._records = 0
        self._keys: list[bytes] = []
        self._bodies: list[bytes] = []
        self._lengths: list[int] = []
        self._pending_bytes = 0

    def write(self, entries: Iterable[Entry]) -> None:
        """Add entries, each key not below the one before."""
        for key, body in entries:
            data = body if isinstance(body, bytes) else body.read()
            size = len(data)
            if size > self._block_bytes:
                data, size = _OFFSET.pack(self._append(_LARGE_BODY, data)), _APART
            self._keys.append(key)
            self._bodies.append(data)
            self._lengths.append(size)
            self._pending_bytes += len(key) + len(data)
            if self._pending_bytes >= self._block_bytes:
                self._end_block()

    def finish(self, *, durable: bool) -> Run:
        """Write what is left; `durable` waits until all of it is on disk."""
        if self._keys:
            self._end_block()
        if durable:
            flush_to_disk(self._file)
        else:
            self._file.flush()
        return Run(self._name, self._records, self._offset, self._checksum)

    def close(self) -> None:
        """Close the file, finished or not."""
        self._file.close()

    def _end_block(self) -> None:
        count = len(self._keys)
        lengths = struct.pack(f">I{2 * count}I", count, *map(len, self._keys), *self._lengths)
        self._append(_LAST_KEY, self._keys[-1])
        self._append(_BLOCK, b"".join((lengths, *self._keys, *self._bodies)))
        self._records += count
        self._keys.clear()
        self._bodies.clear()
        self._lengths.clear()
        self._pending_bytes = 0

    def _append(self, kind: int, data: bytes) -> int:
        offset = self._offset
        frame = self._compress(data)
        self._put(_HEAD.pack(kind, len(frame)))
        self._put(frame)
        return offset

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._checksum = zlib.crc32(data, self._checksum)
        self._offset += len(data)


class RunReader:
    """Reads one run, block by block."""

    def __init__(self, folder: Path, run: Run) -> None:
        self._path = folder / run.name
        self._run = run
        self._file: BinaryIO = self._path.open("rb")
        self._decompress = zstandard.ZstdDecompressor().decompress

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def entries(self, after: bytes | None = None) -> Iterator[Entry]:
        """Yield the entries in order, from the first whose key is above `after`."""
        offset = 0
        wanted = True
        while offset < self._run.size_bytes:
            kind, frame_bytes = self._head(offset)
            if kind == _LAST_KEY and after is not None:
                wanted = self._inflate(self._file.read(frame_bytes)) > after
            elif kind == _BLOCK and wanted:
                entries = self._entries(self._inflate(self._file.read(frame_bytes)))
                if after is not None:
                    del entries[: bisect_right(entries, after, key=entry_key)]
                    after = None
                entries.reverse()
                # What was given is not held any longer.
                while entries:
                    yield entries.pop()
            offset += _HEAD.size + frame_bytes

    def _entries(self, block: bytes) -> list[Entry]:
        (count,) = struct.unpack_from(">I", block)
        lengths = struct.unpack_from(f">{2 * count}I", block, 4)
        sizes = lengths if _APART not in lengths else [_OFFSET.size if n == _APART else n for n in lengths]
        parts = [block[start:end] for start, end in pairwise(accumulate(sizes, initial=4 + 8 * count))]
        bodies: list[bytes | LargeBody] = list(parts[count:])
        if sizes is not lengths:
            for index, length in enumerate(lengths[count:]):
                if length == _APART:
                    bodies[index] = LargeBody(self._frame, *_OFFSET.unpack(parts[count + index]))
        return list(zip(parts[:count], bodies, strict=True))

    def _head(self, offset: int) -> tuple[int, int]:
        self._file.seek(offset)
        head = self._file.read(_HEAD.size)
        if len(head) != _HEAD.size:
            raise self._damaged()
        kind, frame_bytes = _HEAD.unpack(head)
        return kind, frame_bytes

    def _frame(self, offset: int) -> bytes:
        _, frame_bytes = self._head(offset)
        return self._inflate(self._file.read(frame_bytes))

    def _inflate(self, frame: bytes) -> bytes:
        try:
            return self._decompress(frame)
        except zstandard.ZstdError as error:
            raise self._damaged() from error

    def _damaged(self) -> MigratorError:
        return MigratorError(
            f"The sorted copy of the source is damaged: {self._path} cannot be read back.",
            hint="Check the disk, remove that folder and start again.",
        )


def is_whole(folder: Path, run: Run) -> bool:
    """True when the file is there as it was written, to the last byte."""
    checksum = 0
    size_bytes = 0
    try:
        with (folder / run.name).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                checksum = zlib.crc32(chunk, checksum)
                size_bytes += len(chunk)
    except OSError:
        return False
    return (size_bytes, checksum) == (run.size_bytes, run.checksum)
