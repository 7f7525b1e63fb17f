"""Where a server is and how to be let in; the password is in no name, text or repr."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from migrator.errors import ConfigError


@dataclass(frozen=True)
class Endpoint:
    """A CouchDB server, without a database.

    `url` has neither credentials nor a trailing slash. `path` is a prefix that a proxy wants before the
    database's name. Timeouts are in seconds.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 90.0

    @property
    def host(self) -> str:
        """The host's name in lower case."""
        return urlsplit(self.url).hostname or ""

    @property
    def local(self) -> bool:
        """True when the server is on this machine, where compressing bodies costs more than it saves."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


@dataclass(frozen=True)
class TlsFiles:
    """Files for TLS: a custom CA and a client certificate with its key."""

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


def is_server_url(text: str) -> bool:
    """True when a SOURCE or TARGET names a server."""
    return text.lower().startswith(("http://", "https://"))


def redact(url: str) -> str:
    """The URL without user and password."""
    return _divide(url)[1]


def _divide(url: str) -> tuple[str, str]:
    """User and password as they stand in a URL, and the URL without them.

    A raw '@', ':', '/', '?' or '#' in a password is common, and none of them can follow the host; so the last
    '@' divides.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    userinfo, _, place = rest.rpartition("@")
    return userinfo, f"{scheme}{separator}{place}"


def parse_endpoint(
    url: str,
    *,
    environ: Mapping[str, str] | None = None,
    role: str = "",
    tls: TlsFiles | None = None,
    read_timeout_s: float | None = None,
) -> tuple[Endpoint, str | None]:
    """Read a server's URL, with a database's name behind it or without.

    Credentials come from the URL, else `COUCHDB_<ROLE>_USER`/`_PASSWORD`/`_PASSWORD_FILE`, else the same
    without the role, else ~/.netrc (or `NETRC`).

    Args:
        url: `http(s)://[user:password@]host[:port][/database]`.
        environ: the environment; the process's own by default.
        role: "source" or "target", for variables that count for one side only.
        tls: files for TLS.
        read_timeout_s: how long to wait for the next byte of an answer.

    Returns:
        The endpoint, and the database's name or None.

    Raises:
        ConfigError: the URL, a password file or a certificate file is unusable.
    """
    environ = os.environ if environ is None else environ
    userinfo, shown = _divide(url)
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
    segments = [unquote(segment) for segment in parts.path.split("/") if segment]
    if len(segments) > 1:
        raise ConfigError(
            f"{shown} names more than one path segment after the host.",
            hint="Write http://host:5984/database; a '/' inside a database's name is written %2F.",
        )
    name = f"[{host}]" if ":" in host else host
    user, password = _credentials(userinfo, host, environ, role)
    tls = tls or TlsFiles()
    files: dict[str, Any] = {
        "ca_file": tls.ca_file or environ.get("COUCHDB_CA_FILE") or None,
        "client_cert": tls.client_cert or environ.get("COUCHDB_CLIENT_CERT") or None,
        "client_key": tls.client_key or environ.get("COUCHDB_CLIENT_KEY") or None,
    }
    for what, path in files.items():
        if path and not Path(path).is_file():
            raise ConfigError(f"There is no file {path} for {what.replace('_', ' ')}.", hint="Check the path.")
    endpoint = Endpoint(
        url=f"{parts.scheme}://{name}" + (f":{port}" if port else ""),
        user=user,
        password=password,
        read_timeout_s=read_timeout_s or Endpoint.read_timeout_s,
        **files,
    )
    return endpoint, segments[0] if segments else None


def _credentials(userinfo: str, host: str, environ: Mapping[str, str], role: str) -> tuple[str | None, str | None]:
    user, colon, password = userinfo.partition(":")
    user = unquote(user)
    if colon:
        return user, unquote(password)
    for prefix in ([f"COUCHDB_{role.upper()}_"] if role else []) + ["COUCHDB_"]:
        name = environ.get(f"{prefix}USER")
        if name and user in {"", name}:
            return name, _password(prefix, environ)
    if user:
        # A user without a password: that of the environment, unless it is somebody else's.
        return user, "" if environ.get("COUCHDB_USER") else _password("COUCHDB_", environ)
    return _from_netrc(host, environ)


def _password(prefix: str, environ: Mapping[str, str]) -> str:
    path = environ.get(f"{prefix}PASSWORD_FILE")
    if f"{prefix}PASSWORD" in environ or not path:
        return environ.get(f"{prefix}PASSWORD", "")
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"{prefix}PASSWORD_FILE names {path}, which cannot be read: {reason}.", hint="Check path and rights."
        ) from None


def _from_netrc(host: str, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    path = Path(environ.get("NETRC") or Path(environ.get("HOME", "~")).expanduser() / ".netrc")
    if not path.is_file():
        return None, None
    try:
        entry = netrc.netrc(str(path)).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        # The parser's message quotes the line, which may hold a password.
        raise ConfigError(
            f"The credentials file {path} cannot be read.",
            hint="Mend it, or set COUCHDB_USER and COUCHDB_PASSWORD.",
        ) from None
    return (entry[0], entry[2]) if entry else (None, None)


def database_url(endpoint: Endpoint, database: str | None) -> str:
    """The URL to show to people: no credentials, the database's name quoted."""
    return f"{endpoint.url}/{quote(database, safe='')}" if database else endpoint.url
