"""Reads a stream of backups into a folder; of one that was cut off or changed it says at which byte, and where."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from migrator.backup.format.manifest import without_sum
from migrator.backup.format.stream import BEGIN, END, FOLDER, MAX_LISTED, NOTHING, VERSION, Lists, header
from migrator.errors import ConfigError, DamagedBackup
from migrator.naming import collection_name, shown

_BLOCK = tarfile.BLOCKSIZE
_MAX_OWN_BYTES = 1 << 20
# What a place's names are made of: they are percent-encoded, and none leads out of it.
_NAME = re.compile(r"(?!\.{1,2}(?:/|$))[\w.%-]+(?:/(?!\.{1,2}(?:/|$))[\w.%-]+)*", re.ASCII)
_LONG_NAME = re.compile(rb"\d+ path=([^\n]+)\n")
_PACKED = {b"\x1f\x8b": "gunzip", b"\x28\xb5\x2f\xfd": "zstd -d", b"age-encryption.org": "age -d -i key.txt"}
_AGAIN = (
    "Write it again, and look at the exit code of each command before the pipe (set -o pipefail). To take out "
    "what is whole in it: mkdir FOLDER; tar -xf FILE -C FOLDER; migrator backups check --from FOLDER"
)


def unpack(blocks: Iterator[bytes], folder: Path, source: str) -> None:
    """Write the files of a stream below a folder, in bounded memory. What is raised leaves them there.

    Args:
        blocks: the stream's bytes.
        folder: which is made.
        source: what the stream is called, for people.

    Raises:
        ConfigError: it is something else than a stream of backups, or of a newer migrator.
        DamagedBackup: it was cut off or changed; names byte and file.
        OSError: the files cannot be written.
    """
    _Reading(blocks, folder, source).all()


class _Found(NamedTuple):
    """A file of the stream, and where its header begins and its bytes end."""

    name: str
    line: str
    start: int
    end: int


class _Reading:
    def __init__(self, blocks: Iterator[bytes], folder: Path, source: str) -> None:
        self._blocks, self._folder = blocks, folder
        self._source = source[:1].upper() + source[1:]
        self._left = memoryview(b"")
        self._offset = 0
        self._lists = Lists()
        self._found: list[_Found] = []
        # What is being read, for people.
        self._what = "its beginning"

    def all(self) -> None:
        """Read it to its last byte."""
        self._begin()
        while (name := self._next()) != END:
            if len(self._found) > MAX_LISTED:
                self._damaged(self._found[0].start, "is in no list of digests")
            if not name.startswith(f"{FOLDER}/"):
                self._write(name)
        self._what = "its last blocks"
        if any(self._exactly(len(NOTHING))):
            self._damaged(self._offset - len(NOTHING), "is not as it was written")
        end = self._offset
        while block := self._some(1 << 18):
            if bytes(block).strip(b"\0"):
                raise DamagedBackup(
                    f"{self._source} is a whole stream that ends at byte {end:,}, and something else follows. "
                    "Nothing of it was used.",
                    hint=f"Give the same command what comes before that: head -c {end} FILE | migrator …",
                )

    def _begin(self) -> None:
        head = bytes(self._some(_BLOCK, whole=True))
        if not head:
            self._cut("before its first byte: nothing came")
        if head[: len(BEGIN)] != BEGIN.encode()[: len(head)]:
            self._refuse(head)
        self._left = memoryview(head + bytes(self._left))
        self._offset = 0
        name, size_bytes = self._header()
        value = self._own(name, size_bytes) if name == BEGIN else {}
        if value.get("version") != VERSION:
            raise ConfigError(
                f"{self._source} was written by a newer migrator (format {value.get('version')}; this one knows "
                f"{VERSION}).",
                hint="Use that version.",
            )

    def _refuse(self, head: bytes) -> NoReturn:
        what, hint = "is not what migrator backup --to - writes", "Look at what the command before the pipe gives."
        for magic, command in _PACKED.items():
            if head.startswith(magic):
                what, hint = "is packed or encrypted", f"Unpack it: {command} < FILE | migrator … --from -"
        if head[257:262] == b"ustar":
            what += ", but another tar file"
            hint = "If it holds a place of backups: mkdir FOLDER; tar -xf FILE -C FOLDER; and then --from FOLDER"
        raise ConfigError(f"{self._source} {what}.", hint=hint)

    def _next(self) -> str:
        """Read a header, and what follows where that is the stream's own; the file's name."""
        start = self._offset
        name, self._size_bytes = self._header()
        self._start = start
        if name == END:
            if self._own(name, self._size_bytes) != self._lists.as_dict():
                self._damaged(start, "does not fit what came before it")
        elif name.startswith(f"{FOLDER}/"):
            self._compare(name, start)
        return name

    def _compare(self, name: str, start: int) -> None:
        """Compare what came with a list of digests."""
        self._what = name
        text = b"".join(self._bytes(self._limited(self._size_bytes, start)))
        wanted = text.decode("ascii", "replace").splitlines(keepends=True)
        for found, line in itertools.zip_longest(self._found, wanted):
            if found is None or found.line != line:
                where = found or _Found(name, "", start, self._offset)
                self._what = _said(where.name)
                self._damaged(where.start, "does not fit its digest", end=where.end)
        if self._lists.take()[0] != name:
            self._damaged(start, "is not the next list of digests")
        self._found = []

    def _own(self, name: str, size_bytes: int) -> dict[str, object]:
        start, self._what = self._offset, name
        text = b"".join(self._bytes(self._limited(size_bytes, start)))
        try:
            return without_sum(text, name)
        except (DamagedBackup, json.JSONDecodeError):
            self._damaged(start, "does not fit its digest")

    def _limited(self, size_bytes: int, start: int) -> int:
        if size_bytes > _MAX_OWN_BYTES:
            self._damaged(start, "is longer than can be")
        return size_bytes

    def _write(self, name: str) -> None:
        """Write a file as it comes."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        try:
            file = path.open("xb")
        except FileExistsError:
            self._damaged(self._start, "comes a second time")
        with file:
            for block in self._bytes(self._size_bytes):
                digest.update(block)
                file.write(block)
        self._lists.note(name, digest.hexdigest(), self._size_bytes)
        self._found.append(_Found(name, self._lists.lines[-1], self._start, self._offset))

    def _header(self) -> tuple[str, int]:
        """Name and size of the file that comes next; each byte of its header is one that was written."""
        start = self._offset
        head = self._exactly(_BLOCK)
        try:
            info = tarfile.TarInfo.frombuf(head, "ascii", "strict")
            name = info.name
            if info.type == tarfile.XHDTYPE:
                long = self._exactly(self._limited(info.size + -info.size % _BLOCK, start))
                match = _LONG_NAME.match(long)
                name = match[1].decode("ascii") if match else ""
                last = self._exactly(_BLOCK)
                head += long + last
                info = tarfile.TarInfo.frombuf(last, "ascii", "strict")
            fits = _NAME.fullmatch(name) and head == header(name, info.size, int(info.mtime))
        except (tarfile.HeaderError, ValueError):
            fits = None
        if not fits:
            self._damaged(start, "is followed by something else than a file")
        self._what = _said(name)
        return name, info.size

    def _bytes(self, size_bytes: int) -> Iterator[bytes]:
        """A file's bytes, and past what fills its last block."""
        left = size_bytes
        while left:
            block = self._some(left)
            if not block:
                self._cut(f"in the middle of {self._what}")
            left -= len(block)
            yield bytes(block)
        if any(self._exactly(-size_bytes % _BLOCK)):
            self._damaged(self._offset - _BLOCK, "is not followed by zeros")

    def _exactly(self, size: int) -> bytes:
        found = bytes(self._some(size, whole=True))
        if len(found) < size:
            self._cut(f"after {self._what}")
        return found

    def _some(self, size: int, *, whole: bool = False) -> bytes | memoryview:
        """Up to so many bytes, none at the end; or all of them, where there are as many."""
        while len(self._left) < (size if whole else min(size, 1)):
            block = next(self._blocks, b"")
            if not block:
                break
            self._left = memoryview(bytes(self._left) + block)
        found, self._left = self._left[:size], self._left[size:]
        self._offset += len(found)
        return found

    def _cut(self, where: str) -> NoReturn:
        raise DamagedBackup(
            f"{self._source} ends at byte {self._offset:,}, {where}. It was cut off, or the backup before the "
            "pipe did not finish. Nothing of it was used.",
            hint=_AGAIN,
        )

    def _damaged(self, start: int, why: str, *, end: int | None = None) -> NoReturn:
        end = self._offset if end is None else end
        raise DamagedBackup(
            f"{self._source} is damaged between byte {start:,} and byte {end:,}: {self._what} {why}. Nothing of "
            "it was used.",
            hint=_AGAIN,
        )


def _said(name: str) -> str:
    """A file's name for people, with the database that it is of."""
    parts = name.split("/")
    if parts[0] != "databases" or len(parts) < 4:
        return name
    return f"{parts[3]} of the snapshot {parts[2]} of {shown(collection_name(parts[1]))}"
