"""A folder of this machine as a place for backups; only its owner may read what is in it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from migrator.checkpoint import sync_folder
from migrator.errors import ConfigError, EndpointError
from migrator.locking import held

LOCK = ".lock"
_TEMPORARY = ".tmp"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LocalPlace:
    """A folder. What begins with a dot is its own: the lock, and files in the making."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists() and not path.is_dir():
            raise ConfigError(f"{path} is a file, where backups want a folder.", hint="Name a folder.")

    def describe(self) -> str:
        """The path, whole, as the same folder has several relative ones."""
        return str(self._path.absolute())

    def names(self, prefix: str = "") -> list[str]:
        """All names that begin with a prefix, sorted."""
        folder = self._path / prefix.rpartition("/")[0]
        found = []
        with self._reported("listed", folder):
            for root, folders, files in os.walk(folder, onerror=_raise_but_missing):
                folders[:] = [name for name in folders if not name.startswith(".")]
                base = Path(root).relative_to(self._path).as_posix()
                stem = "" if base == "." else f"{base}/"
                found += [stem + name for name in files if not name.startswith(".")]
        return sorted(name for name in found if name.startswith(prefix))

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders right below a folder, sorted."""
        path = self._path / folder
        try:
            with self._reported("listed", path), os.scandir(path) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        path = self._path / name
        with self._reported("read", path):
            return path.read_bytes()

    def fetch(self, name: str, folder: Path) -> Path:  # noqa: ARG002 the file itself serves
        """The file itself."""
        path = self._path / name
        with self._reported("read", path):
            path.stat()
        return path

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Write a file beside its name, flush it to disk and rename it."""
        path = self._path / name
        temporary = path.with_name(f".{path.name}{_TEMPORARY}")
        with self._reported("written", path):
            self._make(path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                with os.fdopen(os.open(temporary, flags, 0o600), "wb", buffering=0) as file:
                    view = memoryview(data)
                    while view:
                        view = view[file.write(view) :]
                    os.fsync(file.fileno())
                temporary.replace(path)
            except OSError:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
            sync_folder(path.parent)

    def exists(self, name: str) -> bool:
        """True when there is a file of that name."""
        path = self._path / name
        with self._reported("read", path):
            return path.is_file()

    def remove(self, name: str) -> None:
        """Remove a file, durably."""
        path = self._path / name
        with contextlib.suppress(FileNotFoundError), self._reported("removed", path):
            path.unlink()
            sync_folder(path.parent)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it."""
        path = self._path / folder
        with contextlib.suppress(FileNotFoundError), self._reported("removed", path):
            shutil.rmtree(path)
            sync_folder(path.parent)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold a lock file in the folder."""
        with self._reported("made", self._path):
            self._make(self._path)
        with held(
            self._path / LOCK,
            what=f"the backups in {self._path}",
            instead="use another folder",
            elsewhere="for the backups",
        ):
            yield

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it, so that they survive a loss of power."""
        if folder.is_dir():
            return
        self._make(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            sync_folder(folder.parent)

    @contextlib.contextmanager
    def _reported(self, done: str, path: Path) -> Iterator[None]:
        """Say in one sentence what could not be done; that a file is not there is the caller's to judge."""
        try:
            yield
        except OSError as error:
            if isinstance(error, FileNotFoundError) and done not in {"written", "made"}:
                raise
            sentence = f"{path} cannot be {done}: {error.strerror}."
            if error.errno in _FULL:
                raise EndpointError(sentence, hint="Make room, and start again.") from error
            raise ConfigError(sentence, hint="Check the path and its rights.") from error


def _raise_but_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
