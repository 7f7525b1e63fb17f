"""The files of a place as one stream: a tar file that says at its end that it is whole (docs/backup-format.md).

Each file is in the list of digests that follows it, and the end has the digest of all lists. So whoever reads
knows of each byte whether it is the one that was written, and at which one a stream was cut.
"""

from __future__ import annotations

import hashlib
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from migrator.backup.format.manifest import with_sum

VERSION = 1
FOLDER = ".stream"
BEGIN, END = f"{FOLDER}/begin.json", f"{FOLDER}/end.json"
MAX_LISTED = 100
"""So many files are in one list of digests."""

_BLOCK = tarfile.BLOCKSIZE
NOTHING = bytes(2 * _BLOCK)
"""What a tar file ends with."""


class StreamWriter:
    """Writes files, one after the other; in memory are the names of some of them.

    Args:
        write: takes bytes, all of them.
    """

    def __init__(self, write: Callable[[bytes | memoryview], object]) -> None:
        self._write = write
        self._lists = Lists()
        self._begun = False

    def add(self, name: str, data: bytes | memoryview) -> None:
        """Write a file."""
        if not self._begun:
            self._begun = True
            self._file(BEGIN, with_sum({"format": "migrator backup stream", "version": VERSION}))
        self._file(name, data)
        self._lists.note(name, hashlib.sha256(data).hexdigest(), len(data))
        if len(self._lists.lines) >= MAX_LISTED:
            self._list()

    def end(self) -> None:
        """Say that this was all: without it the stream is a cut one."""
        self._list()
        self._file(END, with_sum(self._lists.as_dict()))
        self._write(NOTHING)

    def _list(self) -> None:
        if self._lists.lines:
            self._file(*self._lists.take())

    def _file(self, name: str, data: bytes | memoryview) -> None:
        self._write(header(name, len(data), int(time.time())))
        self._write(data)
        self._write(bytes(-len(data) % _BLOCK))


@dataclass
class Lists:
    """The lists of digests, each as `sha256sum` writes it, and what the end says of them all."""

    lines: list[str] = field(default_factory=list)
    _number: int = 0
    _files: int = 0
    _size_bytes: int = 0

    def __post_init__(self) -> None:
        self._digest = hashlib.sha256()

    def note(self, name: str, sha256: str, size_bytes: int) -> None:
        """Put a file on the list."""
        self.lines.append(f"{sha256}  {name}\n")
        self._files += 1
        self._size_bytes += size_bytes

    def take(self) -> tuple[str, bytes]:
        """The list's name and text, and begin the next one."""
        self._number += 1
        text = "".join(self.lines).encode()
        self._digest.update(text)
        self.lines = []
        return f"{FOLDER}/sha256-{self._number:06}.txt", text

    def as_dict(self) -> dict[str, object]:
        """For the end."""
        return {
            "version": VERSION,
            "files": self._files,
            "size_bytes": self._size_bytes,
            "lists_sha256": self._digest.hexdigest(),
        }


def header(name: str, size_bytes: int, mtime_s: int) -> bytes:
    """What stands before a file: one block, or three where the name is long."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size_bytes, mtime_s, 0o600
    return info.tobuf(tarfile.PAX_FORMAT)
