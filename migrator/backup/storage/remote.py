"""Object stores and distant file systems as places for backups, by the `fsspec` package and its drivers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from migrator.backup.storage.base import Place
from migrator.errors import EndpointError, LockedError, MigratorError
from migrator.extractors.remote_store import open_system, told
from migrator.files.failures import storage_failure, write_error
from migrator.files.urls import shown_url

# A put of these is there whole or not at all; in a file system, only a rename is.
_OBJECT_STORES = frozenset({"s3", "s3a", "gcs", "gs", "abfs", "abfss", "az", "adl", "oss", "oci", "memory"})

LOCKS = ".locks"
RENEW_S = 60.0
STALE_S = 600.0
_TRIES = 3
# Of two processes with one number, in containers of one name, the other's lock is of an earlier life.
_LIFE = secrets.token_hex(8)


def open_fsspec_place(scheme: str, url: str) -> FsspecPlace:
    """The place that a URL names.

    Raises:
        ConfigError: a package is missing, or the URL cannot be.
    """
    system, root = open_system(url, needed_by=f"A backup in {scheme}://", needed="backup")
    return FsspecPlace(system, root, shown_url(url), url=url, renames=scheme not in _OBJECT_STORES)


class FsspecPlace(Place):
    """A folder of an fsspec file system.

    Args:
        system: the file system.
        root: the folder in it.
        shown: its URL without credentials.
        renames: write under another name first, as a file that is being written can be seen.
        url: as it was typed.
    """

    # Drivers raise what their own libraries raise.
    _failures = Exception

    def __init__(self, system: Any, root: str, shown: str, *, renames: bool, url: str = "") -> None:
        self._url = url
        self._system = system
        self._root = root.rstrip("/")
        self._shown = shown
        self._renames = renames

    def describe(self) -> str:
        """The URL without credentials."""
        return self._shown

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the place by an object in it that says who is at work, renewed while the work goes on.

        A run writes its object and then looks for others. Of two that begin at once each sees the other or one
        comes first; so never do two hold the place. A killed run's object counts no longer when it was not renewed
        for a while, or at once where this machine can see that its process is gone.

        Raises:
            LockedError: another run holds it.
        """
        name, done = f"{LOCKS}/{secrets.token_hex(12)}.json", threading.Event()
        self._claim(name)
        renewing = threading.Thread(target=self._renew, args=(name, done), name="migrator-lock", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            done.set()
            renewing.join()
            self.remove(name)

    def _claim(self, name: str) -> None:
        other: dict[str, Any] = {}
        for attempt in range(_TRIES):
            self._sign(name)
            found = self._other(name)
            if found is None:
                return
            other = found
            self.remove(name)
            # The other may have begun in the same moment, and step back as this one does.
            if attempt < _TRIES - 1:
                time.sleep(secrets.randbelow(400) / 1000)
        raise LockedError(
            f"Another run (process {other.get('pid')} on {other.get('host')}) holds the backups in {self._shown}.",
            hint=f"Wait for it to end. If it was killed there, its lock ends after {STALE_S / 60:.0f} minutes.",
        )

    def _other(self, own: str) -> dict[str, Any] | None:
        """Another run that is at work; the locks of those that are gone are removed."""
        found: list[str] = []
        with contextlib.suppress(FileNotFoundError), self._reported("listed", LOCKS):
            found += self._find(LOCKS)
        for name in sorted(name for name in found if name.endswith(".json") and name != own):
            try:
                holder = json.loads(self.read(name))
            except FileNotFoundError:
                continue
            except ValueError:
                holder = {}
            if isinstance(holder, dict) and not _is_gone(holder):
                return holder
            self.remove(name)
        return None

    def _sign(self, name: str) -> None:
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "life": _LIFE, "renewed": time.time()}
        self.write(name, json.dumps(holder).encode())

    def _renew(self, name: str, done: threading.Event) -> None:
        while not done.wait(RENEW_S):
            # A renewal that fails is tried again in time; the work itself meets the same fault and says so.
            with contextlib.suppress(MigratorError):
                self._sign(name)

    def _find(self, folder: str) -> Iterator[str]:
        self._system.invalidate_cache()
        for path in self._system.find(self._at(folder)):
            yield path.removeprefix(self._root).lstrip("/")

    def _folders(self, folder: str) -> list[str]:
        self._system.invalidate_cache()
        found = self._system.ls(self._at(folder), detail=True)
        return [entry["name"].rstrip("/").rpartition("/")[2] for entry in found if entry["type"] == "directory"]

    def _read(self, name: str) -> bytes:
        return bytes(self._system.cat_file(self._at(name)))

    def _fetch(self, name: str, folder: Path) -> Path:
        copy = folder / hashlib.sha256(name.encode()).hexdigest()[:32]
        self._system.get_file(self._at(name), str(copy))
        return copy

    def _write(self, name: str, data: bytes | memoryview) -> None:
        path = self._at(name)
        if not self._renames:
            self._system.pipe_file(path, bytes(data))
            return
        folder, _, last = path.rpartition("/")
        self._system.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{last}.tmp"
        self._system.pipe_file(temporary, bytes(data))
        self._system.mv(temporary, path)

    def _exists(self, name: str) -> bool:
        self._system.invalidate_cache()
        return bool(self._system.isfile(self._at(name)))

    def _remove(self, name: str) -> None:
        self._system.rm_file(self._at(name))

    def _remove_folder(self, folder: str) -> None:
        self._system.invalidate_cache()
        self._system.rm(self._at(folder), recursive=True)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _failed(self, error: Exception, done: str, name: str) -> MigratorError:
        what = f"{self._shown}/{name}".rstrip("/")
        if isinstance(error, OSError) and storage_failure(error):
            return write_error(error, what, done=done, instead="name another place")
        return EndpointError(
            f"{what} cannot be {done}: {type(error).__name__}: {told(error, self._url)}.",
            hint="Check address, credentials and network; what is complete stays.",
        )


def _is_gone(holder: dict[str, Any]) -> bool:
    renewed, pid = holder.get("renewed"), holder.get("pid")
    if not isinstance(renewed, float) or not isinstance(pid, int) or time.time() - renewed > STALE_S:
        return True
    if holder.get("host") != socket.gethostname():
        return False
    if pid == os.getpid():
        return holder.get("life") != _LIFE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
