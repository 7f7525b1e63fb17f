"""`migrator doctor`: what is wrong with a server, and what to type next."""

from __future__ import annotations

import sys
from typing import Any

import click

from migrator.cli import options
from migrator.cli.flags import flags
from migrator.config import Connection
from migrator.errors import EXIT_DIFFERENCES, EXIT_UNREACHABLE

# A server that is examined because it is ill is not waited for.
DEFAULTS = Connection(max_attempts=2, max_outage_s=15.0)


@click.command()
@click.argument("url")
@click.option(
    "--no-probe", is_flag=True, help="Write nothing, not even into a scratch database that is removed after."
)
@click.option("--dry-run", is_flag=True, help="The same as --no-probe.")
@options.json_option
@flags(DEFAULTS)
@options.log_options
def doctor(
    url: str,
    no_probe: bool,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Check the server at URL (or URL/database): reachable, credentials, rights, disk, sizes, clock, exposure.

    Each finding has its remedy. Credentials are tried once, so no account is locked by it.
    Exit 0 when nothing needs fixing, 4 when something does, 5 when the server cannot be used at all.

    \b
    Examples:
      migrator doctor http://localhost:5984
      migrator doctor https://db.example.com/orders --json
    """
    from migrator.cli.admin_options import opened, print_json
    from migrator.server.admin.doctor import examine
    from migrator.server.admin.findings import diagnosis_to_text

    with opened(url, values, defaults=DEFAULTS) as (server, database):
        diagnosis = examine(server, database, probe=not (no_probe or dry_run))
    if as_json:
        print_json(diagnosis.as_dict())
    else:
        click.echo(diagnosis_to_text(diagnosis), nl=False)
    if not diagnosis.reachable:
        sys.exit(EXIT_UNREACHABLE)
    if not diagnosis.ok:
        sys.exit(EXIT_DIFFERENCES)
