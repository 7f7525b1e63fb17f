"""What the commands about a server share: opening it with the connection flags, and printing JSON."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from migrator.cli import options
from migrator.cli.flags import given
from migrator.config import Connection

if TYPE_CHECKING:
    from migrator.server.admin.connection import Server


@contextlib.contextmanager
def opened(
    url: str, values: Mapping[str, Any], *, role: str = "target", defaults: Connection | None = None
) -> Iterator[tuple[Server, str | None]]:
    """The server that a URL names and the database, if any; closed afterwards, stopped by signals."""
    from migrator.server.admin.connection import open_server

    connection = replace(defaults or Connection(), **given(Connection, values))
    with options.stoppable() as stopping, options.listening(values) as listener:
        server, database = open_server(url, config=connection, role=role, listener=listener, stopping=stopping)
        try:
            yield server, database
        finally:
            server.close()


def print_json(value: Any) -> None:
    """Print a result as JSON."""
    from migrator.report.summary import dump

    click.echo(dump(value), nl=False)
