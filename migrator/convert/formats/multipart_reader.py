"""Reads couchdb-python's dumps: RFC 2046 multipart, of any size in bounded memory, on any release of Python.

A part is a document's JSON, or a multipart of its own: the JSON, then the attachments as raw bytes. Unlike the
tool itself, this proves `Content-MD5`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from email.errors import HeaderParseError
from email.header import decode_header
from functools import partial
from pathlib import Path
from typing import NamedTuple

from migrator.convert.formats.json_text import leaf_of
from migrator.convert.formats.reader import FileReader
from migrator.errors import TransientError
from migrator.extractors.lines import BLOCK_BYTES, TextFile
from migrator.model.revisions import Attachment, Leaf, LeafFault

MAX_HEADER_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 20
_BOUNDARY = re.compile(r'multipart/[^;]*;.*?boundary=(?:"([^"]+)"|([^\s;]+))', re.IGNORECASE | re.DOTALL)
_PACKED = frozenset({".gz", ".zst"})


class BrokenMultipart(Exception):
    """The file is not such a dump from here on."""


class Part(NamedTuple):
    """What is known of a part's content: where it stands, and its text where that was wanted."""

    headers: dict[str, str]
    offset: int
    length: int
    text: bytes | None
    intact: bool


class MultipartReader(FileReader):
    """Reads a dump; a packed one is unpacked beside first, as attachments are read again from their place."""

    grouped = True
    _unpacked: weakref.finalize[[], MultipartReader] | None = None

    def close(self) -> None:
        """Remove what was unpacked."""
        if self._unpacked is not None:
            self._unpacked()
            self._unpacked = None

    def _leaves(self) -> Iterator[Leaf | LeafFault]:
        path = self._plain_path()
        with TextFile(path) as file:
            text = _Text(file)
            try:
                yield from self._documents(text, path)
            except BrokenMultipart as broken:
                why = f"{self.path} (byte {text.offset}): {broken}; what follows cannot be separated."
                yield LeafFault("", "", "broken_file", why)

    def _documents(self, text: _Text, path: Path) -> Iterator[Leaf | LeafFault]:
        boundary = _boundary(text.headers())
        if boundary is None:
            raise BrokenMultipart("the file does not begin with a multipart's headers")
        more = text.skip_to(boundary)
        while more:
            place = f"{self.path} (byte {text.offset})"
            headers = text.headers()
            inner = _boundary(headers)
            if inner is None:
                part, more = text.part(headers, boundary, self._max_document_bytes)
                yield self._document(place, headers, part, ())
                continue
            if not text.skip_to(inner):
                raise BrokenMultipart("a document has no part")
            first, inside = text.part(text.headers(), inner, self._max_document_bytes)
            attached: list[Part] = []
            while inside:
                part, inside = text.part(text.headers(), inner, None)
                attached.append(part)
            yield self._document(place, headers, first, [(part, path) for part in attached])
            more = text.skip_to(boundary)
        if text.rest().strip():
            raise BrokenMultipart("something follows the end")

    def _document(
        self, place: str, headers: dict[str, str], part: Part, attached: list[tuple[Part, Path]] | tuple[()]
    ) -> Leaf | LeafFault:
        id = headers.get("content-id", "")
        if part.text is None:
            fault = self._too_large(place, "the document").fault
            assert fault
            return fault._replace(id=id)
        for each, _ in ((part, None), *attached):
            if not each.intact:
                name = each.headers.get("content-id", "") if each is not part else ""
                what = f"the attachment {name!r:.80}" if name else "the document"
                why = f"{place}: {what} does not match its Content-MD5 or Content-Length."
                return LeafFault(id, "", "damaged", why)
        leaf = leaf_of(part.text, place)
        if isinstance(leaf, LeafFault):
            return leaf if leaf.id else leaf._replace(id=id)
        if id and leaf.id != id:
            why = f"{place}: the part is of {id!r:.80}, its document of {leaf.id!r:.80}."
            return LeafFault(id, "", "foreign_document", why)
        return leaf._replace(attachments=tuple(_attachment(part, path) for part, path in attached))

    def _plain_path(self) -> Path:
        if self.path.suffix.lower() not in _PACKED:
            return self.path
        if self._unpacked is None:
            # Not in the system's folder for such files, which may be memory.
            self._folder = tempfile.mkdtemp(prefix=".migrator-", dir=self.path.parent)
            self._unpacked = weakref.finalize(self, partial(shutil.rmtree, self._folder, ignore_errors=True))
            with TextFile(self.path) as file, (Path(self._folder) / "unpacked").open("wb") as plain:
                while block := file.read(BLOCK_BYTES):
                    plain.write(block)
        return Path(self._folder) / "unpacked"


class _Text:
    """A cursor over the bytes of a multipart."""

    def __init__(self, file: TextFile) -> None:
        self.offset = 0
        self._lines = io.BufferedReader(file, BLOCK_BYTES)  # type: ignore[type-var] # mypy wants no narrower read()

    def rest(self) -> bytes:
        """What comes next, in some length; empty only at the end."""
        return self._lines.peek()

    def headers(self) -> dict[str, str]:
        """The headers up to the blank line, by their names in small letters."""
        lines: list[bytes] = []
        size = 0
        while line := self.line():
            size += len(line)
            if size > MAX_HEADER_BYTES:
                raise BrokenMultipart("headers have no end")
            if not line.strip(b"\r\n"):
                break
            if line[:1] in b" \t" and lines:
                lines[-1] += line.rstrip(b"\r\n")
            else:
                lines.append(line.rstrip(b"\r\n"))
        else:
            raise BrokenMultipart("the file ends in the middle")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise BrokenMultipart("a line is not a header")
            headers[name.strip().lower().decode("ascii", "replace")] = header_text(value.strip())
        return headers

    def line(self) -> bytes:
        """Take one line with its end; what is cut off at the end of the file is not one."""
        line = self._read()
        return line if line.endswith(b"\n") else b""

    def skip_to(self, boundary: str) -> bool:
        """Take the next line, which is a boundary; False when it is the closing one."""
        line = self.line()
        while line and not line.strip():
            line = self.line()
        line = line.rstrip(b"\r\n \t")
        wanted = b"--" + boundary.encode()
        if line not in (wanted, wanted + b"--"):
            raise BrokenMultipart("a boundary is missing" if line else "the file ends in the middle")
        return line == wanted

    def part(self, headers: dict[str, str], boundary: str, keep_bytes: int | None) -> tuple[Part, bool]:
        """Take a part's content and the boundary after it.

        Args:
            headers: the part's.
            boundary: of the multipart that it is in.
            keep_bytes: give the text up to this length; None gives none.

        Returns:
            the part, and whether another one follows.
        """
        closing = re.compile(rb"--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*\r?\n")
        begin = self.offset
        digest = hashlib.md5(usedforsecurity=False)
        kept: list[bytes] = []
        length = 0
        # The end of the line before, or its beginning where a long one was cut: the boundary's, where one follows.
        ending = b""
        beginning = True
        while True:
            line = self._read()
            match = closing.fullmatch(line) if beginning else None
            if match is not None:
                break
            if not line:
                raise BrokenMultipart("the file ends in the middle of a part")
            beginning = line.endswith(b"\n")
            piece = ending + line
            ending = piece[-2:] if piece.endswith(b"\r\n") else piece[-1:] if piece[-1:] in b"\r\n" else b""
            piece = piece.removesuffix(ending)
            digest.update(piece)
            length += len(piece)
            if keep_bytes is not None and length <= keep_bytes:
                kept.append(piece)
        text = b"".join(kept) if keep_bytes is not None and length <= keep_bytes else None
        md5 = headers.get("content-md5")
        intact = md5 is None or md5 == base64.b64encode(digest.digest()).decode()
        intact = intact and headers.get("content-length", str(length)) == str(length)
        return Part(headers, begin, length, text, intact), match[1] is None

    def _read(self) -> bytes:
        """A line, or the beginning of a long one."""
        line = self._lines.readline(MAX_LINE_BYTES)
        self.offset += len(line)
        return line


def header_text(value: bytes) -> str:
    """A header's value, of which RFC 2047 encodes what is not ASCII."""
    text = value.decode("utf-8", "replace")
    if "=?" not in text:
        return text
    try:
        pieces = decode_header(text)
        return "".join(
            piece if isinstance(piece, str) else piece.decode(charset or "ascii", "replace")
            for piece, charset in pieces
        )
    except (HeaderParseError, LookupError):
        return text


def _boundary(headers: dict[str, str]) -> str | None:
    match = _BOUNDARY.match(headers.get("content-type", ""))
    return (match[1] or match[2]) if match else None


def _attachment(part: Part, path: Path) -> Attachment:
    opened: Callable[[], Iterator[bytes]] = partial(_read, path, part.offset, part.length)
    name = part.headers.get("content-id", "")
    return Attachment(name, part.headers.get("content-type", "application/octet-stream"), opened, part.length)


def _read(path: Path, offset: int, length: int) -> Iterator[bytes]:
    with TextFile(path, offset=offset) as file:
        while length:
            block = file.read(min(BLOCK_BYTES, length))
            if not block:
                raise TransientError(f"{path} was cut short while it was read.")
            length -= len(block)
            yield block
