"""Where backups are kept: a folder, or any storage that fsspec knows."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from migrator.couch.places import checked_place
from migrator.errors import ConfigError, MigratorError
from migrator.files.streams import is_stream, shown

FORMS = "a folder, or a URL such as s3://bucket/path, gcs://…, abfs://…, sftp://host/path"

# Windows paths have one letter before the colon; schemes have more.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


class Place:
    """Files by name, in folders that come and go with them. A name is a path with `/`, relative to the place.

    Names with a part that begins with a dot are the place's own: its lock, and files in the making.
    """

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
        """Remove a file, durably; one that is gone already is no error."""
        with contextlib.suppress(FileNotFoundError), self._reported("removed", name):
            self._remove(name)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it, what was left half written too."""
        with contextlib.suppress(FileNotFoundError), self._reported("removed", folder):
            self._remove_folder(folder)

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


def open_place(url: str) -> Place:
    """The place that a path or URL names.

    Raises:
        ConfigError: it cannot be, or its kind needs a package that is not installed.
    """
    if not url:
        raise ConfigError("There is no place for backups.", hint=f"Name {FORMS}.")
    checked_place(url, "PLACE", known=(_scheme_of(url),))
    if is_stream(url):
        raise ConfigError(
            f"Backups are many files, so {shown(url)} cannot hold or bring them.",
            hint=f"Name {FORMS}. One stream of documents goes by: migrator convert --to - --format ndjson",
        )
    scheme = _scheme_of(url)
    if scheme in {"http", "https"}:
        raise ConfigError(
            f"{scheme}:// is no place for backups: web servers take no files.", hint=f"Name {FORMS}."
        )
    if scheme and scheme != "file":
        from migrator.backup.storage.remote import open_fsspec_place  # each kind on its own

        return open_fsspec_place(scheme, url)
    from migrator.backup.storage.local import LocalPlace

    return LocalPlace(Path(unquote(urlsplit(url).path) if scheme else url))


def _scheme_of(url: str) -> str:
    match = _SCHEME.match(url)
    return match[1].lower() if match and url.startswith("://", match.end(1)) else ""
