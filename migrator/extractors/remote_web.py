"""Files of web servers, by the same connections as CouchDB: TLS, proxies and silence are one matter.

Parts are asked for by `Range`. Who gives none is read from the beginning again, up to where a cut was.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import replace
from urllib.parse import urljoin

from migrator.config import JobConfig
from migrator.config.connection import BASIC
from migrator.couch.endpoint import read_url
from migrator.couch.responses import retry_after_s
from migrator.couch.transport import Transport
from migrator.errors import ConfigError, EndpointError, Forbidden, TransientError, Unauthorized
from migrator.extractors.remote_file import HEAD_BYTES, FileMissing, Look, Origin
from migrator.files.urls import WEB, FileUrl, parsed_url

_MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_LATER = frozenset({408, 425, 429})
_ANOTHER = "Start over with --restart: documents that are there already stay as they are."


class WebOrigin:
    """A file of a web server.

    Args:
        url: its URL; the user and password in it, or in ~/.netrc, are sent to its host alone.
        config: how long to wait, and files for TLS.
        environ: the environment; what it says of CouchDB is not for other servers.
    """

    def __init__(self, url: FileUrl, config: JobConfig, environ: Mapping[str, str]) -> None:
        self._url = url
        self._config = config
        self._environ = {name: value for name, value in environ.items() if not name.startswith("COUCHDB_")}
        self._transports: dict[str, Transport] = {}

    def look(self) -> Look:
        """Look at the file by asking for its first bytes: a URL that is signed is signed for GET alone."""
        status, headers, body = self._asked({"Range": f"bytes=0-{HEAD_BYTES - 1}"})
        size = _size_bytes(headers) if status != 416 else 0
        if (status == 206 and size is None) or (status == 416 and _whole(headers) != 0):
            _ended(body)
            status, headers, body = self._asked({})
            size = _size_bytes(headers)
        head = b"" if status == 416 else _first(body)
        if status == 200:
            body.close()
        else:
            # Read to its end, so that its connection serves on.
            _ended(body)
        if size is None and "chunked" not in headers.get("Transfer-Encoding", "").lower():
            raise ConfigError(
                f"{self._url.shown}: its server does not say how long it is, and no cut could be told.",
                hint="Download it, and give the file.",
            )
        if "text/html" in headers.get("Content-Type", "").lower() and head.lstrip().startswith(b"<"):
            raise ConfigError(
                f"{self._url.shown} is a web page, and no file of documents.",
                hint="Open it in a browser: it may ask to sign in, or say where the file is.",
            )
        return Look(size, _version(headers), head, in_parts=status in {206, 416})

    def pieces(self, look: Look, offset: int, end: int | None) -> Generator[bytes]:
        """As `Origin` says."""
        asked = {}
        if look.in_parts and end is not None and (offset or end != look.size_bytes):
            asked["Range"] = f"bytes={offset}-{end - 1}"
            if look.version and not look.version.startswith("W/"):
                asked["If-Range"] = look.version
        status, headers, body = self._asked(asked)
        try:
            self._check(look, offset, status, headers)
        except (EndpointError, ConfigError):
            _ended(body)
            raise
        try:
            passed = offset if status == 206 else 0
            for piece in body:
                passed += len(piece)
                new = piece[max(0, len(piece) - (passed - offset)) :] if passed > offset else b""
                if end is not None and passed > end:
                    new = new[: len(new) - (passed - end)]
                if new:
                    yield new
                if end is not None and passed >= end:
                    return
            if passed < offset:
                raise self._changed()
        finally:
            body.close()

    def children(self) -> Mapping[str, Origin] | None:
        """Web servers list no folders that a program could read."""
        return None

    def _check(self, look: Look, offset: int, status: int, headers: Mapping[str, str]) -> None:
        """Refuse an answer that is not the part that was asked for of the file that was looked at."""
        found = Look(_size_bytes(headers), _version(headers), b"", in_parts=status == 206)
        if status == 416 or not look.is_same(found):
            raise self._changed()
        if status == 206:
            part = _RANGE.match(headers.get("Content-Range", ""))
            if part is None or part[1] != str(offset):
                raise EndpointError(
                    f"{self._url.shown}: the server gave another part than byte {offset} and on.",
                    hint="Download it, and give the file.",
                )
        elif offset and not look.version and look.size_bytes is None:
            raise EndpointError(
                f"{self._url.shown} broke off at byte {offset}, and the server says nothing by which the rest "
                "could be known for the same file's: no parts, no ETag, no time and no length.",
                hint="Download it, and give the file.",
            )

    def _changed(self) -> ConfigError:
        return ConfigError(f"{self._url.shown} was changed while it was read.", hint=_ANOTHER)

    def _asked(self, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], Generator[bytes]]:
        """Ask for the file, wherever it was moved to; anything else than a file is an error."""
        # Packed on the way, no place in it could be asked for again.
        wanted = {"Accept": "*/*", "Accept-Encoding": "identity", **headers}
        url = self._url
        for _ in range(_MAX_REDIRECTS):
            base = f"{url.scheme}://{url.userinfo}{url.place.partition('/')[0]}"
            status, found, body = self._transport_to(base).stream(url.url, headers=wanted, decode=False)
            if status not in _REDIRECTS or "Location" not in found:
                if status in {200, 206, 416}:
                    return status, found, body
                _ended(body)
                raise self._refused(status, found)
            _ended(body)
            moved = parsed_url(urljoin(url.url, found["Location"]))
            if moved is None or moved.scheme not in WEB or (url.scheme, moved.scheme) == ("https", "http"):
                raise EndpointError(
                    f"{self._url.shown}: the server sends on to {moved.shown if moved else 'another place'}, "
                    f"which {'is not encrypted' if moved and moved.web else 'no file is read from'}.",
                    hint="Give the URL itself, if you trust it.",
                )
            same = moved.place.partition("/")[0] == url.place.partition("/")[0] and moved.scheme == url.scheme
            url = replace(moved, userinfo=url.userinfo if same else "")
        raise EndpointError(f"{self._url.shown}: the server sends on without an end.", hint="Look at the URL.")

    def _refused(self, status: int, headers: Mapping[str, str]) -> Exception:
        shown = self._url.shown
        if status in {404, 410}:
            return FileMissing(f"There is no file {shown} ({status}).", hint="Look at the URL.")
        if status == 401:
            hint = "Put them into the URL, user:password@host, or into ~/.netrc."
            return Unauthorized(
                f"{shown}: the server wants credentials, or refuses those it got (401).", hint=hint
            )
        if status == 403:
            hint = "A URL that was signed may have run out: sign it again, and go on with --resume."
            return Forbidden(f"{shown}: the server does not give it to us (403).", hint=hint)
        if status >= 500 or status in _LATER:
            return TransientError(
                f"{shown}: the server cannot answer now ({status}).",
                retry_after_s=retry_after_s(headers),
                status=status,
                overload=status in {429, 503},
                signature=str(status),
            )
        return ConfigError(f"{shown}: the server refuses the request ({status}).", hint="Look at the URL.")

    def close(self) -> None:
        """Close the connections."""
        while self._transports:
            self._transports.popitem()[1].close()

    def _transport_to(self, base: str) -> Transport:
        if base not in self._transports:
            endpoint, _ = read_url(base, environ=self._environ, config=self._config)
            self._transports[base] = Transport(replace(endpoint, couchdb=False, auth=BASIC), max_connections=2)
        return self._transports[base]


def _first(body: Generator[bytes]) -> bytes:
    head = b""
    for piece in body:
        head += piece
        if len(head) >= HEAD_BYTES:
            break
    return head[:HEAD_BYTES]


def _ended(body: Generator[bytes]) -> None:
    """Let go of an answer: what was never begun would not be closed."""
    next(body, None)
    body.close()


def _version(headers: Mapping[str, str]) -> str:
    return headers.get("ETag") or headers.get("Last-Modified") or ""


def _whole(headers: Mapping[str, str]) -> int | None:
    """The length of the file that a part is of."""
    found = _RANGE.match(headers.get("Content-Range", ""))
    return int(found[2]) if found and found[2] != "*" else None


def _size_bytes(headers: Mapping[str, str]) -> int | None:
    if "Content-Range" in headers:
        return _whole(headers)
    length = headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None
