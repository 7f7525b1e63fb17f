"""What a SOURCE, TARGET or URL that somebody typed is: a server, a scheme, a path or a stream; or a mistyped URL.

Nothing is opened and nobody is asked here: what a server's URL names is found out by `couch.locating`.
"""

from __future__ import annotations

import contextlib
import difflib
import ipaddress
import os
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from migrator.errors import ConfigError
from migrator.files.urls import WEB, file_url, shown_url

STREAM = "-"
"""Standard input as a source, standard output as a target."""

_QUOTES = "\"'`<>\u201c\u201d\u2018\u2019\u201a\u201e\u00ab\u00bb"
# Word processors and chat programs make these of a plain dash.
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"), "-")
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f"))
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_PORT = re.compile(r"(?:[^/\s]*[^/\s:])?:\d{1,5}(?:[/?#].*)?")
_END_PORT = re.compile(r"\d{3,5}")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_NO_COLON = re.compile(r"(h{1,2}t{1,3}ps?)[;.,]?:?//+:?/*(.*)", re.IGNORECASE | re.DOTALL)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.IGNORECASE)
_COUCH = ("couchdb", "couchdbs", "couch", "couches", "couchs", "cloudant")
# Ends of names that are a file's or a folder's rather than a host's.
_FILE_ENDS = re.compile(
    r"ndjson|jsonl|json|csv|tsv|gz|zst|bz2|xz|zip|tar|tgz|parquet|parq|db|sqlite|dump|backup|bak|old|new|tmp|dir|out|"
    r"data|txt|toml|ya?ml|archive|export|copy|part"
)
_TOP_LEVELS = re.compile(
    r"com|org|net|edu|gov|io|dev|app|cloud|info|biz|eu|de|uk|fr|nl|us|ch|at|it|es|pl|se|no|fi|dk|be|jp|cn|in|br|au|ca|"
    r"nz|local|localdomain|internal|intranet|lan|corp|example|invalid|svc"
)


def is_server_url(text: str) -> bool:
    """True when a SOURCE or TARGET names a server, and no file of one."""
    return _is_web_url(text) and file_url(text) is None


def _is_web_url(text: str) -> bool:
    return text.lower().startswith(tuple(f"{scheme}://" for scheme in WEB))


def redact(url: str) -> str:
    """The URL without user and password, and that of a file without what it was signed with."""
    return shown_url(url) if file_url(url) else divide_credentials(url)[1]


def divide_credentials(url: str) -> tuple[str, str]:
    """User and password as they stand in a URL, and the URL without them.

    A raw '@', ':', '/', '?' or '#' in a password is common, and none of them can follow the host; so the last
    '@' divides.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    userinfo, _, place = rest.rpartition("@")
    return userinfo, f"{scheme}{separator}{place}"


def checked_place(text: str, what: str, *, known: tuple[str, ...] = (), reads: bool = False) -> str:
    """Give a place as it was typed, unless it looks like a server's URL or address that was mistyped.

    Only what is clearly a path becomes a file or folder. `file:///folder` is given as the path that it means.

    Args:
        text: what was typed.
        what: the flag or variable, for the message.
        known: schemes that have a meaning here.
        reads: it is read from: a path that is there counts as one, whatever it looks like.

    Raises:
        ConfigError: it is mistyped; the message names the URL that was meant, without credentials.
    """
    if text in {"", STREAM} or (reads and _exists(text)):
        return text
    shown = redact(text)
    plain = unicodedata.normalize("NFKC", shown.translate(_DASHES).translate(_INVISIBLE)).strip()
    bare = plain.strip(_QUOTES).strip()
    if bare != shown and (meant := bare if _is_web_url(bare) else _meant(bare, known)):
        raise _mistyped(text, what, meant)
    if text != text.strip() and not _exists(text):
        raise ConfigError(f"{what} {shown!r} begins or ends with a blank.", hint=f"Write {shown.strip()}.")
    if _is_web_url(text):
        _check_authority(text, what, shown)
        return text
    if text.lower().startswith("file:"):
        return _file_path(text, what)
    if meant := _meant(text, known):
        raise _mistyped(text, what, meant)
    if _WINDOWS.match(text) and os.name != "nt":
        raise ConfigError(
            f"{what} {text} is a path of Windows, which this system has not.",
            hint="Write the path as this system has it, with / between folders.",
        )
    return text


def _mistyped(text: str, what: str, meant: str) -> ConfigError:
    hidden, typed = divide_credentials(text)
    secret = ", with the credentials in COUCHDB_USER and COUCHDB_PASSWORD" if hidden else ""
    folder = f" A file or folder of that name is written ./{text}." if re.fullmatch(r"[\w.-]+", text) else ""
    return ConfigError(
        f"{what} {typed!r} looks like a server, and is not the URL of one.",
        hint=f"Write {redact(meant)}{secret}.{folder}",
    )


def _meant(text: str, known: tuple[str, ...]) -> str:
    """The server's URL that was probably meant, "" for what is something else."""
    if _is_web_url(text):
        return ""
    if text.startswith(":/"):
        return _url(text.lstrip(":/"))
    if text.startswith("//"):
        return "" if _exists(text) else f"http:{text}"
    if text.startswith(("/", "./", "../", "~")) or text in {".", ".."} or _WINDOWS.match(text):
        return ""
    if found := _NO_COLON.fullmatch(text):
        return _url(found[2], "s" if found[1].lower().endswith("s") else "")
    found = _SCHEME.fullmatch(text)
    if found and found[1].partition("+")[0].lower() in known and found[1].lower() not in {"http", "https"}:
        return ""
    if found and (meant := _of_scheme(found[1].lower(), found[2])):
        return meant
    if (_PORT.fullmatch(text) and not text.startswith("::")) or text.startswith("["):
        return _url(text)
    if "@" in text.partition("/")[0] or (":" in text and "@" in text):
        userinfo, place = divide_credentials(text)
        return _url(text) if ":" in userinfo or _looks_like_host(place) or _PORT.fullmatch(place) else ""
    return _url(text) if _looks_like_host(text) else ""


def _of_scheme(scheme: str, rest: str) -> str:
    if scheme.startswith(_COUCH) and rest.startswith("//"):
        secure = scheme.endswith(("https", "ssl", "tls")) or scheme in {"couchdbs", "couchs", "couches"}
        return _url(rest.lstrip("/"), "s" if secure else "")
    slashes = rest[:1] in {"/", "\\"}
    if scheme in {"http", "https"} or (
        slashes and difflib.get_close_matches(scheme, ["http", "https"], cutoff=0.7)
    ):
        secure = scheme.rstrip(".").endswith("s")
        return _url(rest.lstrip("/\\:"), "s" if secure else "")
    if "@" in rest and not rest.startswith("//"):
        return _url(f"{scheme}:{rest}")
    return ""


def _url(place: str, secure: str = "") -> str:
    if place.startswith(":") and not place.startswith("::"):
        place = f"localhost{place}"
    host = place.rpartition("@")[2].partition("/")[0]
    if address := _with_brackets(host):
        place = place.replace(host, address)
    return f"http{secure or ('s' if re.search(r':(6984|443)$', host) else '')}://{place}"


def _with_brackets(host: str) -> str:
    """An address of IPv6 as a URL has it; "" for what has its brackets or is not an address.

    What ends like a port is one where an address is left before it.
    """
    if host.count(":") < 2 or (host.startswith("[") and "]" in host):
        return ""
    bare = host.replace("[", "").replace("]", "")
    address, _, port = bare.rpartition(":")
    if _END_PORT.fullmatch(port) and _is_address(address):
        return f"[{address}]:{port}"
    return f"[{bare}]" if _is_address(bare) else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _looks_like_host(text: str) -> bool:
    host = text.partition("/")[0].rstrip(".")
    if _is_address(host.strip("[]")):
        return True
    labels = host.split(".")
    if labels[0].lower() == "localhost" and len(labels) <= 2:
        return True
    last = labels[-1].lower()
    if len(labels) < 2 or _FILE_ENDS.fullmatch(last) or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    like_a_name = (len(labels) > 2 and len(last) > 1 and last.isalpha()) or _TOP_LEVELS.fullmatch(last)
    return bool(like_a_name) and not _exists(text)


def _check_authority(text: str, what: str, shown: str) -> None:
    """Refuse a URL whose host cannot be one, with what was meant."""
    scheme, _, typed = text.partition("://")
    rest = shown.partition("://")[2]
    host = rest.partition("/")[0]
    twice = re.match(r"https?:?/", typed, re.IGNORECASE)
    if twice or "\\" in host or (typed.startswith("/") and typed.strip("/")):
        place = re.sub(r"(?i)^(https?:?/*)*/*", "", rest).replace("\\", "/")
        raise _mistyped(text, what, f"{scheme.lower()}://{place}")
    if address := _with_brackets(host):
        raise _mistyped(text, what, f"{scheme.lower()}://{address}{rest[len(host) :]}")
    if host.startswith(".") or ".." in host:
        place = re.sub(r"\.{2,}", ".", host).lstrip(".") + rest[len(host) :]
        raise _mistyped(text, what, f"{scheme.lower()}://{place}")
    if re.search(r"\s", host):
        raise ConfigError(f"{what} {shown!r} has a blank in its host's name.", hint="Write http://host:5984.")


def _file_path(text: str, what: str) -> str:
    parts = urlsplit(text)
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise ConfigError(
            f"{what} {redact(text)} names no file of this machine.", hint="Write file:///path, or just the path."
        )
    return unquote(parts.path)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def refuse_itself(source: str, target: str, *, instead: str) -> None:
    """Refuse a database as the target of itself: nothing would be done, and that must not look like success.

    Args:
        source: the URL of a database that is read.
        target: the URL of one that is written.
        instead: what to do.

    Raises:
        ConfigError: they are one; a server on this machine has several addresses.
    """
    if _place_of(source) == _place_of(target):
        raise ConfigError(f"Source and target are one database, {redact(target)}.", hint=instead)


def _place_of(url: str) -> tuple[str, int | None, str]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return "localhost" if is_local(host) else host, port, unquote(parts.path).rstrip("/")


def is_local(host: str) -> bool:
    """True of this machine's own names and addresses."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
