"""`migrator compact`: give back the space of old revisions."""

from __future__ import annotations

from typing import Any

import click

from migrator.cli import options


@click.command()
@click.argument("url")
@click.option(
    "--database",
    "patterns",
    metavar="PATTERN",
    multiple=True,
    help="Only databases whose names match, as in 'orders_*'. May be given more than once.",
)
@click.option("--dry-run", is_flag=True, help="Show sizes, and do nothing.")
@options.json_option
@options.connection_options
@options.log_options
def compact(
    url: str,
    patterns: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Compact the databases of a server (or one: URL/database) and their views, and remove stale index files.

    Waits until the server is done. Reading and writing go on meanwhile. Admins only.

    \b
    Examples:
      migrator compact http://localhost:5984 --database 'orders_*'
      migrator compact http://localhost:5984/orders --dry-run
    """
    from migrator.cli.admin_options import opened, print_json
    from migrator.server.admin import compact

    with opened(url, values) as (server, database):
        done = compact.compact(server, database, patterns, dry_run=dry_run)
    if as_json:
        print_json(compact.compacted_to_json(done, dry_run=dry_run))
    else:
        click.echo(compact.compacted_to_text(done, dry_run=dry_run), nl=False)
