"""Carries the files of one snapshot to another place, as they are or encrypted again."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace

from migrator.backup.catalog import Catalog, snapshot_folder
from migrator.backup.format.cipher import Cipher, fitting
from migrator.backup.format.manifest import (
    COPY,
    FILE,
    PROGRESS,
    Manifest,
    Segment,
    StoredFile,
    damaged,
    dump_manifest,
    with_sum,
    without_sum,
)
from migrator.backup.format.stored_files import misfit
from migrator.backup.storage.base import Place
from migrator.errors import DamagedBackup, Interrupted
from migrator.files.own_json import from_json
from migrator.naming import counted, printable

TELL_EVERY_S = 10.0


@dataclass(eq=False)
class Transfer:
    """Files from one place to another; each is compared with its digest when it was read and when it was written.

    Args:
        source: where from.
        target: where to.
        tell: receives a line for people now and then.
        stopping: set it to stop between two files.

    `counts` are of files and bytes that were copied, and of those that were there already.
    """

    source: Catalog
    target: Place
    tell: Callable[[str], None]
    stopping: threading.Event
    counts: Counter[str] = field(default_factory=Counter)

    def as_it_is(self, manifest: Manifest) -> bytes:
        """Copy all files of a snapshot; its manifest's bytes."""
        folder, names = self._begin(manifest)
        for file in manifest.files:
            name = f"{folder}/{file.name}"
            if not self._has(name, file, names):
                self._write(name, file, self._read(name, file))
        self._clear(names, manifest)
        return text_of(self.source, manifest)

    def sealed(
        self, manifest: Manifest, parent: Manifest | None, cipher: Cipher, recipients: Sequence[str]
    ) -> tuple[Manifest, bytes]:
        """Copy all files of a snapshot, encrypted again; the copy's manifest and its bytes.

        What is encrypted twice is not the same twice, so what is done is noted beside it.

        Args:
            manifest: the snapshot, read with a key where it is encrypted.
            parent: the copy of the one that it adds to.
            cipher: encrypts.
            recipients: to whom.
        """
        folder, names = self._begin(manifest)
        origin = manifest.origin or manifest.digest
        keys = hashlib.sha256("\n".join(sorted(key.strip() for key in recipients)).encode()).hexdigest()
        noted = self._noted(f"{folder}/{PROGRESS}", origin, keys)
        opener = fitting(self.source.cipher, manifest.encryption, self.source.place_of(manifest))
        done: list[StoredFile] = []
        for number, file in enumerate(manifest.files):
            name = file.name.removesuffix(opener.suffix) + cipher.suffix
            known = noted[number] if number < len(noted) and noted[number].name == name else None
            if known and self._has(f"{folder}/{name}", known, names):
                done.append(known)
                continue
            where = f"{folder}/{file.name}"
            data = cipher.seal(opener.unseal(self._read(where, file), f"{self.source.place.describe()}/{where}"))
            done.append(StoredFile(name, hashlib.sha256(data).hexdigest(), len(data)))
            self._write(f"{folder}/{name}", done[-1], data)
            if len(done) % 2 == 0:
                value = {"copy_of": origin, "keys": keys, "files": [asdict(each) for each in done]}
                self.target.write(f"{folder}/{PROGRESS}", with_sum(value))
        copy = replace(
            manifest.with_files(done),
            encryption=cipher.name,
            parent_digest=parent.digest if parent else "",
            origin=origin,
        )
        self._clear(names, copy)
        text = dump_manifest(copy, cipher)
        return replace(copy, digest=hashlib.sha256(text).hexdigest()), text

    def _begin(self, manifest: Manifest) -> tuple[str, set[str]]:
        """The snapshot's folder, and what of it is there."""
        self.tell(f"copying {printable(manifest.database)} {manifest.snapshot}")
        self._told = time.monotonic()
        folder = snapshot_folder(manifest.database, manifest.snapshot)
        return folder, set(self.target.names(f"{folder}/"))

    def _clear(self, names: Collection[str], manifest: Manifest) -> None:
        """Remove what an attempt left that came to nothing."""
        folder = snapshot_folder(manifest.database, manifest.snapshot)
        for name in set(names) - {f"{folder}/{each}" for each in (FILE, *(file.name for file in manifest.files))}:
            self.target.remove(name)

    def _noted(self, name: str, origin: str, keys: str) -> list[StoredFile]:
        """What was encrypted by a run that was stopped, to the same keys."""
        try:
            value = without_sum(self.target.read(name), name)
            files = [from_json(StoredFile, each) for each in value["files"]]
        except (FileNotFoundError, DamagedBackup, KeyError, TypeError, ValueError):
            return []
        return files if (value.get("copy_of"), value.get("keys")) == (origin, keys) else []

    def _has(self, name: str, file: Segment | StoredFile, names: Collection[str]) -> bool:
        """True where the target has a file, every byte of it."""
        if name not in names or self._misfit(self.target, name, file):
            return False
        self.counts.update(files_there=1, size_bytes_there=file.size_bytes)
        return True

    def _read(self, name: str, file: Segment | StoredFile) -> bytes:
        if self.stopping.is_set():
            raise Interrupted(f"Stopped after {counted(self.counts['files'], 'file')}.")
        if time.monotonic() - self._told > TELL_EVERY_S:
            self._told = time.monotonic()
            self.tell(f"{counted(self.counts['files'], 'file')} copied, now {name}")
        where = f"{self.source.place.describe()}/{name}"
        try:
            data = self.source.place.read(name)
        except FileNotFoundError:
            raise damaged(where) from None
        if why := misfit(file, hashlib.sha256(data).hexdigest(), len(data)):
            raise damaged(where, why)
        return data

    def _write(self, name: str, file: Segment | StoredFile, data: bytes) -> None:
        self.target.write(name, data)
        if not self.target.streamed and (why := self._misfit(self.target, name, file)):
            raise damaged(f"{self.target.describe()}/{name}", f"right after it was written {why}")
        self.counts.update(files=1, size_bytes=file.size_bytes)

    def _misfit(self, place: Place, name: str, file: Segment | StoredFile) -> str:
        data = place.read(name)
        return misfit(file, hashlib.sha256(data).hexdigest(), len(data))


def text_of(catalog: Catalog, manifest: Manifest) -> bytes:
    """The very bytes of a manifest, or of its copy.

    Raises:
        DamagedBackup: both are gone, or others than were read.
    """
    folder = snapshot_folder(manifest.database, manifest.snapshot)
    for name in (FILE, COPY):
        with contextlib.suppress(FileNotFoundError):
            text = catalog.place.read(f"{folder}/{name}")
            if hashlib.sha256(text).hexdigest() == manifest.digest:
                return text
    raise damaged(f"{catalog.place.describe()}/{folder}/{FILE}")
