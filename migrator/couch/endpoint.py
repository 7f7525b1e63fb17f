"""Where a server is, by which proxy, and how to be let in; the password is in no name, text or repr."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack
from urllib.parse import quote, unquote, urlsplit

from migrator.config import Connection
from migrator.config.connection import BASIC
from migrator.config.pace import UNLIMITED, PaceLimits
from migrator.couch.credentials import read_credentials
from migrator.couch.places import divide_credentials, is_local, is_server_url, redact
from migrator.errors import ConfigError


@dataclass(frozen=True)
class Endpoint:
    """A CouchDB server, without a database.

    `url` has neither credentials nor a trailing slash; it ends with the path that a web server in front wants
    before the database's name, where there is one. `proxy` is the URL of the proxy on the way, with credentials.
    `auth` says how the server is told who asks, as in `couch.credentials`.
    Timeouts are in seconds; `max_hold_s` is the longest wait that the server may ask for. Where it is no `couchdb`
    but another server, `ca_file` is beside the authorities that the system trusts, and not in place of them.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    proxy: str | None = field(default=None, repr=False)
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 90.0
    max_hold_s: float = 300.0
    auth: str = BASIC
    iam_url: str = ""
    couchdb: bool = True
    pace: PaceLimits = UNLIMITED

    @property
    def host(self) -> str:
        """The host's name in lower case."""
        return urlsplit(self.url).hostname or ""

    @property
    def local(self) -> bool:
        """True when the server is on this machine, where compressing bodies costs more than it saves."""
        return is_local(self.host)


class Reach(TypedDict, total=False):
    """How a server is reached, where its URL does not say; as in `read_url`."""

    environ: Mapping[str, str] | None
    role: str
    config: Connection | None


def parse_endpoint(url: str, **reach: Unpack[Reach]) -> tuple[Endpoint, str | None]:
    """Read a server's URL by its text alone, with one database's name after it or without.

    For URLs that this package made, as a sandbox's. What somebody typed may be a server below a path: that is
    read by `locating.locate`, with the same arguments.

    Raises:
        ConfigError: the URL, a password file or a certificate file is unusable.
    """
    endpoint, segments = read_url(url, **reach)
    if len(segments) > 1:
        raise too_many_segments(url)
    return endpoint, segments[0] if segments else None


def read_url(
    url: str,
    *,
    environ: Mapping[str, str] | None = None,
    role: str = "",
    config: Connection | None = None,
) -> tuple[Endpoint, list[str]]:
    """Read a server's URL: the host, and the segments of the path after it, unquoted.

    Credentials come from the URL, else `COUCHDB_<ROLE>_USER`/`_PASSWORD`/`_PASSWORD_FILE` or
    `COUCHDB_<ROLE>_IAM_API_KEY`/`_FILE`, else the same without the role, else ~/.netrc (or `NETRC`).

    Args:
        url: `http(s)://[user:password@]host[:port][/path][/database]`.
        environ: the environment; the process's own by default.
        role: "source" or "target", for variables that count for one side only.
        config: files for TLS, how long to wait for the next byte of an answer, and the like.

    Raises:
        ConfigError: the URL, a password file or a certificate file is unusable.
    """
    environ = os.environ if environ is None else environ
    userinfo, shown = divide_credentials(url)
    try:
        parts = urlsplit(shown)
        port = parts.port
        host = parts.hostname
    except ValueError as error:
        raise ConfigError(f"{shown} is not a URL: {error}.", hint="Write http://host:5984/database.") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigError(f"{shown} is not a server's URL.", hint="Write http://host:5984 or https://host:6984.")
    if parts.query or parts.fragment:
        raise ConfigError(
            f"{shown} has a query, which names no database.", hint="Leave out what follows '?' or '#'."
        )
    name = f"[{host}]" if ":" in host else host
    config = config or Connection()
    found = read_credentials(userinfo, host, environ, role, config.auth)
    files: dict[str, Any] = {
        "ca_file": config.ca_file or environ.get("COUCHDB_CA_FILE") or None,
        "client_cert": config.client_cert or environ.get("COUCHDB_CLIENT_CERT") or None,
        "client_key": config.client_key or environ.get("COUCHDB_CLIENT_KEY") or None,
    }
    for what, path in files.items():
        if path and not Path(path).is_file():
            raise ConfigError(f"There is no file {path} for {what.replace('_', ' ')}.", hint="Check the path.")
    endpoint = Endpoint(
        url=f"{parts.scheme}://{name}" + (f":{port}" if port else ""),
        **found._asdict(),
        proxy=proxy_of(parts.scheme, host, port, environ),
        read_timeout_s=config.longest_silence_s,
        max_hold_s=config.max_outage_s,
        pace=config.pace,
        **files,
    )
    return endpoint, [unquote(segment) for segment in parts.path.split("/") if segment]


def too_many_segments(url: str, why: str = "") -> ConfigError:
    """What to say of a path that is neither a server's nor a database's."""
    return ConfigError(
        f"{redact(url)} names more than one path segment after the host{why}.",
        hint="Write http://host:5984/database; a '/' inside a database's name is written %2F.",
    )


def database_url(endpoint: Endpoint, database: str | None) -> str:
    """The URL to show to people: no credentials, the database's name quoted."""
    return f"{endpoint.url}/{quote(database, safe='')}" if database else endpoint.url


__all__ = ["Endpoint", "database_url", "is_server_url", "parse_endpoint", "read_url", "redact"]


KINDS = ("http", "https")


def proxy_of(scheme: str, host: str, port: int | None, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy that a server is reached through, with its credentials; None for the straight way.

    A variable in lower case goes before the same in upper case; an empty one stands for none. This machine
    itself (localhost, 127.0.0.0/8, ::1) is never asked for through a proxy.

    Args:
        scheme: "http" or "https", of the server.
        host: the server's host.
        port: its port, where its URL names one.
        environ: the environment.

    Raises:
        ConfigError: the proxy is of a kind that is not spoken, such as SOCKS.
    """
    proxy = _variable(environ, f"{scheme}_proxy")
    if not proxy or is_local(host) or _is_excepted(host, port or (443 if scheme == "https" else 80), environ):
        return None
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(redact(url))
        usable = parts.scheme in KINDS and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{scheme}_proxy names {redact(url)}, which is not an HTTP proxy.",
            hint=f"Write http://proxy:3128, or name {host} in no_proxy.",
        )
    return url


def _variable(environ: Mapping[str, str], name: str) -> str:
    if name in environ:
        return environ[name].strip()
    if name == "http_proxy" and "REQUEST_METHOD" in environ:
        # In a CGI script this one holds what a client sent as its header "Proxy".
        return ""
    return environ.get(name.upper(), "").strip()


def _is_excepted(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """True where no_proxy names the host: a name and those below it, an address, a network, or * for all."""
    for word in _variable(environ, "no_proxy").replace(",", " ").split():
        if word == "*" or _fits(word.lower(), host.lower().rstrip("."), port):
            return True
    return False


def _fits(word: str, host: str, port: int) -> bool:
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        with contextlib.suppress(ValueError):
            return address in ipaddress.ip_network(word.strip("[]"), strict=False)
        # Of an address no part is an address; what has a port is compared as a whole below.
        if not word.strip("[]").startswith(host):
            return False
    name, colon, only = word.rpartition(":")
    if colon and only.isdecimal() and (name.count(":") == 0 or name.startswith("[")):
        if int(only) != port:
            return False
        word = name
    word = word.strip("[]").removeprefix("*").strip(".")
    return bool(word) and (host == word or host.endswith(f".{word}"))


# Servers and proxies take request lines of 8 kB.
MAX_QUERY_BYTES = 6_000


def id_path(id: str) -> list[str]:
    """The segments of a document's path, unquoted.

    `_design/x` and `_local/x` keep their slash: an escaped one is answered with a redirect.
    """
    head, slash, tail = id.partition("/")
    return [head, tail] if slash and head in {"_design", "_local"} else [id]


def has_path(*segments: str) -> bool:
    """False when no request line can name them: too long, or dots, which name another place."""
    return sum(len(quote(segment, safe="")) for segment in segments) <= MAX_QUERY_BYTES and not {".", ".."} & {
        *segments
    }
