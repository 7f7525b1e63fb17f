"""Waits until a server is ready."""

from __future__ import annotations

import time

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.errors import EndpointError, TransientError


def wait_for_server(url: str, timeout_s: float) -> None:
    """Ask again and again until the server is ready.

    Raises:
        EndpointError: it was not ready in time.
    """
    endpoint, _ = parse_endpoint(url, environ={"NETRC": "/dev/null"}, read_timeout_s=min(5.0, timeout_s))
    client = CouchClient(endpoint)
    deadline = time.monotonic() + timeout_s
    reason = "no answer"
    try:
        while True:
            try:
                up = client.call("GET", "_up")
                # A CouchDB says 404 while it is in maintenance and before it is up; other servers know no _up.
                if up.status in {200, 401, 403} or (up.status == 404 and client.call("GET").status in {200, 401}):
                    return
                reason = f"it answers {up.status}"
            except TransientError as error:
                reason = error.message
            if time.monotonic() + 0.25 > deadline:
                raise EndpointError(
                    f"{endpoint.url} was not ready within {timeout_s:g} s: {reason}",
                    hint="Check the address, and the server's log.",
                )
            time.sleep(0.25)
    finally:
        client.close()
