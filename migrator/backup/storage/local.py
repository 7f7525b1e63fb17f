"""A folder of this machine as a place for backups; only its owner may read what is in it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from migrator.backup.storage.base import Place
from migrator.errors import ConfigError, MigratorError
from migrator.files.durable import make_folder, replace_file, sync_folder
from migrator.files.failures import write_error, writing
from migrator.files.lock import held

LOCK = ".lock"
_ANOTHER = "name another folder for the backups"


class LocalPlace(Place):
    """A folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists() and not path.is_dir():
            raise ConfigError(f"{path} is a file, where backups want a folder.", hint="Name a folder.")

    def describe(self) -> str:
        """The path, whole, as the same folder has several relative ones."""
        return str(self._path.absolute())

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

    def _find(self, folder: str) -> Iterator[str]:
        for root, folders, files in os.walk(self._path / folder, onerror=_raise_but_missing):
            folders[:] = [name for name in folders if not name.startswith(".")]
            base = Path(root).relative_to(self._path)
            yield from ((base / name).as_posix() for name in files)

    def _folders(self, folder: str) -> list[str]:
        with os.scandir(self._path / folder) as entries:
            return [entry.name for entry in entries if entry.is_dir()]

    def _read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def _fetch(self, name: str, folder: Path) -> Path:  # noqa: ARG002 the file itself serves
        path = self._path / name
        path.stat()
        return path

    def _write(self, name: str, data: bytes | memoryview) -> None:
        path = self._path / name
        make_folder(path.parent)
        replace_file(path, data)

    def _exists(self, name: str) -> bool:
        return (self._path / name).is_file()

    def _remove(self, name: str) -> None:
        path = self._path / name
        path.unlink()
        sync_folder(path.parent)

    def _remove_folder(self, folder: str) -> None:
        path = self._path / folder
        shutil.rmtree(path)
        sync_folder(path.parent)

    def _failed(self, error: OSError, done: str, name: str) -> MigratorError:
        path = self._path / (name.rpartition("/")[0] if done == "listed" else name)
        return write_error(error, path, done=done, instead=_ANOTHER)


def _raise_but_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
