"""URLs of files that lie elsewhere: told from a server's by the text, their parts, and what people may see."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote

from migrator.errors import without_passwords

DRIVERS = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gcs", "gs"), "gcsfs"),
    **dict.fromkeys(("abfs", "abfss", "az", "adl"), "adlfs"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
}
"""The kinds of storage that hold files and backups, and the package that each needs beside fsspec."""
WEB = ("http", "https")

# A raw `@`, `/`, `?` or `#` in a password is common; what follows a host's colon is a port.
_USERINFO = r"(?:[^/@:?#]*:(?!\d{1,5}(?:[/?#]|$))(?:[^/?#]*|.*?)|[^/?#:@]*)@"
_URL = re.compile(
    rf"(?P<word>[a-z][a-z0-9]*:)?(?P<scheme>[a-z][a-z0-9]*)://(?P<userinfo>{_USERINFO})?"
    r"(?P<place>[^?#]*)(?:\?(?P<query>[^#]*))?(?P<mark>#)?(?P<fragment>.*)",
    re.IGNORECASE | re.DOTALL,
)
# No database of CouchDB can have a dot in its name.
_FILE = re.compile(
    r"[^/]+/(?:.*/)?[^/]+\.(ndjson|jsonl|json|csv|tsv|parquet|parq|toml)(\.gz|\.zst)?", re.IGNORECASE
)
# What a signed URL has beside its secrets: it is another each time that the URL is signed.
_SIGNED = re.compile(r"x-[a-z]+-.*|expires|hdn\w+|[a-z]*access_?(key_?)?id", re.IGNORECASE)
_SIGNED_BY_AZURE = re.compile(r"s(v|s|rt|p|e|t|pr|r|ip|koid|ktid|kt|ke|ks|kv|dd)", re.IGNORECASE)


@dataclass(frozen=True)
class FileUrl:
    """The parts of a URL: `https://user:password@host/path?query#fragment` is `scheme://userinfo@place?…`.

    `word` is the kind of the file, with a colon, where it stands before the URL.
    """

    word: str
    scheme: str
    userinfo: str
    place: str
    query: str
    fragment: str | None

    @property
    def web(self) -> bool:
        """True where a web server gives the file."""
        return self.scheme in WEB

    @property
    def name(self) -> str:
        """The file's or folder's own name."""
        name = self.place.rstrip("/").partition("/")[2].rpartition("/")[2]
        return unquote(name) if self.web else name

    @property
    def url(self) -> str:
        """What is asked for: nothing that only this side reads, and to a web server no credentials."""
        if self.web:
            return f"{self.scheme}://{self.place}" + (f"?{self.query}" if self.query else "")
        return f"{self.scheme}://{self.userinfo}{self.place}"

    @property
    def shown(self) -> str:
        """The same for people and for checkpoints: without what could be a secret, or is signed another time."""
        userinfo = "" if self.web or ":" in self.userinfo else self.userinfo
        kept = (
            [each for each in self.query.split("&") if each and not self._is_signature(each)] if self.web else []
        )
        place = self.place if self.web else self.place.rstrip("/")
        return f"{self.scheme}://{userinfo}{place}" + (f"?{'&'.join(kept)}" if kept else "")

    def divided(self, known: Collection[str]) -> tuple[FileUrl, str]:
        """This without the options of who reads the file, and those as a query.

        A web server has parameters of its own: options are those of a known name, or all that follows a `#`.
        """
        if self.fragment is not None:
            options, query = self.fragment, self.query
        elif self.web:
            parts = [each for each in self.query.split("&") if each]
            own = [each for each in parts if each.partition("=")[0] in known]
            options, query = "&".join(own), "&".join(each for each in parts if each not in own)
        else:
            options, query = self.query, ""
        return FileUrl(self.word, self.scheme, self.userinfo, self.place, query, None), options

    def _is_signature(self, parameter: str) -> bool:
        name = unquote(parameter.partition("=")[0])
        by_azure = "sig=" in self.query and _SIGNED_BY_AZURE.fullmatch(name) is not None
        told = f"?{name}=secret"
        return by_azure or _SIGNED.fullmatch(name) is not None or without_passwords(told) != told


def parsed_url(text: str) -> FileUrl | None:
    """The parts of a text that is a URL, None for another text."""
    found = _URL.fullmatch(text)
    if found is None:
        return None
    fragment = found["fragment"] if found["mark"] else None
    word, userinfo, query = found["word"] or "", found["userinfo"] or "", found["query"] or ""
    return FileUrl(word, found["scheme"].lower(), userinfo, found["place"], query, fragment)


def file_url(text: str) -> FileUrl | None:
    """The parts of a URL that names a file, or a folder of files; None for what is a server's, or something else.

    In a web server's URL the end of the path says so, as in `https://host/orders.ndjson`, or a kind of file before
    it, as in `csv:https://host/export?id=7`.

    >>> file_url("https://host:6984/orders"), file_url("s3://bucket/exports/").scheme
    (None, 's3')
    """
    url = parsed_url(text)
    if url is None or (url.scheme not in DRIVERS and not url.web):
        return None
    return url if url.scheme in DRIVERS or url.word or _FILE.fullmatch(url.place) else None


def shown_url(text: str) -> str:
    """A URL without what could be a secret in it. A container's name before `@` is none."""
    url = parsed_url(text)
    return f"{url.word}{url.shown}" if url else text
