"""`migrator wait`: wait until a server answers."""

from __future__ import annotations

import click

from migrator.couch.ready import wait_for_server
from migrator.errors import ConfigError


@click.command()
@click.argument("url")
@click.option(
    "--timeout",
    "timeout_s",
    type=float,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up after this long.",
)
def wait(url: str, timeout_s: float) -> None:
    """Wait until the server at URL is ready; exit 5 when it is not in time.

    No credentials are sent: five failed logins would lock the account.

    \b
    Example:
      migrator wait http://localhost:5984 --timeout 120
    """
    if not timeout_s > 0:
        raise ConfigError(f"--timeout is {timeout_s:g}.", hint="It must be above 0.")
    click.echo(f"{wait_for_server(url, timeout_s)} is ready.")
