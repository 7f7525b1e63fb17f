"""Where backups are kept: a folder, or any storage that fsspec knows."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from migrator.couch.places import checked_place
from migrator.errors import ConfigError
from migrator.files.streams import is_stream, shown

FORMS = "a folder, or a URL such as s3://bucket/path, gcs://…, abfs://…, sftp://host/path"

# Windows paths have one letter before the colon; schemes have more.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


class Place(Protocol):
    """Files by name, in folders that come and go with them. A name is a path with `/`, relative to the place."""

    def describe(self) -> str:
        """A stable name without credentials."""
        ...

    def names(self, prefix: str = "") -> list[str]:
        """All names that begin with a prefix, sorted; what is being written is not among them."""
        ...

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders right below a folder, sorted, without the path to them."""
        ...

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is none of that name.
            EndpointError: it cannot be read.
        """
        ...

    def fetch(self, name: str, folder: Path) -> Path:
        """A file of this machine with the bytes of that name: the very file, or a copy made in `folder`.

        Raises:
            FileNotFoundError: there is none of that name.
            EndpointError: it cannot be read.
        """
        ...

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Write a file durably; it appears whole or not at all, and replaces one of the same name.

        Raises:
            EndpointError: it cannot be written.
        """
        ...

    def exists(self, name: str) -> bool:
        """True when there is a file of that name."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, durably; one that is gone already is no error."""
        ...

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it, what was left half written too."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Hold the place against other runs that write to it.

        Raises:
            LockedError: another run holds it.
        """
        ...


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

    return LocalPlace(_path_of(url) if scheme else Path(url))


def _scheme_of(url: str) -> str:
    match = _SCHEME.match(url)
    return match[1].lower() if match and url.startswith("://", match.end(1)) else ""


def _path_of(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))
