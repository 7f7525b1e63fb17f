"""What the writers of all formats share: a file that appears whole, what a format can hold, and a leaf's text."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Self, cast

import zstandard

from migrator.codec.reading import without_members
from migrator.convert.formats.json_text import document_pieces
from migrator.errors import ConfigError
from migrator.files.durable import create_file, flush_to_disk, link_target, publish
from migrator.files.failures import write_error, writing
from migrator.model.revisions import Leaf

_BLOCK_BYTES = 1 << 20
_INSTEAD = "name another file with --to"


@dataclass(frozen=True, slots=True)
class Holds:
    """What a format has a place for.

    Args:
        conflicts: leaves beside the winner.
        tombstones: deleted documents.
        ancestry: `_revisions`, the revisions before a leaf.
    """

    conflicts: bool = True
    tombstones: bool = True
    ancestry: bool = True


class WholeFile:
    """Written beside its place, and put there by `commit`; left without that, it is as if nothing had been.

    Args:
        path: the final name; `.gz` and `.zst` are packed.
        overwrite: replace a file that is there.

    Raises:
        ConfigError: it is there, or it cannot be made.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder.", hint="Name a file in it with --to FILE.")
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} exists already.", hint="Replace it with --overwrite, or name another file.")
        self.path = link_target(path)
        self._part = self.path.with_name(f"{self.path.name}.part")
        self._head_bytes = 0
        self.written_bytes = 0
        """What was written, before it is packed."""
        with writing(self.path, instead=_INSTEAD):
            self._part.unlink(missing_ok=True)
            self._file = self._create(self._part)
        self._text = self._packed(self._file)

    def write(self, text: bytes) -> None:
        """Append.

        Raises:
            StorageError: the disk is full, read-only, or does not work.
        """
        try:
            self._text.write(text)
            self.written_bytes += len(text)
        except OSError as error:
            raise write_error(error, self.path, instead=_INSTEAD) from error

    def write_head(self, text: bytes) -> None:
        """Write the beginning, before anything else, such that `replace_head` can exchange it."""
        self.write(text)
        self._end_packing()
        self._head_bytes = self._file.tell()
        self._text = self._packed(self._file)

    def replace_head(self, text: bytes) -> None:
        """Write another beginning in place of the first one, which copies the file."""
        with writing(self.path, instead=_INSTEAD):
            self._end_packing()
            self._part.unlink()
            old, self._file = self._file, self._create(self._part)
            with old:
                old.seek(self._head_bytes)
                self._text = self._packed(self._file)
                self.write(text)
                self._end_packing()
                shutil.copyfileobj(old, self._file, _BLOCK_BYTES)

    def commit(self) -> None:
        """Put it on disk and give it its name.

        Raises:
            StorageError: the disk is full, read-only, or does not work.
        """
        with writing(self.path, instead=_INSTEAD):
            self._end_packing()
            flush_to_disk(self._file)
            self._file.close()
            publish(self._part, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # What a full disk did not take is still in the buffer, and would fail once more.
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)

    @staticmethod
    def _create(path: Path) -> BinaryIO:
        return os.fdopen(create_file(path, readable=True), "w+b", buffering=_BLOCK_BYTES)

    def _packed(self, file: BinaryIO) -> Any:
        suffix = self.path.suffix.lower()
        if suffix == ".gz":
            return gzip.GzipFile("", "wb", 6, cast("Any", file), 0)
        if suffix == ".zst":
            packer = zstandard.ZstdCompressor(level=3, write_checksum=True)
            return packer.stream_writer(file, closefd=False)
        return file

    def _end_packing(self) -> None:
        if self._text is not self._file:
            self._text.close()
        self._text = self._file
        self._file.flush()


@dataclass
class FileWriter:
    """Writes leaves into a file, in the order in which they come.

    Args:
        output: the file.
        database: the database's name, where a format has a place for it.
    """

    holds: ClassVar[Holds] = Holds()
    type_key: ClassVar[str] = "content_type"
    """How an inline attachment's content type is called."""

    output: WholeFile
    database: str = ""

    def begin(self) -> None:
        """Write what stands before all."""

    def write(self, leaf: Leaf) -> None:
        """Write one leaf."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what stands after all."""

    def _body(self, leaf: Leaf) -> bytes:
        """The document's text without its attachments, as the format has it."""
        return leaf.body if self.holds.ancestry else without_members(leaf.body, {"_revisions"})

    def _document(self, leaf: Leaf) -> None:
        """Write the document with its attachments inline."""
        for piece in document_pieces(self._body(leaf), leaf.attachments, type_key=self.type_key):
            self.output.write(piece)
