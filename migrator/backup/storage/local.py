"""A folder of this machine as a place for backups; only its owner may read what is in it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from migrator.errors import ConfigError
from migrator.files.durable import make_folder, replace_file, sync_folder
from migrator.files.failures import write_error, writing
from migrator.files.lock import held

LOCK = ".lock"
_ANOTHER = "name another folder for the backups"


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
        with writing(path, instead=_ANOTHER):
            make_folder(path.parent)
            replace_file(path, data)

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
        with writing(self._path, instead=_ANOTHER):
            make_folder(self._path)
        with held(
            self._path / LOCK,
            what=f"the backups in {self._path}",
            instead="use another folder",
            elsewhere="for the backups",
        ):
            yield

    @contextlib.contextmanager
    def _reported(self, done: str, path: Path) -> Iterator[None]:
        """Say in one sentence what could not be done; that a file is not there is the caller's to judge."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise write_error(error, path, done=done, instead=_ANOTHER) from error


def _raise_but_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
