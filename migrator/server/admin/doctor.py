"""The doctor: looks at a server from outside and inside, and names a remedy for whatever is not as it should be.

Also who can get at the server who should not: admin party, open databases, plain HTTP, ports, what it binds to.

It logs in once. When the server refuses, nothing more is sent with these credentials: five failures lock an
account.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from migrator.couch.credentials import IAM
from migrator.couch.responses import Answer
from migrator.couch.revision import compiled_terms, rule_holds
from migrator.couch.validate import DEFAULT_MAX_DOCUMENT_BYTES
from migrator.errors import EndpointError, Forbidden, MigratorError, Unauthorized
from migrator.naming import counted, was
from migrator.server.admin import probes
from migrator.server.admin.connection import UNLIMITED, Server
from migrator.server.admin.probes import ADVICE, OK, PROBLEM, UNKNOWN, UNREACHABLE, Diagnosis, Finding
from migrator.server.admin.secure import is_admin_party, open_to_everybody

# epmd and the first port of Erlang's distribution, through which a cookie gives the whole machine; and the port of
# CouchDB 2's back door.
PORTS = {4369: "epmd (Erlang)", 9100: "Erlang distribution", 5986: "CouchDB 2's node-local port"}
CONNECT_TIMEOUT_S = 1.0
MAX_DATABASES = 200
MAX_NAMED = 5
EVERYWHERE = frozenset({"0.0.0.0", "::", "any"})  # noqa: S104 it is looked for, not bound to
MAX_SKEW_S = 5.0
OLDEST_SUPPORTED = (3, 0)


def examine(server: Server, database: str | None = None, *, probe: bool = True) -> Diagnosis:
    """Look at a server.

    Args:
        server: the server.
        database: look at its conflicts and rights; those of all databases are sampled without one.
        probe: write too, into a scratch database that is removed after.
    """
    findings: list[Finding] = []
    shown = server.url
    greeting, found = _reach(server)
    findings += found
    if greeting is None:
        return Diagnosis(shown, tuple(findings))
    findings += _version(greeting)
    found, let_in, admin = _log_in(server)
    findings += found
    findings += _guarded("exposure", lambda: from_outside(server))
    if not let_in:
        return Diagnosis(shown, tuple(findings))
    findings += _guarded("max_document_size", lambda: _max_document_size(server, admin=admin))
    findings += _guarded("disk", lambda: probes.disk(server, admin=admin))
    findings += _guarded("settings", lambda: from_inside(server, admin=admin))
    if database is not None:
        findings += _guarded("rights", lambda: _rights(server, database))
    findings += _guarded("conflicts", lambda: probes.conflicts(server, database))
    if probe:
        findings += _guarded("writes", lambda: probes.writing(server))
    return Diagnosis(shown, tuple(findings))


def _guarded(check: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What a check finds; that it cannot be made is a finding too."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except MigratorError as error:
        found.append(Finding(check, UNKNOWN, f"not to be told: {error.message}", error.hint))
    return found


def _reach(server: Server) -> tuple[Answer | None, list[Finding]]:
    """The first answer, asked for without credentials."""
    started = time.time()
    try:
        with server.client_as() as client:
            answer = client.call("GET")
            if answer.status == 200:
                client.welcome()
    except EndpointError as error:
        message = error.message.removeprefix(f"{server.url}: ")
        return None, [Finding("reachable", UNREACHABLE, message, error.hint or f"migrator wait {server.url}")]
    middle = (started + time.time()) / 2
    return answer, [
        Finding("reachable", OK, f"{server.url} answers in {(time.time() - started) * 1000:.0f} ms"),
        *_clock(answer, middle),
    ]


def _clock(answer: Answer, now_s: float) -> Iterator[Finding]:
    try:
        date = parsedate_to_datetime(answer.headers.get("Date") or "")
    except ValueError:
        yield Finding("clock", UNKNOWN, "the server tells no time")
        return
    # The header has whole seconds.
    skew = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() + 0.5 - now_s
    if abs(skew) <= MAX_SKEW_S:
        yield Finding("clock", OK, "the server's clock and this machine's agree")
        return
    here = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
    yield Finding(
        "clock",
        PROBLEM,
        f"the server's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's ({here})",
        "Set both by NTP: timedatectl set-ntp true. Sessions, JWTs and --newer-field compare times.",
    )


def _version(answer: Answer) -> Iterator[Finding]:
    value = answer.json("The greeting") if answer.status == 200 else {}
    text = str(value.get("version", ""))
    if "express-pouchdb" in value:
        yield Finding("version", ADVICE, "this is PouchDB Server, not CouchDB", "It is for trying things out.")
    elif not (parts := re.match(r"(\d+)\.(\d+)", text)):
        yield Finding("version", UNKNOWN, "the server tells its version to nobody without credentials")
    elif (int(parts[1]), int(parts[2])) < OLDEST_SUPPORTED:
        remedy = "Move to 3.x: migrator plan-server --help"
        yield Finding("version", PROBLEM, f"CouchDB {text} is out of support", remedy)
    else:
        yield Finding("version", OK, f"CouchDB {text}")
    if isinstance(value, dict) and rule_holds(value):
        how = "compiled code" if compiled_terms else "Python, as no C compiler was there at the installation"
        yield Finding("revisions", OK, f"they prove documents without reading them; computed here by {how}")


def _log_in(server: Server) -> tuple[list[Finding], bool, bool]:
    """The findings, whether more may be asked with these credentials, and whether they are an admin's."""
    endpoint = server.endpoint
    if endpoint.user is None:
        remedy = "Set COUCHDB_USER and COUCHDB_PASSWORD_FILE, and run this again."
        return [Finding("credentials", ADVICE, "none were given, so little can be told", remedy)], True, False
    try:
        answer = server.ask("Logging in", "GET", "_session")
    except Unauthorized as error:
        remedy = "Check COUCHDB_USER and COUCHDB_PASSWORD; this was one failure, and five lock the account."
        remedy = error.hint if endpoint.auth == IAM else remedy
        return [Finding("credentials", UNREACHABLE, error.message, remedy)], False, False
    except Forbidden as error:
        locked = "locked" in error.message.lower()
        remedy = (
            f"Stop whatever uses an old password, wait five minutes, then: migrator doctor {server.url}"
            if locked
            else "Ask the server's admin for the right."
        )
        check = "account locked" if locked else "credentials"
        return [Finding(check, UNREACHABLE, error.message, remedy)], False, False
    except EndpointError as error:
        return [Finding("credentials", UNREACHABLE, error.message, error.hint)], False, False
    context = answer.json("_session").get("userCtx") or {}
    roles = context.get("roles") or []
    who = f"{context.get('name') or endpoint.user} with the roles {', '.join(roles) or '(none)'}"
    return [Finding("credentials", OK, f"logged in as {who}")], True, "_admin" in roles


def _max_document_size(server: Server, *, admin: bool) -> Iterator[Finding]:
    size = server.limits().document_bytes if admin else None
    if size is None:
        yield Finding("max_document_size", UNKNOWN, f"not told; usual is {DEFAULT_MAX_DOCUMENT_BYTES:,} bytes")
    elif size < DEFAULT_MAX_DOCUMENT_BYTES:
        yield Finding(
            "max_document_size",
            ADVICE,
            f"documents over {size:,} bytes are refused; {DEFAULT_MAX_DOCUMENT_BYTES:,} is usual",
            f"Raise it under [couchdb], or see what cannot go: migrator plan-server --from URL --to {server.url}",
        )
    else:
        yield Finding("max_document_size", OK, "no limit" if size == UNLIMITED else f"{size:,} bytes")


def _rights(server: Server, database: str) -> Iterator[Finding]:
    answer = server.client.call("GET", database)
    if answer.status == 200:
        yield Finding("rights", OK, f"{database} may be read")
    elif answer.status == 404:
        remedy = f"Check the name: curl {server.url}/_all_dbs"
        yield Finding("rights", PROBLEM, f"there is no database {database}", remedy)
    else:
        error, reason = answer.error()
        yield Finding(
            "rights",
            PROBLEM,
            f"{server.endpoint.user or 'nobody'} may not read {database}: {error} ({reason})",
            f"As an admin: migrator secure {server.url}/{database} --user {server.endpoint.user or 'NAME'}",
        )


def from_outside(server: Server) -> Iterator[Finding]:
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
        yield Finding("admin party", OK, "who sends no credentials is not an admin")
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
        f"{counted(len(openly), 'database')}{more} {was(len(openly), 'names', 'name')} no members, "
        f"so everybody may read and write there: {named}",
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
