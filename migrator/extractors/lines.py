"""Reads files in bounded memory: plain, gzip or Zstandard, as blocks of bytes or line by line."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

import zstandard

from migrator.errors import CheckpointError, ConfigError, EndpointError
from migrator.extractors.remote import FilePath, RemotePath
from migrator.files.identity import not_opened

BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 64 << 20
BOM = b"\xef\xbb\xbf"
BLANK = b" \t\r\n"
"""What JSON takes for nothing."""

Line: TypeAlias = tuple[int, int, bytes | None]
"""Offset after the line, its number from 1, its bytes without the line's end; None for one that is too long."""

# Four packed bytes can stand for 128 KiB, so this bounds what one step unpacks to 32 MiB.
_ZSTD_STEP_BYTES = 1 << 10
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}


class Readable(Protocol):
    """Anything that gives blocks of bytes, an empty one at its end."""

    def read(self, size: int, /) -> bytes:
        """Give about `size` bytes."""


def is_packed(path: FilePath) -> bool:
    """True of a file that can only be read from its beginning."""
    return bool(_packings(path))


def _packings(path: FilePath) -> list[str]:
    """How a file's text is packed, the outermost first: a file of this machine as its name says."""
    if isinstance(path, RemotePath) and (path.packings or path.stat().st_size):
        return path.packings
    packing = _COMPRESSED.get(path.suffix.lower())
    return [packing] if packing else []


class TextFile(io.RawIOBase):
    """The bytes of a file's text, unpacked where the name ends in `.gz` or `.zst`.

    Args:
        path: the file.
        offset: where in the unpacked text to begin.

    Raises:
        ConfigError: there is no such file, it cannot be opened, or it is damaged before `offset`.
        CheckpointError: the text ends before `offset`.
    """

    # Whoever was not opened is closed too.
    _file: BinaryIO = io.BytesIO()

    def __init__(self, path: FilePath, *, offset: int = 0) -> None:
        self.path = path
        self.offset = 0
        self._packings = _packings(path)
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise not_opened(Path(str(path)), error) from error
        try:
            self._source: Readable = self._unpacker()
            self._skip(offset)
        except BaseException:
            self.close()
            raise

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read for a buffer of the standard library, which divides lines."""
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def read(self, size: int, /) -> bytes:  # type: ignore[override] # who reads says how much
        """Give about `size` bytes, an empty block only at the end."""
        try:
            block = self._source.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
            raise ConfigError(
                f"{self.path} is damaged after byte {self.offset} of its text: {error}.",
                hint=f"Look at it with {self._packings[0]} --test, and fetch or make it again.",
            ) from error
        except OSError as error:
            raise EndpointError(
                f"{self.path} cannot be read at byte {self.offset}: {error.strerror}.",
                hint="Look at the disk or the network that holds it, then go on with --resume.",
            ) from error
        self.offset += len(block)
        return block

    def close(self) -> None:
        """Let go of the file."""
        super().close()
        self._file.close()

    def _unpacker(self) -> Readable:
        found: Any = self._file
        for packing in self._packings:
            if self._size_bytes() == 0:
                raise ConfigError(
                    f"{self.path} is empty, which a {packing} file never is.", hint="Fetch or make it again."
                )
            found = gzip.GzipFile(fileobj=found, mode="rb") if packing == "gzip" else _ZstdReader(found)
        return cast("Readable", found)

    def _size_bytes(self) -> int:
        if isinstance(self.path, RemotePath):
            return self.path.stat().st_size
        return os.fstat(self._file.fileno()).st_size

    def _skip(self, offset: int) -> None:
        if not self._packings:
            size = self._size_bytes()
            self._file.seek(min(offset, size))
            self.offset = min(offset, size)
        while self.offset < offset and self.read(min(BLOCK_BYTES, offset - self.offset)):
            pass
        if self.offset != offset:
            raise CheckpointError(
                f"{self.path} is shorter than it was when the checkpoint was made.",
                hint="Put the old file back, or start over with --restart.",
            )


def about_text_bytes(path: FilePath) -> int:
    """The length of a text, 0 where nobody knows it; of a packed one an estimate by how its beginning unpacks."""
    size_bytes = path.stat().st_size
    packing = next(iter(_packings(path)), "")
    if not packing:
        return size_bytes
    unpack = zlib.decompressobj(31) if packing == "gzip" else zstandard.ZstdDecompressor().decompressobj()
    used = text_bytes = 0
    # Whoever reads it says what is wrong with it.
    with path.open("rb") as file, contextlib.suppress(zlib.error, zstandard.ZstdError):
        while used < BLOCK_BYTES and text_bytes < 4 * BLOCK_BYTES and not unpack.unused_data:
            piece = file.read(_ZSTD_STEP_BYTES)
            if not piece:
                break
            text_bytes += len(unpack.decompress(piece))
            used += len(piece)
    return text_bytes * size_bytes // max(1, used - len(unpack.unused_data))


class _ZstdReader:
    """Unpacks frame after frame. The library's own reader takes a file that was cut off for a whole one."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        # By itself it refuses windows over 128 MiB, as `zstd` does without --long.
        self._unpack = zstandard.ZstdDecompressor()
        self._frame = self._unpack.decompressobj()
        self._packed = memoryview(b"")
        self._inside = False
        self._ready: list[bytes] = []
        self._ready_bytes = 0

    def read(self, size: int, /) -> bytes:
        while self._ready_bytes < size and self._step():
            pass
        text = b"".join(self._ready)
        block, rest = text[:size], text[size:]
        self._ready, self._ready_bytes = [rest], len(rest)
        return block

    def _step(self) -> bool:
        if not self._packed:
            self._packed = memoryview(self._file.read(BLOCK_BYTES))
            if not self._packed:
                if self._inside:
                    raise EOFError("it ends in the middle")
                return False
        piece = bytes(self._packed[:_ZSTD_STEP_BYTES])
        text = self._frame.decompress(piece)
        used = len(piece)
        self._inside = True
        if self._frame.eof:
            used -= len(self._frame.unused_data)
            self._frame = self._unpack.decompressobj()
            self._inside = False
        self._packed = self._packed[used:]
        if text:
            self._ready.append(text)
            self._ready_bytes += len(text)
        return True


def read_lines(
    stream: Readable, *, start: tuple[int, int] = (0, 0), max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[Line]:
    r"""Divide a stream at `\n` and nothing else; a `\r` before it belongs to the line's end.

    Args:
        stream: what to read, standing at `start`.
        start: offset after the last line that was read, and that line's number.
        max_line_bytes: a longer line is passed over without being held in memory.

    Yields:
        offset after the line, its number, its bytes; None instead of the bytes for a line that is too long.
    """
    offset, number = start
    pieces: list[bytes] = []
    held = 0
    while block := stream.read(BLOCK_BYTES):
        lines = block.split(b"\n")
        tail = lines.pop()
        if lines:
            returns = b"\r" in block
            head = lines[0]
            pieces.append(head)
            held += len(head)
            offset += held + 1
            number += 1
            yield offset, number, _joined(pieces, held, max_line_bytes)
            pieces = []
            held = 0
            rest = iter(lines)
            next(rest)
            for line in rest:
                length = len(line)
                offset += length + 1
                number += 1
                if length > max_line_bytes:
                    yield offset, number, None
                elif returns and line.endswith(b"\r"):
                    yield offset, number, line[:-1]
                else:
                    yield offset, number, line
        held += len(tail)
        if held <= max_line_bytes:
            pieces.append(tail)
        else:
            pieces.clear()
    if held:
        yield offset + held, number + 1, _joined(pieces, held, max_line_bytes)


def text_lines(
    stream: Readable, *, start: tuple[int, int] = (0, 0), max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[Line]:
    """As `read_lines`, without blank lines and without a byte order mark before the first one."""
    for end, number, line in read_lines(stream, start=start, max_line_bytes=max_line_bytes):
        text = line.removeprefix(BOM) if line is not None and number == 1 else line
        if text is None or text.strip(BLANK):
            yield end, number, text


def line_at(path: FilePath, offset: int) -> tuple[int, int]:
    """The line of a place in a file's text, from 1, and the characters before it in its line."""
    line, column = 1, 0
    with TextFile(path) as file:
        while file.offset < offset and (block := file.read(min(BLOCK_BYTES, offset - file.offset))):
            text = block.decode("utf-8", "replace")
            line += text.count("\n")
            column = len(text) - text.rfind("\n") - 1 if "\n" in text else column + len(text)
    return line, column


def _joined(pieces: list[bytes], length: int, max_line_bytes: int) -> bytes | None:
    if length > max_line_bytes:
        return None
    return b"".join(pieces).removesuffix(b"\r")
