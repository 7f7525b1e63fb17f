"""A sorted run on disk: blocks of records, each a zstd frame with its own checksum.

    kind length frame | kind length frame | ...

Before each block stands its last key, by which blocks are passed over. A body larger than a block stands alone
after its key, and is read when its record is asked for; so reading many runs takes one small block of each.
"""

from __future__ import annotations

import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, TypeAlias

import zstandard

from migrator.errors import MigratorError
from migrator.files.durable import create_file, flush_to_disk

BLOCK_BYTES = 65_536
"""The usual size of a block before compression."""

LEVEL = 1
_CHUNK_BYTES = 1 << 20
_HEAD = struct.Struct(">BQ")
_BLOCK, _BODY, _LAST_KEY = range(3)

Entry: TypeAlias = tuple[bytes, bytes | Callable[[], bytes]]
"""A key and its body; a large one is still on disk, and read by a call."""

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
        self._pending_bytes = 0

    def write(self, entries: Iterable[Entry]) -> None:
        """Add entries, each key not below the one before."""
        for key, body in entries:
            data = body if isinstance(body, bytes) else body()
            if len(data) > self._block_bytes:
                self._end_block()
                self._append(_LAST_KEY, key)
                self._append(_BODY, data)
                self._records += 1
                continue
            self._keys.append(key)
            self._bodies.append(data)
            self._pending_bytes += len(key) + len(data)
            if self._pending_bytes >= self._block_bytes:
                self._end_block()

    def finish(self, *, durable: bool) -> Run:
        """Write what is left; `durable` waits until all of it is on disk."""
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
        if not self._keys:
            return
        count = len(self._keys)
        lengths = struct.pack(f">I{2 * count}I", count, *map(len, self._keys), *map(len, self._bodies))
        self._append(_LAST_KEY, self._keys[-1])
        self._append(_BLOCK, b"".join((lengths, *self._keys, *self._bodies)))
        self._records += count
        self._keys.clear()
        self._bodies.clear()
        self._pending_bytes = 0

    def _append(self, kind: int, data: bytes) -> None:
        frame = self._compress(data)
        self._put(_HEAD.pack(kind, len(frame)))
        self._put(frame)

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
        last = b""
        while offset < self._run.size_bytes:
            kind, frame_bytes = self._head(offset)
            if kind == _LAST_KEY:
                last = self._inflate(self._file.read(frame_bytes))
            elif after is not None and last <= after:
                pass
            elif kind == _BODY:
                yield last, partial(self._frame, offset)
            else:
                entries = _entries_of(self._inflate(self._file.read(frame_bytes)))
                if after is not None:
                    del entries[: bisect_right(entries, after, key=entry_key)]
                entries.reverse()
                # What was given is not held any longer.
                while entries:
                    yield entries.pop()
            offset += _HEAD.size + frame_bytes

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


def _entries_of(block: bytes) -> list[Entry]:
    (count,) = struct.unpack_from(">I", block)
    lengths = struct.unpack_from(f">{2 * count}I", block, 4)
    parts = [block[start:end] for start, end in pairwise(accumulate(lengths, initial=4 + 8 * count))]
    return list(zip(parts[:count], parts[count:], strict=True))
