"""Where backups are kept: a folder, or any storage that fsspec knows."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from migrator.couch.places import checked_place
from migrator.errors import ConfigError, MigratorError
from migrator.files.durable import make_folder, replace_file, sync_folder
from migrator.files.failures import write_error, writing
from migrator.files.lock import held
from migrator.files.streams import is_stream

FORMS = "a folder, a URL such as s3://bucket/path, gcs://…, abfs://…, sftp://host/path, or - for a pipe"

LOCK = ".lock"
_ANOTHER = "name another folder for the backups"
# Windows paths have one letter before the colon; schemes have more.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


class Place:
    """Files by name, in folders that come and go with them. A name is a path with `/`, relative to the place.

    Names with a part that begins with a dot are the place's own: its lock, and files in the making.
    """

    streamed = False
    """True where all goes through a pipe at once: a part of it is worth nothing, and nothing is there before."""

    _failures: ClassVar[type[Exception]] = OSError
    """What the system raises."""

    # What each kind of storage does.
    _find: Callable[[str], Iterable[str]]
    _folders: Callable[[str], Iterable[str]]
    _read: Callable[[str], bytes]
    _fetch: Callable[[str, Path], Path]
    _write: Callable[[str, bytes | memoryview], None]
    _exists: Callable[[str], bool]
    _remove: Callable[[str], None]
    _remove_folder: Callable[[str], None]
    _failed: Callable[[Any, str, str], MigratorError]

    def describe(self) -> str:
        """A stable name without credentials."""
        raise NotImplementedError

    def names(self, prefix: str = "") -> list[str]:
        """All names that begin with a prefix, sorted; what is being written is not among them."""
        found: list[str] = []
        with contextlib.suppress(FileNotFoundError), self._reported("listed", prefix):
            found += self._find(prefix.rpartition("/")[0])
        return sorted(name for name in found if name.startswith(prefix) and "/." not in f"/{name}")

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders right below a folder, sorted, without the path to them."""
        found: list[str] = []
        with contextlib.suppress(FileNotFoundError), self._reported("listed", f"{folder}/"):
            found += self._folders(folder)
        return sorted(name for name in found if not name.startswith("."))

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is none of that name.
            EndpointError: it cannot be read.
        """
        with self._reported("read", name):
            return self._read(name)

    def fetch(self, name: str, folder: Path) -> Path:
        """A file of this machine with the bytes of that name: the very file, or a copy made in `folder`.

        Raises:
            FileNotFoundError: there is none of that name.
            EndpointError: it cannot be read.
        """
        with self._reported("read", name):
            return self._fetch(name, folder)

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Write a file durably; it appears whole or not at all, and replaces one of the same name.

        Raises:
            EndpointError: it cannot be written.
        """
        with self._reported("written", name):
            self._write(name, data)

    def exists(self, name: str) -> bool:
        """True when there is a file of that name."""
        with self._reported("read", name):
            return self._exists(name)

    def remove(self, name: str) -> None:
        """Remove a file, durably; one that is gone already is not an error."""
        with contextlib.suppress(FileNotFoundError), self._reported("removed", name):
            self._remove(name)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it, what was left half written too."""
        with contextlib.suppress(FileNotFoundError), self._reported("removed", folder):
            self._remove_folder(folder)

    def finish(self) -> None:
        """Say that all was written that was to be, where a place needs to be told."""

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the place against other runs that write to it.

        Raises:
            LockedError: another run holds it.
        """
        raise NotImplementedError

    @contextlib.contextmanager
    def _reported(self, done: str, name: str) -> Iterator[None]:
        """Say in one sentence what could not be done; that a file is not there is the caller's to judge."""
        try:
            yield
        except MigratorError:
            raise
        except self._failures as error:
            if isinstance(error, FileNotFoundError) and done != "written":
                raise
            raise self._failed(error, done, name) from error


class LocalPlace(Place):
    """A folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists() and not path.is_dir():
            raise ConfigError(
                f"{path} is a file, where backups want a folder.",
                hint=f"Name a folder. What migrator backup --to - wrote is read by: --from - < {path}",
            )

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


def open_place(url: str, *, output: bool = False, stopping: threading.Event | None = None) -> Place:
    """The place that a path or URL names.

    Args:
        url: the path or URL, or a stream.
        output: a stream is written to; else it is read, to its end.
        stopping: set it to stop waiting for a stream.

    Raises:
        ConfigError: it cannot be, or its kind needs a package that is not installed.
        DamagedBackup: a stream was cut off or changed.
    """
    if not url:
        raise ConfigError("There is no place for backups.", hint=f"Name {FORMS}.")
    checked_place(url, "PLACE", known=(_scheme_of(url),))
    if is_stream(url):
        from migrator.backup.storage.stream import StreamPlace, received  # each kind on its own

        return StreamPlace(url) if output else received(url, stopping)
    scheme = _scheme_of(url)
    if scheme in {"http", "https"}:
        raise ConfigError(
            f"{scheme}:// is not a place for backups: web servers take no files.", hint=f"Name {FORMS}."
        )
    if scheme and scheme != "file":
        from migrator.backup.storage.remote import open_fsspec_place  # each kind on its own

        return open_fsspec_place(scheme, url)
    return LocalPlace(Path(unquote(urlsplit(url).path) if scheme else url))


def _scheme_of(url: str) -> str:
    match = _SCHEME.match(url)
    return match[1].lower() if match and url.startswith("://", match.end(1)) else ""
