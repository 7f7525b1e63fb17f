"""The proxy between this machine and a server, as http_proxy, https_proxy and no_proxy name it."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from migrator.couch.places import redact
from migrator.errors import ConfigError

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
    if not proxy or _is_local(host) or _is_excepted(host, port or (443 if scheme == "https" else 80), environ):
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


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


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
