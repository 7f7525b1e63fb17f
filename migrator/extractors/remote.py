"""Files that lie elsewhere, with the face of a path.

Whoever reads files needs to know nothing of it: `file_path` gives a path of this machine, or one of these.
"""

from __future__ import annotations

import io
import os
import pkgutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

import zstandard

from migrator.config import JobConfig, kinds
from migrator.extractors.remote_file import FileMissing, Look, Origin, RemoteFile, retrier
from migrator.files.identity import file_identity
from migrator.files.urls import DRIVERS, FileUrl, parsed_url
from migrator.model import Extractor
from migrator.plugins import extra

_BUFFER_BYTES = 1 << 16
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class Stat(NamedTuple):
    """What is asked of a path's own `stat`."""

    st_size: int


class RemotePath:
    """A file or folder elsewhere.

    Args:
        url: its URL.
        listed: the file, where its folder has listed it; found by the URL where None.
        config: how long to wait, and files for TLS.
        environ: the environment.
    """

    def __init__(
        self, url: FileUrl, config: JobConfig, environ: Mapping[str, str], listed: Origin | None = None
    ) -> None:
        self.url = url
        self._config = config
        self._environ = environ
        self._listed = listed

    def __str__(self) -> str:
        return self.url.shown

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.url.name

    @property
    def suffix(self) -> str:
        """What the name ends with, with its dot."""
        return Path(self.name).suffix

    @cached_property
    def origin(self) -> Origin:
        """Where it comes from."""
        if self._listed:
            return self._listed
        if self.url.web:
            from migrator.extractors.remote_web import WebOrigin  # each kind on its own

            return WebOrigin(self.url, self._config, self._environ)
        from migrator.extractors.remote_store import open_store  # each kind on its own

        return open_store(self.url)

    @cached_property
    def look(self) -> Look:
        """What is known of the file: every reading in this process is of this very content."""
        return retrier().call(f"looking at {self}", lambda _: self.origin.look())

    @cached_property
    def packings(self) -> list[str]:
        """How the text is packed, the outermost first: by its bytes, whatever its name and who sends it say.

        Servers pack what is not packed (`Content-Encoding`), and unpack what is.
        """
        found: list[str] = []
        head = self.look.head
        while len(found) < 2 and (packing := next((_MAGIC[each] for each in _MAGIC if head.startswith(each)), "")):
            found.append(packing)
            head = _unpacked(head, packing)
        return found

    def exists(self) -> bool:
        """True where there is a file or a folder."""
        if self._listed or self.is_dir():
            return True
        try:
            return bool(self.look)
        except FileMissing:
            return False

    def is_dir(self) -> bool:
        """True of a folder."""
        return not self._listed and self._children is not None

    def is_file(self) -> bool:
        """True of a file."""
        return not self.is_dir() and self.exists()

    def iterdir(self) -> Iterator[RemotePath]:
        """What is in a folder."""
        place = self.url.place.rstrip("/")
        for name, origin in (self._children or {}).items():
            url = replace(self.url, place=f"{place}/{name}")
            yield RemotePath(url, self._config, self._environ, origin)

    @cached_property
    def _children(self) -> Mapping[str, Origin] | None:
        return retrier().call(f"listing {self}", lambda _: self.origin.children())

    def stat(self) -> Stat:
        """Its size; 0 where that is not known."""
        return Stat(self.look.size_bytes or 0)

    def open(self, mode: str = "rb") -> BinaryIO:  # noqa: ARG002 (as of a path)
        """Open it for reading."""
        return io.BufferedReader(RemoteFile(self.origin, self.look, str(self)), _BUFFER_BYTES)

    def close(self) -> None:
        """Let go of connections that wait for the next reading."""
        if "origin" in self.__dict__:
            self.origin.close()

    def at(self, url: FileUrl) -> RemotePath:
        """The same with another URL."""
        return RemotePath(url, self._config, self._environ)


FilePath: TypeAlias = Path | RemotePath
AnyPath: TypeAlias = str | os.PathLike[str] | RemotePath
"""What people and programs may give for one."""


def located(text: str, config: JobConfig, environ: Mapping[str, str]) -> str | RemotePath:
    """A source's text, as a `RemotePath` where it is the URL of a file."""
    url = parsed_url(text)
    return RemotePath(url, config, environ) if url and (url.web or url.scheme in DRIVERS) else text


def file_path(source: AnyPath) -> FilePath:
    """The path that a source names."""
    return source if isinstance(source, RemotePath) else Path(source)


def open_source(source: str, config: JobConfig, environ: Mapping[str, str]) -> Extractor:
    """The source that a URL names without a kind before it: of which kind, its name says, as here."""
    url = parsed_url(source)
    row = kinds.by_name("" if url is None or url.place.endswith("/") else url.name)
    with extra(row.extra, what=row.title):
        factory = pkgutil.resolve_name(row.factory)
    opened: Extractor = factory(source, config, environ)
    return opened


def identity_of(path: FilePath) -> str:
    """What changes when a file's content does; of one elsewhere as far as its server says."""
    return path.look.identity if isinstance(path, RemotePath) else file_identity(path)


def _unpacked(head: bytes, packing: str) -> bytes:
    try:
        if packing == "gzip":
            return zlib.decompressobj(31).decompress(head, 64)
        return zstandard.ZstdDecompressor().decompressobj().decompress(head)
    except (zlib.error, zstandard.ZstdError):
        return b""
