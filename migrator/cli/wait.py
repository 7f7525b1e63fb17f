"""`migrator wait`: wait until a server answers."""

from __future__ import annotations

import time

import click

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.errors import ConfigError, EndpointError, TransientError


@click.command()
@click.argument("url")
@click.option(
    "--timeout", "timeout_s", type=float, default=60.0, show_default=True, metavar="SECONDS", help="Give up after."
)
def wait(url: str, timeout_s: float) -> None:
    """Wait until the server at URL is ready; exit 5 when it is not in time.

    No credentials are sent: five failed logins would lock the account.

    Example:
    \b
      migrator wait http://localhost:5984 --timeout 120
    """
    if not timeout_s > 0:
        raise ConfigError(f"--timeout is {timeout_s:g}.", hint="It must be above 0.")
    named, _ = parse_endpoint(url, environ={"NETRC": "/dev/null"})
    wait_for_server(named.url, timeout_s)
    click.echo(f"{named.url} is ready.")


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
