"""A file that lies elsewhere, open for reading: read piece by piece, and gone on with after a cut."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from migrator.errors import ConfigError, TransientError
from migrator.retry.retrier import FIRST_CONTACT, Retrier

HEAD_BYTES = 1 << 10
"""Enough to tell how a file is packed."""

# What is asked for at once by who jumps, as Parquet does; it grows while it is read on without a jump.
_FIRST_WINDOW_BYTES = 1 << 20
_LARGEST_WINDOW_BYTES = 64 << 20


class FileMissing(ConfigError):
    """There is no such file where its URL says."""


@dataclass(frozen=True)
class Look:
    """What is known of a file before it is read.

    Args:
        size_bytes: None where only the end will tell.
        version: what changes with the content: an ETag, or a time; "" where nothing says so.
        head: the first bytes.
        in_parts: it can be read from any place on.
    """

    size_bytes: int | None
    version: str
    head: bytes
    in_parts: bool

    @cached_property
    def identity(self) -> str:
        """As `files.identity` gives it of a file of this machine; where nothing tells, no two are the same."""
        if self.version:
            return f"{self.size_bytes} {self.version}"
        if self.size_bytes is None:
            return secrets.token_hex(16)
        return f"{self.size_bytes} {hashlib.sha256(self.head).hexdigest()[:16]}"

    def is_same(self, other: Look) -> bool:
        """True where another look, which may know less, is of the same content.

        What was asked for with `If-Range` comes in parts only if it is.
        """
        sizes = {self.size_bytes, other.size_bytes} - {None}
        told = self.version and (other.version or not other.in_parts)
        return len(sizes) < 2 and (not told or self.version == other.version)


class Origin(Protocol):
    """Where files come from, by one way of asking."""

    def look(self) -> Look:
        """Look at the file.

        Raises:
            FileMissing: there is none.
            EndpointError: whoever has it cannot be asked, or refuses.
        """

    def pieces(self, look: Look, offset: int, end: int | None) -> Generator[bytes]:
        """Yield the file from a place on, up to another one or its end.

        Raises:
            TransientError: the connection broke, and all that was yielded is of the file that was looked at.
            ConfigError: the file is another one than was looked at.
        """

    def children(self) -> Mapping[str, Origin] | None:
        """What files a folder holds, by name; None where it is not a folder."""

    def close(self) -> None:
        """Let go of connections that wait for the next reading."""


class RemoteFile(io.RawIOBase):
    """A file elsewhere, open for reading: what was cut off is gone on with, and never taken for the whole.

    Args:
        origin: where it comes from.
        look: what is known of it; nothing but this very content is read.
        name: its URL for people.
    """

    def __init__(self, origin: Origin, look: Look, name: str) -> None:
        self._origin = origin
        self._look = look
        self._name = name
        self._offset = 0
        self._pieces: Generator[bytes] | None = None
        self._held = memoryview(b"")
        # Known only to who has read so far, where nobody says how long the file is.
        self._size_bytes = look.size_bytes
        self._window_bytes: int | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where it stands."""
        return self._offset

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Stand somewhere else; nothing is asked for yet."""
        offset += {os.SEEK_CUR: self._offset, os.SEEK_END: self._size_bytes or 0}.get(whence, 0)
        if offset != self._offset:
            if self._pieces is not None:
                self._window_bytes = _FIRST_WINDOW_BYTES
            self._drop()
            self._offset = offset
        return offset

    def readinto(self, buffer: Any, /) -> int:
        """Read for a buffer of the standard library."""
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def read(self, size: int = -1, /) -> bytes:
        """Give up to `size` bytes, an empty block only at the end."""
        if size < 0:
            return self.readall()
        while not self._held and self._fill():
            pass
        block = bytes(self._held[:size])
        self._held = self._held[size:]
        self._offset += len(block)
        return block

    def close(self) -> None:
        """Let go of the connection."""
        super().close()
        self._drop()

    def _drop(self) -> None:
        self._held = memoryview(b"")
        if self._pieces is not None:
            self._pieces.close()
            self._pieces = None

    def _fill(self) -> bool:
        """Take the next piece; False at the end."""
        if self._size_bytes is not None and self._offset >= self._size_bytes:
            return False
        if self._pieces is None:
            end = self._size_bytes
            if self._window_bytes and self._look.in_parts and end is not None:
                end = min(end, self._offset + self._window_bytes)
                self._window_bytes = min(2 * self._window_bytes, _LARGEST_WINDOW_BYTES)
            self._pieces = self._read_on(self._offset, end)
        piece = next(self._pieces, None)
        if piece is not None:
            self._held = memoryview(piece)
            return True
        self._pieces = None
        if self._size_bytes is None:
            self._size_bytes = self._offset
        return True

    def _read_on(self, offset: int, end: int | None) -> Generator[bytes]:
        """The bytes up to a place, or to an end that is not known, opened again where the connection breaks."""

        def opened() -> Iterator[bytes]:
            reached = offset
            with contextlib.closing(self._origin.pieces(self._look, reached, end)) as pieces:
                for piece in pieces:
                    reached += len(piece)
                    yield piece
            if end is not None and reached < end:
                raise TransientError(
                    f"{self._name}: it was cut off at byte {reached} of {self._size_bytes}.", signature="cut"
                )

        for piece in retrier().iterate(f"reading {self._name}", opened):
            offset += len(piece)
            yield piece


def retrier() -> Retrier:
    """For what a run's own retries wrap: a cut is gone on with where it was; what lasts is for them."""
    return Retrier(FIRST_CONTACT)
