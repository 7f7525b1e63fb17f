"""Writes couchdb-python's dumps: RFC 2046 multipart as `couchdb-load` reads it."""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from collections.abc import Mapping

from migrator.convert.formats.writer import FileWriter, Holds
from migrator.errors import EndpointError
from migrator.model.revisions import Attachment, Leaf

# All else would end the header, or be taken for something encoded.
_PLAIN = re.compile(r"(?!.*=\?)[!-~](?:[ -~]*[!-~])?", re.ASCII)
_CRLF = b"\r\n"


class MultipartWriter(FileWriter):
    """Writes a part a document; one with attachments is a multipart of its own.

    The boundary is made up again each time, as nothing in a content is escaped.
    """

    holds = Holds(conflicts=False, tombstones=False, ancestry=False)

    def begin(self) -> None:
        """The headers of the whole."""
        self._boundary = self._open({})

    def write(self, leaf: Leaf) -> None:
        """One part."""
        text = self._body(leaf)
        names = {"Content-ID": leaf.id, "ETag": f'"{leaf.rev}"'}
        json = "application/json;charset=utf-8"
        self._delimit(self._boundary)
        if not leaf.attachments:
            self._headers({**names, "Content-Type": json, **_sums(text)})
            self.output.write(text + _CRLF)
            return
        inner = self._open(names)
        self._delimit(inner)
        self._headers({"Content-Type": json, **_sums(text)})
        self.output.write(text + _CRLF)
        for attachment in leaf.attachments:
            self._delimit(inner)
            self._attachment(attachment)
        self._delimit(inner, "--")

    def finish(self) -> None:
        """The closing boundary."""
        self._delimit(self._boundary, "--")

    def _attachment(self, attachment: Attachment) -> None:
        """Read twice: the sums stand before the bytes."""
        digest = hashlib.md5(usedforsecurity=False)
        length = 0
        for piece in attachment.open():
            digest.update(piece)
            length += len(piece)
        headers = {"Content-ID": attachment.name, "Content-Type": attachment.content_type}
        if length:
            headers["Content-Length"] = str(length)
            headers["Content-MD5"] = base64.b64encode(digest.digest()).decode()
        self._headers(headers)
        again = hashlib.md5(usedforsecurity=False)
        for piece in attachment.open():
            again.update(piece)
            self.output.write(piece)
        if again.digest() != digest.digest():
            raise EndpointError(
                f"The attachment {attachment.name!r:.80} changed while it was read.", hint="Run again."
            )
        if length:
            self.output.write(_CRLF)

    def _open(self, headers: Mapping[str, str]) -> str:
        boundary = f"=={uuid.uuid4().hex}=="
        self._headers({**headers, "Content-Type": f'multipart/mixed; boundary="{boundary}"'})
        return boundary

    def _delimit(self, boundary: str, end: str = "") -> None:
        self.output.write(f"--{boundary}{end}\r\n".encode())

    def _headers(self, headers: Mapping[str, str]) -> None:
        lines = [f"{name}: {_encoded(headers[name])}\r\n" for name in sorted(headers)]
        self.output.write("".join(lines).encode() + _CRLF)


def _encoded(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    return f"=?utf-8?b?{base64.b64encode(value.encode()).decode()}?="


def _sums(content: bytes) -> dict[str, str]:
    digest = hashlib.md5(content, usedforsecurity=False).digest()
    return {"Content-Length": str(len(content)), "Content-MD5": base64.b64encode(digest).decode()}
