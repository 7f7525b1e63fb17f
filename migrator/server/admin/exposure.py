"""Who can get at a server who should not: admin party, open databases, plain HTTP, ports, and what it binds to."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from migrator.server.admin.connection import Server
from migrator.server.admin.findings import ADVICE, OK, PROBLEM, UNKNOWN, Finding
from migrator.server.admin.secure import is_admin_party, open_to_everybody

# epmd and the first port of Erlang's distribution, through which a cookie gives the whole machine; and the port of
# CouchDB 2's back door.
PORTS = {4369: "epmd (Erlang)", 9100: "Erlang distribution", 5986: "CouchDB 2's node-local port"}
CONNECT_TIMEOUT_S = 1.0
MAX_DATABASES = 200
MAX_NAMED = 5
EVERYWHERE = frozenset({"0.0.0.0", "::", "any"})  # noqa: S104 it is looked for, not bound to


def from_outside(server: Server, *, admin: bool) -> Iterator[Finding]:  # noqa: ARG001 the same for everybody
    """What anybody on the network can see, asked without credentials."""
    remote = not server.endpoint.local
    if is_admin_party(server):
        yield Finding(
            "admin party",
            PROBLEM,
            "everybody is an admin: whoever reaches the port can read, write and delete everything",
            "Add a line under [admins] in local.ini (admin = PASSWORD), and restart the server.",
        )
    else:
        yield Finding("admin party", OK, "who sends no credentials is no admin")
    if remote and server.url.startswith("http:"):
        yield Finding(
            "TLS",
            PROBLEM,
            "another host is spoken to without TLS: passwords and documents can be read on the way",
            f"Put TLS before it (a proxy, or port 6984) and write {server.url.replace('http:', 'https:', 1)}",
        )
    else:
        yield Finding("TLS", OK, "encrypted" if remote else "not needed on this machine")
    if remote:
        yield from _ports(server.endpoint.host)
    with server.client_as() as client:
        told = client.call("GET", "_all_dbs").status == 200
    if told:
        yield Finding(
            "anonymous",
            ADVICE,
            "the names of all databases are told to everybody",
            "Set admin_only_all_dbs = true and require_valid_user = true under [chttpd].",
        )


def _ports(host: str) -> Iterator[Finding]:
    open_ports = [port for port in PORTS if _answers(host, port)]
    for port in open_ports:
        yield Finding(
            "open ports",
            PROBLEM,
            f"port {port} of {host}, {PORTS[port]}, can be reached from here",
            f"Close it to all but the cluster's nodes, as in: ufw deny {port}/tcp",
        )
    if not open_ports:
        yield Finding("open ports", OK, f"{', '.join(map(str, PORTS))} cannot be reached from here")


def _answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S):
        return True
    return False


def from_inside(server: Server, *, admin: bool) -> Iterator[Finding]:
    """What the settings say, for admins."""
    if not admin:
        yield Finding("settings", UNKNOWN, "bind_address and _security are told to admins only")
        return
    yield from _binding(server)
    names = [name for name in server.databases() if not name.startswith("_")]
    openly = []
    for name in names[:MAX_DATABASES]:
        answer = server.client.call("GET", name, "_security")
        if answer.status == 200 and open_to_everybody(answer.json("_security")):
            openly.append(name)
    more = "" if len(names) <= MAX_DATABASES else f" of the first {MAX_DATABASES:,}"
    if not openly:
        yield Finding("_security", OK, "every database has members")
        return
    named = ", ".join(openly[:MAX_NAMED]) + (" and others" if len(openly) > MAX_NAMED else "")
    yield Finding(
        "_security",
        ADVICE,
        f"{len(openly):,} databases{more} name no members, so everybody may read and write them: {named}",
        f"migrator secure {server.url}/{openly[0]} --user NAME",
    )


def _binding(server: Server) -> Iterator[Finding]:
    settings: dict[str, Any] | None = server.setting("chttpd")
    if settings is None:
        yield Finding("bind_address", UNKNOWN, "the server does not tell its settings")
        return
    address, port = settings.get("bind_address", "127.0.0.1"), settings.get("port", "5984")
    if address in EVERYWHERE:
        yield Finding(
            "bind_address",
            ADVICE,
            f"the server listens on every address of its machine, port {port}",
            "Set bind_address under [chttpd] to the one that is needed, or close the port to others.",
        )
    else:
        yield Finding("bind_address", OK, f"{address}, port {port}")
    required = settings.get("require_valid_user") == "true"
    if not required and address not in {"127.0.0.1", "::1"}:
        yield Finding(
            "require_valid_user",
            ADVICE,
            "requests without credentials are served where _security lets them",
            "Set require_valid_user = true under [chttpd].",
        )
