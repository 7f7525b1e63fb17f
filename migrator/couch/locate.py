"""What a server's URL names: where the server begins (it may be below a path), which database; is it ready yet.

`http://host/couch` is a server behind a web server, or a database of the server at `http://host`: nothing but the
server knows. So it is asked, once in a process for each URL.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack
from urllib.parse import quote

from migrator import naming
from migrator.config import Connection
from migrator.config.pace import UNLIMITED
from migrator.couch.endpoint import Endpoint, Reach, read_url, redact, too_many_segments
from migrator.couch.places import checked_place, is_server_url
from migrator.errors import ConfigError, EndpointError, TransientError
from migrator.retry.retrier import FIRST_CONTACT, Retrier, is_transient

if TYPE_CHECKING:
    from migrator.couch.client import CouchClient

# A server that is there says so at once.
ASK_TIMEOUT_S = 10.0
_known: dict[tuple[str, tuple[str, ...]], int] = {}


def locate(url: str, *, server_only: bool = False, **reach: Unpack[Reach]) -> tuple[Endpoint, str | None]:
    """Read a server's URL, and ask the server where it begins when the URL has a path.

    Args:
        url: `http(s)://[user:password@]host[:port][/path][/database]`.
        server_only: where nobody answers, a path of several segments, or with a slash at its end, is the server's.
        reach: as in `read_url`. The database of the role "target" must have a legal name.

    Returns:
        The endpoint, and the database's name or None.

    Raises:
        ConfigError: the URL or one of the files cannot be used, or the path leads to no server.
        TransientError: a path of several segments leads to a server that does not answer.
    """
    url = checked_place(url, "The URL")
    if not is_server_url(url):
        raise ConfigError(f"{redact(url) or 'Nothing'} is not a server's URL.", hint="Write http://host:5984.")
    root, segments = read_url(url, **reach)
    if not segments:
        return root, None
    key = (root.url, tuple(segments))
    depth = _known.get(key)
    if depth is None:
        try:
            depth = _depth(root, segments, url)
        except EndpointError:
            if not server_only and len(segments) > 1:
                raise
            # Whoever uses it is told what is wrong with it.
            depth = len(segments) if server_only and (len(segments) > 1 or url.endswith("/")) else 0
    database = segments[depth] if depth < len(segments) else None
    if database is not None and reach.get("role") == "target":
        naming.legal_database(database)
    return below(root, segments[:depth]), database


def client_of(
    config: Connection, url: str, *, role: str, environ: Mapping[str, str] | None, max_connections: int = 8
) -> tuple[CouchClient, str | None]:
    """A client of the server that a URL names, and the database where it names one; the rest is `locate`'s."""
    from migrator.couch.client import CouchClient  # late, for files need none

    endpoint, database = locate(url, config=config, role=role, environ=environ)
    return CouchClient(endpoint, max_connections=max_connections), database


def possible_servers(root: Endpoint, segments: list[str]) -> list[Endpoint]:
    """Where the server of a URL may begin: before the last segment, which is a database then, or after it."""
    return [below(root, segments[:depth]) for depth in _depths(segments)]


def below(root: Endpoint, segments: list[str]) -> Endpoint:
    """The endpoint below a path."""
    return replace(root, url="/".join([root.url, *(quote(segment, safe="") for segment in segments)]))


def _depths(segments: list[str]) -> list[int]:
    return [len(segments) - 1, len(segments)] if segments else [0]


def _depth(root: Endpoint, segments: list[str], url: str) -> int:
    """How many segments belong to the server."""
    alone = len(segments) == 1

    def again(error: BaseException) -> bool:
        # An answer that says nothing is asked for again; where no server answers, the user of the URL says so.
        return is_transient(error) and (not alone or getattr(error, "status", None) is not None)

    depth = Retrier(FIRST_CONTACT).call(
        "ask where the server is", lambda _: _found(root, segments), retry_on=again
    )
    if depth is None and alone:
        # A server at the host itself is the rule.
        return 0
    if depth is None:
        servers = " nor at ".join(endpoint.url for endpoint in possible_servers(root, segments))
        raise too_many_segments(url, f", and there is no CouchDB at {servers}")
    return depth


def _found(root: Endpoint, segments: list[str]) -> int | None:
    maybe: int | None = None
    for depth in _depths(segments):
        answer = _ask(below(root, segments[:depth]), again=len(segments) > 1)
        if answer == "database" and depth == len(segments):
            answer, depth = "server", depth - 1  # noqa: PLW2901 its server is above it
        if answer == "server":
            _known[root.url, tuple(segments)] = depth
            return depth
        if answer == "closed" and maybe is None:
            maybe = depth
    return maybe


def _ask(endpoint: Endpoint, *, again: bool) -> str:
    """What answers at a URL: "server", "database", "closed" for what may be a server, "" for something else.

    Credentials are sent only where nothing is said without them: a wrong password counts at the server.
    """
    answer = _answer(replace(endpoint, user=None, password=None))
    if endpoint.user is not None and (answer == "locked" or (answer == "closed" and again)):
        answer = _answer(endpoint)
    return "" if answer == "locked" else answer


def _answer(endpoint: Endpoint) -> str:
    from migrator.couch.client import CouchClient  # a plain URL needs none

    patience_s = min(ASK_TIMEOUT_S, endpoint.read_timeout_s)
    asked = replace(endpoint, read_timeout_s=patience_s, max_hold_s=patience_s, pace=UNLIMITED)
    with contextlib.closing(CouchClient(asked, max_connections=1)) as client:
        answer = client.call("GET")
    try:
        value = json.loads(answer.body)
    except ValueError:
        value = None
    # Neither a trouble nor the beginning of an answer says what is there.
    torn = value is None and answer.body[:1] == b"{"
    if torn or answer.status >= 500 or answer.status in {408, 429}:
        raise TransientError(f"{endpoint.url} answers {answer.status}.", status=answer.status)
    if not isinstance(value, dict):
        return "locked" if answer.status in {401, 403} else ""
    if answer.status == 200:
        if any(isinstance(value.get(name), str) for name in ("couchdb", "express-pouchdb")):
            return "server"
        return "database" if isinstance(value.get("db_name"), str) else ""
    return "closed" if answer.status in {401, 403} and "error" in value else ""


def wait_for_server(url: str, timeout_s: float) -> str:
    """Ask again and again until the server is ready, and give its URL.

    A URL with a path may name a server below it, or a database: whichever server answers counts.

    Raises:
        ConfigError: it is not the URL of a server.
        EndpointError: it was not ready in time.
    """
    from migrator.couch.client import CouchClient  # late, as above

    brief = Connection(timeout_s=min(5.0, timeout_s))
    root, segments = read_url(checked_place(url, "URL"), environ=_without_credentials(), config=brief)
    servers = possible_servers(root, segments)
    deadline = time.monotonic() + timeout_s
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(CouchClient(server))) for server in servers]
        while True:
            reasons = []
            for client in clients:
                reason = _trouble(client, alone=len(clients) == 1)
                if not reason:
                    return client.url
                reasons.append(reason)
            if time.monotonic() + 0.25 > deadline:
                raise EndpointError(
                    f"{servers[0].url} was not ready within {timeout_s:g} s: {reasons[0]}",
                    hint="Check the address, and the server's log.",
                )
            time.sleep(0.25)


def _trouble(client: CouchClient, *, alone: bool) -> str:
    """Why a server is not ready, "" where it is."""
    try:
        up = client.call("GET", "_up")
        # A web server in front of a CouchDB answers too; only a CouchDB's answers are JSON.
        ours = alone or up.body[:1] == b"{"
        # A CouchDB says 404 while it is in maintenance and before it is up; other servers know no _up.
        if ours and (
            up.status in {200, 401, 403} or (up.status == 404 and client.call("GET").status in {200, 401})
        ):
            return ""
    except TransientError as error:
        return error.message
    return f"it answers {up.status}"


def _without_credentials() -> dict[str, str]:
    """What leads the way to a server, and no more: five failed logins would lock the account."""
    kept = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUEST_METHOD"}
    kept |= {"COUCHDB_CA_FILE", "COUCHDB_CLIENT_CERT", "COUCHDB_CLIENT_KEY"}
    return {"NETRC": os.devnull, **{name: value for name, value in os.environ.items() if name.upper() in kept}}
