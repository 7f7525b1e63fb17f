"""Files of object stores and distant file systems, by fsspec and its drivers; backups open theirs here too."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from migrator.errors import ConfigError, EndpointError, Forbidden, MigratorError, TransientError, Unauthorized
from migrator.extractors.remote_file import HEAD_BYTES, FileMissing, Look, Origin
from migrator.files.urls import DRIVERS, FileUrl, parsed_url, shown_url
from migrator.plugins import extra

# Held at once.
BLOCK_BYTES = 8 << 20
# What drivers call the thing that changes with a file's content, the best first.
_VERSIONS = (
    "ETag",
    "etag",
    "generation",
    "md5Hash",
    "LastModified",
    "last_modified",
    "updated",
    "mtime",
    "created",
)
_CREDENTIALS = (
    "NoCredentials",
    "CredentialRetrieval",
    "RefreshError",
    "DefaultCredentials",
    "ClientAuthentication",
)
# What they log of a failure, in tracebacks too, is said by the error that they raise.
_LOGGERS = ("fsspec", "s3fs", "gcsfs", "adlfs", "paramiko", "botocore", "aiobotocore", "azure", "google")
_SILENT = logging.NullHandler()
_HINT = "Check address, credentials and network; go on with --resume."


def open_system(url: str, *, needed_by: str, needed: str) -> tuple[Any, str]:
    """The file system that a URL names, and the path in it.

    Args:
        url: as it was typed.
        needed_by: what needs a package that may be missing, for people.
        needed: the extra that brings fsspec.

    Raises:
        ConfigError: a package is missing, or the URL cannot be.
        EndpointError: the driver cannot open it.
    """
    scheme = url.partition("://")[0].lower()
    driver = (DRIVERS[scheme],) if scheme in DRIVERS else ()
    for name in _LOGGERS:
        # Where a program has handlers of its own, these get it still.
        logging.getLogger(name).addHandler(_SILENT)
    try:
        with extra(needed, what=needed_by, packages=driver):
            from fsspec.core import url_to_fs  # an extra

            system, root = url_to_fs(url)
    except ValueError:
        raise ConfigError(
            f"{scheme}:// is not a known kind of storage.", hint="Known are s3, gcs, abfs, sftp and plain folders."
        ) from None
    except MigratorError:
        raise
    except Exception as error:
        # Drivers raise what their own libraries raise, when they connect.
        raise EndpointError(
            f"{shown_url(url)} cannot be opened: {type(error).__name__}: {told(error, url)}.",
            hint="Check address, credentials and network.",
        ) from error
    return system, str(root)


def told(error: Exception, url: str) -> str:
    """What an error says; a driver may name a bucket or host as it stands in the URL, with user and password."""
    parts = parsed_url(url)
    return str(error).replace(parts.userinfo, "") if parts and ":" in parts.userinfo else str(error)


def open_store(url: FileUrl) -> StoreOrigin:
    """The file or folder that a URL names."""
    system, path = open_system(url.url, needed_by=f"A source in {url.scheme}://", needed="files")
    return StoreOrigin(system, path, url.url)


class StoreOrigin:
    """A file or folder of an fsspec file system.

    Args:
        system: the file system.
        path: the path in it.
        url: as it was typed.
    """

    def __init__(self, system: Any, path: str, url: str) -> None:
        self._system = system
        self._path = path
        self._url = url
        self._shown = shown_url(url)

    def look(self) -> Look:
        """As `Origin` says."""
        with self._translated():
            found = self._looked()
            head = self._system.cat_file(self._path, start=0, end=HEAD_BYTES) if found.size_bytes else b""
        return Look(found.size_bytes, found.version, bytes(head), in_parts=True)

    def pieces(self, look: Look, offset: int, end: int | None) -> Generator[bytes]:
        """As `Origin` says: each block is handed out when the file is known to be still the same."""
        end = look.size_bytes if end is None else end
        while end is not None and offset < end:
            with self._translated():
                block = bytes(self._system.cat_file(self._path, start=offset, end=min(end, offset + BLOCK_BYTES)))
                same = look.is_same(self._looked())
            if not same:
                raise ConfigError(
                    f"{self._shown} was changed while it was read.",
                    hint="Start over with --restart: documents that are there already stay as they are.",
                )
            if not block:
                return
            yield block
            offset += len(block)

    def children(self) -> Mapping[str, Origin] | None:
        """As `Origin` says."""
        with self._translated():
            self._system.invalidate_cache()
            if self._system.isfile(self._path) or not self._system.isdir(self._path):
                return None
            found = self._system.ls(self._path, detail=True)
        files = [entry["name"] for entry in found if entry["type"] == "file"]
        names = {path.rstrip("/").rpartition("/")[2]: path for path in files if not path.endswith("/")}
        root = self._url.rstrip("/")
        return {name: StoreOrigin(self._system, path, f"{root}/{name}") for name, path in sorted(names.items())}

    def close(self) -> None:
        """The driver keeps what it has for all who use it."""

    def _looked(self) -> Look:
        self._system.invalidate_cache()
        info = self._system.info(self._path)
        if info["type"] != "file":
            raise FileNotFoundError(self._path)
        version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
        return Look(info["size"], version, b"", in_parts=True)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise FileMissing(f"There is no file {self._shown}.", hint="Look at the URL.") from None
        except PermissionError as error:
            raise Forbidden(f"{self._shown} is not given to us: {told(error, self._url)}.", hint=_HINT) from None
        except MigratorError:
            raise
        except Exception as error:
            # Drivers raise what their own libraries raise.
            name = type(error).__name__
            message = f"{self._shown} cannot be read: {name}: {told(error, self._url)}."
            if name.startswith(_CREDENTIALS):
                raise Unauthorized(message, hint=_HINT) from error
            raise TransientError(message, hint=_HINT) from error
