"""Lines in zstd frames one after the other: `zstd -d` reads them all, and each can be read alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import zstandard

FRAME_BYTES = 262_144
"""The usual size of a frame before compression. It ends with a line, so a long line makes it longer."""

LEVEL = 3
_CHUNK_BYTES = 65_536


class FrameWriter:
    """Lines on their way into a file, compressed as they come."""

    def __init__(self, frame_bytes: int = FRAME_BYTES) -> None:
        self._frame_bytes = frame_bytes
        self._compress = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress
        self._done = bytearray()
        self._lines: list[bytes] = []
        self._pending_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Length of what is compressed."""
        return len(self._done)

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
