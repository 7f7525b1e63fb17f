"""A sorted run on disk: blocks of records, each a zstd frame with its own checksum, and an index after them.

    kind length frame | kind length frame | ... | index frame

A body larger than a block lies in a frame of its own, in front of the block that refers to it, and is read when
its record is asked for; so reading many runs at once takes one small block of each.
"""

from __future__ import annotations

import os
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, pairwise
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

import zstandard

from migrator.errors import MigratorError
from migrator.files.durable import create_file, flush_to_disk

BLOCK_BYTES = 65_536
"""The usual size of a block before compression."""

KEY_PREFIX_BYTES = 128
"""How much of a block's first key the index holds, so that long keys do not make it long."""

MAX_INDEX_ENTRIES = 16_384
"""With more blocks than these the index holds every second, every fourth, ..."""

LEVEL = 1
_CHUNK_BYTES = 1 << 20
_HEAD = struct.Struct(">BQ")
_BLOCK, _LARGE_BODY = 0, 1
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


class Run(NamedTuple):
    """What must be known of a finished run to read it, and to see that it is whole."""

    name: str
    records: int
    size_bytes: int
    index_offset: int
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
        self._index: list[tuple[bytes, int]] = []
        self._blocks = 0
        self._stride = 1

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
        """Write the index; `durable` waits until all of it is on disk."""
        if self._keys:
            self._end_block()
        index_offset = self._offset
        prefixes = [prefix for prefix, _ in self._index]
        count = len(prefixes)
        lengths = struct.pack(f">{count}I", *map(len, prefixes))
        offsets = struct.pack(f">{count}Q", *(offset for _, offset in self._index))
        self._put(self._compress(b"".join((_OFFSET.pack(count), lengths, offsets, *prefixes))))
        if durable:
            flush_to_disk(self._file)
        else:
            self._file.flush()
        return Run(self._name, self._records, self._offset, index_offset, self._checksum)

    def close(self) -> None:
        """Close the file, finished or not."""
        self._file.close()

    def _end_block(self) -> None:
        count = len(self._keys)
        lengths = struct.pack(f">I{2 * count}I", count, *map(len, self._keys), *self._lengths)
        first = self._keys[0][:KEY_PREFIX_BYTES]
        offset = self._append(_BLOCK, b"".join((lengths, *self._keys, *self._bodies)))
        if self._blocks % self._stride == 0:
            self._index.append((first, offset))
            if len(self._index) > MAX_INDEX_ENTRIES:
                del self._index[1::2]
                self._stride *= 2
        self._blocks += 1
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

    def blocks(self, after: bytes | None = None) -> Iterator[list[Entry]]:
        """Yield the entries in order, a block at a time, from the first whose key is above `after`."""
        offset = 0 if after is None else self._offset_before(after)
        while offset < self._run.index_offset:
            kind, frame_bytes = self._head(offset)
            if kind == _BLOCK:
                entries = self._entries(self._inflate(self._file.read(frame_bytes)))
                if after is not None:
                    del entries[: bisect_right(entries, after, key=entry_key)]
                if entries:
                    after = None
                    yield entries
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

    def _offset_before(self, after: bytes) -> int:
        """The last indexed block that is sure to begin below `after`, or the first block."""
        self._file.seek(self._run.index_offset)
        index = self._inflate(self._file.read())
        (count,) = _OFFSET.unpack_from(index)
        lengths = struct.unpack_from(f">{count}I", index, 8)
        offsets = struct.unpack_from(f">{count}Q", index, 8 + 4 * count)
        prefixes = [index[start:end] for start, end in pairwise(accumulate(lengths, initial=8 + 12 * count))]
        below = bisect_left(prefixes, after[:KEY_PREFIX_BYTES])
        return int(offsets[below - 1]) if below else 0

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


def merge(sources: Iterable[Iterator[list[Entry]]]) -> Iterator[list[Entry]]:
    """Merge sorted blocks; entries of equal keys stay in the order of their sources."""
    feeds = [(source, head) for source in sources if (head := next(source, []))]
    while len(feeds) > 1:
        # What lies below the first block end has been read whole, so sorting a handful of blocks merges it.
        bound: bytes = min(head[-1][0] for _, head in feeds)
        ready: list[Entry] = []
        for _, head in feeds:
            cut = bisect_left(head, bound, key=entry_key)
            ready += head[:cut]
            del head[:cut]
        ready.sort(key=entry_key)
        # Entries of that very key may go on in later blocks of a source that comes first.
        for number, (source, first_head) in enumerate(feeds):
            head = first_head
            while head:
                cut = bisect_right(head, bound, key=entry_key)
                ready += head[:cut]
                del head[:cut]
                if head:
                    break
                yield ready
                ready = []
                head = next(source, [])
                feeds[number] = (source, head)
        if ready:
            yield ready
        feeds = [feed for feed in feeds if feed[1]]
    for source, head in feeds:
        yield head
        yield from source
