"""Where credentials come from: a URL, the environment, a file that it names, or ~/.netrc; they are no argument."""

from __future__ import annotations

import netrc
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from migrator.config.connection import AUTHS, BASIC
from migrator.errors import ConfigError
from migrator.files.failures import password_in

IAM = "iam"
IAM_URL = "https://iam.cloud.ibm.com/identity/token"
# What IBM's own tools give as the name beside a key.
_KEY_USER = "iamapikey"


class Credentials(NamedTuple):
    """Who asks, and how a server is told.

    `auth` is one of `AUTHS`, or `IAM`, where the password is a key that `iam_url` takes.
    """

    user: str | None
    password: str | None
    auth: str
    iam_url: str = ""


def read_credentials(userinfo: str, host: str, environ: Mapping[str, str], role: str, auth: str) -> Credentials:
    """The credentials for a server.

    Args:
        userinfo: what stands in its URL.
        host: its host.
        environ: the environment.
        role: "source" or "target", for variables that count for one side only.
        auth: how name and password are sent, where it was said.

    Raises:
        ConfigError: a file or a variable cannot be used.
    """
    auth = auth or environ.get("COUCHDB_AUTH") or BASIC
    if auth not in AUTHS:
        raise ConfigError(f"COUCHDB_AUTH is {auth!r:.60}.", hint=f"Known are: {', '.join(AUTHS)}.")
    user, colon, password = userinfo.partition(":")
    user = unquote(user)
    if colon:
        return Credentials(user, unquote(password), auth)
    for prefix in ([f"COUCHDB_{role.upper()}_"] if role else []) + ["COUCHDB_"]:
        name = environ.get(f"{prefix}USER")
        key = "" if user else _secret(f"{prefix}IAM_API_KEY", environ)
        if key and name:
            raise ConfigError(
                f"Both {prefix}USER and {prefix}IAM_API_KEY are set, and a server is told one of them.",
                hint="Unset one; where source and target differ, set COUCHDB_SOURCE_… and COUCHDB_TARGET_….",
            )
        if key:
            return Credentials(_KEY_USER, key, IAM, environ.get("COUCHDB_IAM_URL") or IAM_URL)
        if name and user in {"", name}:
            return Credentials(name, _secret(f"{prefix}PASSWORD", environ), auth)
    if user:
        # A user without a password: that of the environment, unless it is somebody else's.
        found = "" if environ.get("COUCHDB_USER") else _secret("COUCHDB_PASSWORD", environ)
        return Credentials(user, found, auth)
    return Credentials(*_from_netrc(host, environ), auth)


def _secret(variable: str, environ: Mapping[str, str]) -> str:
    """What a variable says, or the file that the same with `_FILE` names."""
    secret = environ.get(variable, "")
    path = environ.get(f"{variable}_FILE")
    # An empty variable counts as not set: a Compose file passes on what is not set like that.
    if secret or not path:
        return secret
    return password_in(Path(path), f"{variable}_FILE names {path}, which")


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
            hint="Fix it, or set COUCHDB_USER and COUCHDB_PASSWORD.",
        ) from None
    return (entry[0], entry[2]) if entry else (None, None)
