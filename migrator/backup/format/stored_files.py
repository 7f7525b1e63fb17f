"""The files of a chain of snapshots, each checked against its digest before anything of it is given."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from migrator.backup.catalog import snapshot_folder
from migrator.backup.format.cipher import Cipher, fitting
from migrator.backup.format.lines import StoredAttachment, piece
from migrator.backup.format.manifest import Manifest, Segment, StoredFile, damaged
from migrator.backup.format.segments import Frame, frame_offsets, read_frame
from migrator.backup.storage.base import Place
from migrator.errors import DamagedBackup
from migrator.naming import shown

MAX_COPIES = 64
"""Copies of a distant place's files that are kept at once; a longer chain has one of each snapshot."""

MAX_OPENED_BYTES = 32 << 20
"""Decrypted files that are kept in memory; at least one is."""

MAX_FRAMES = 4
_BLOCK_BYTES = 1 << 20


class StoredFiles:
    """Reads frames of a chain's files, for one thread at a time: the others wait.

    Args:
        place: where they are.
        chain: the snapshots, oldest first.
        cipher: opens what is encrypted.
    """

    def __init__(self, place: Place, chain: Sequence[Manifest], cipher: Cipher) -> None:
        self._place = place
        self._cipher = cipher
        self._snapshots = {manifest.snapshot: manifest for manifest in chain}
        self._max_copies = max(MAX_COPIES, 2 * len(chain))
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._paths: OrderedDict[str, Path] = OrderedDict()
        self._opened: OrderedDict[str, bytes] = OrderedDict()
        self._cached_frame = lru_cache(MAX_FRAMES)(self._frame)
        self._cached_offsets = lru_cache(self._max_copies)(self._offsets)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Remove copies."""
        self._paths.clear()
        self._opened.clear()
        self._cached_frame.cache_clear()
        self._cached_offsets.cache_clear()
        if self._folder:
            self._folder.cleanup()
            self._folder = None

    def length(self, snapshot: str, file: Segment | StoredFile) -> int:
        """The length of a file's frames, which encryption makes longer."""
        if not self._snapshots[snapshot].encryption:
            return file.size_bytes
        with self._lock:
            return len(self._decrypted(snapshot, file))

    def frame(self, snapshot: str, file: Segment | StoredFile, offset: int) -> Frame:
        """A frame of a file.

        Raises:
            DamagedBackup: the file is missing, or not as it was written.
            ConfigError: it is encrypted, and there is no key that fits.
        """
        with self._lock:
            return self._cached_frame(snapshot, file, offset)

    def offsets(self, snapshot: str, file: Segment | StoredFile) -> list[int]:
        """Where each frame of a file begins.

        Raises:
            DamagedBackup, ConfigError: as for a frame.
        """
        with self._lock:
            return self._cached_offsets(snapshot, file)

    def _frame(self, snapshot: str, file: Segment | StoredFile, offset: int) -> Frame:
        with self._reading(snapshot, file) as read:
            return read_frame(read, offset)

    def _offsets(self, snapshot: str, file: Segment | StoredFile) -> list[int]:
        with self._reading(snapshot, file) as read:
            if self._snapshots[snapshot].encryption:
                return frame_offsets(read, len(self._decrypted(snapshot, file)))
            return frame_offsets(read, file.size_bytes)

    @contextlib.contextmanager
    def _reading(self, snapshot: str, file: Segment | StoredFile) -> Iterator[Callable[[int, int], bytes]]:
        """What gives up to so many bytes of a file from an offset on."""
        name = self._name(snapshot, file)
        try:
            if self._snapshots[snapshot].encryption:
                data = self._decrypted(snapshot, file)
                yield lambda start, count: data[start : start + count]
                return
            with self._path(name, file).open("rb", buffering=0) as stored:
                yield lambda start, count: os.pread(stored.fileno(), count, start)
        except ValueError as error:
            raise damaged(self._shown(name), str(error)) from None
        except OSError as error:
            raise damaged(self._shown(name), str(error.strerror)) from error

    def verify(self, snapshot: str, file: Segment | StoredFile) -> None:
        """Hold a file against its digest.

        Raises:
            DamagedBackup: it is missing, or not as it was written.
        """
        self._path(self._name(snapshot, file), file)

    def fits(self, snapshot: str, file: Segment | StoredFile) -> bool:
        """True where a file is there as it was written."""
        with self._lock, contextlib.suppress(DamagedBackup):
            self.verify(snapshot, file)
            return True
        return False

    def where(self, snapshot: str, file: Segment | StoredFile) -> str:
        """The file, for people."""
        return self._shown(self._name(snapshot, file))

    def snapshot_shown(self, snapshot: str) -> str:
        """A snapshot, for people."""
        return f"{self._place.describe()}, snapshot {snapshot}"

    def _name(self, snapshot: str, file: Segment | StoredFile) -> str:
        return f"{snapshot_folder(self._snapshots[snapshot].database, snapshot)}/{file.name}"

    def _shown(self, name: str) -> str:
        return f"{self._place.describe()}/{name}"

    def _decrypted(self, snapshot: str, file: Segment | StoredFile) -> bytes:
        name = self._name(snapshot, file)
        if name in self._opened:
            self._opened.move_to_end(name)
            return self._opened[name]
        cipher = fitting(self._cipher, self._snapshots[snapshot].encryption, self._shown(name))
        data = cipher.unseal(self._path(name, file).read_bytes(), self._shown(name))
        while self._opened and sum(map(len, self._opened.values())) + len(data) > MAX_OPENED_BYTES:
            self._opened.popitem(last=False)
        self._opened[name] = data
        return data

    def _path(self, name: str, file: Segment | StoredFile) -> Path:
        """Where the file, or a copy of it, is on this machine."""
        if name in self._paths:
            self._paths.move_to_end(name)
            return self._paths[name]
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="migrator-")
        folder = Path(self._folder.name)
        try:
            path = self._place.fetch(name, folder)
            found, size_bytes = _digest(path)
        except FileNotFoundError:
            raise damaged(self._shown(name)) from None
        if why := misfit(file, found, size_bytes):
            if path.parent == folder:
                path.unlink()
            raise damaged(self._shown(name), why)
        self._paths[name] = path
        while len(self._paths) > self._max_copies:
            _, oldest = self._paths.popitem(last=False)
            if oldest.parent == folder:
                oldest.unlink()
        return path

    def attachment(self, id: str, stored: StoredAttachment, snapshot: str) -> Iterator[bytes]:
        """Give the decoded bytes in pieces; that they are the right ones is known at the end.

        Args:
            id: the document's, for people.
            stored: what the leaf's line says.
            snapshot: where its pieces are.

        Raises:
            DamagedBackup: they are not what was stored.
        """
        what = f"the attachment {shown(stored.name)} of {shown(id)}"
        where = self.snapshot_shown(snapshot)
        digest = hashlib.sha256()
        length = 0
        lines = self._lines_from(snapshot, stored) if stored.length else iter(())
        while length < stored.length:
            try:
                name, at, data = piece(next(lines, b""))
            except ValueError:
                raise damaged(where, f"{what} is cut off") from None
            if (name, at) != (stored.name, length) or not data:
                raise damaged(where, f"{what} is not where it should be")
            digest.update(data)
            length += len(data)
            yield data
        if (digest.hexdigest(), length) != (stored.sha256, stored.length):
            raise damaged(where, f"{what} has other bytes than it had")

    def _lines_from(self, snapshot: str, stored: StoredAttachment) -> Iterator[bytes]:
        """The lines from an attachment's first piece on."""
        if snapshot not in self._snapshots:
            raise damaged(
                self.snapshot_shown(snapshot), "what is looked for in it is in no snapshot of this chain"
            )
        number, offset, first = stored.at
        for segment in self._snapshots[snapshot].segments[number - 1 :]:
            length = self.length(snapshot, segment)
            while offset < length:
                lines, offset = self.frame(snapshot, segment, offset)
                yield from lines[first:]
                first = 0
            offset = 0


def misfit(file: Segment | StoredFile, sha256: str, size_bytes: int) -> str:
    """Why bytes of this digest and length are not those of a file; "" where they are."""
    if size_bytes != file.size_bytes:
        return f"it has {size_bytes:,} bytes in place of {file.size_bytes:,}"
    return "" if sha256 == file.sha256 else "its digest does not fit"


def _digest(path: Path) -> tuple[str, int]:
    digest = hashlib.sha256()
    size_bytes = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size_bytes += len(block)
    return digest.hexdigest(), size_bytes
