"""Waits until a server is ready."""

from __future__ import annotations

import contextlib
import os
import time

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import read_url
from migrator.couch.locate import possible_servers
from migrator.couch.places import checked_place
from migrator.errors import EndpointError, TransientError


def wait_for_server(url: str, timeout_s: float) -> str:
    """Ask again and again until the server is ready, and give its URL.

    A URL with a path may name a server below it, or a database: whichever server answers counts.

    Raises:
        ConfigError: it is no server's URL.
        EndpointError: it was not ready in time.
    """
    root, segments = read_url(
        checked_place(url, "URL"), environ=_without_credentials(), read_timeout_s=min(5.0, timeout_s)
    )
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
        if ours and (up.status in {200, 401, 403} or (up.status == 404 and _greets(client))):
            return ""
    except TransientError as error:
        return error.message
    return f"it answers {up.status}"


def _greets(client: CouchClient) -> bool:
    return client.call("GET").status in {200, 401}


def _without_credentials() -> dict[str, str]:
    """What leads the way to a server, and no more: five failed logins would lock the account."""
    kept = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUEST_METHOD"}
    kept |= {"COUCHDB_CA_FILE", "COUCHDB_CLIENT_CERT", "COUCHDB_CLIENT_KEY"}
    return {"NETRC": os.devnull, **{name: value for name, value in os.environ.items() if name.upper() in kept}}
