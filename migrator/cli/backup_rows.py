"""What commands that look into backups share: rows as a table or as lines of JSON, and bytes into a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from migrator.cli.backup_options import readable
from migrator.cli.messages import AS_JSON, asked, print_text, say
from migrator.errors import ConfigError
from migrator.naming import printable, shown
from migrator.report.summary import table

if TYPE_CHECKING:
    from migrator.backup.catalog import Catalog
    from migrator.backup.contents import StoredDocument
    from migrator.errors import DamagedBackup

R = TypeVar("R")
ROWS = "Print a line of JSON for each row, as it is found."
MAX_ROWS = 1_000
"""So many rows are aligned with each other; those after them are a table of their own."""

MAX_WAIT_S = 0.1


def print_rows(
    rows: Iterable[R],
    head: Sequence[str],
    cells: Callable[[R], Sequence[str]],
    line: Callable[[R], Mapping[str, Any]],
    *,
    left: int = 3,
) -> int:
    """Print rows as they come, as tables for people or as a line of JSON each; how many there were.

    Args:
        rows: any number of them.
        head: the table's.
        cells: a row of it.
        line: a row for programs.
        left: how many columns are words.
    """
    as_json = asked(AS_JSON)

    def printed(some: Sequence[R]) -> int:
        if some and as_json:
            click.echo("\n".join(json.dumps(line(row)) for row in some))
        elif some:
            print_text(table([head, *map(cells, some)], left=left) + "\n")
        return len(some)

    count = 0
    some: list[R] = []
    last = time.monotonic()
    for row in rows:
        some.append(row)
        # A line that others follow at once waits for them: printing each alone takes longer than all else.
        if len(some) >= MAX_ROWS or (as_json and time.monotonic() - last > MAX_WAIT_S):
            count += printed(some)
            some, last = [], time.monotonic()
    return count + printed(some)


def cells(document: StoredDocument) -> Sequence[str]:
    """A document's revision, state, numbers of conflicts and attachments, and size."""
    winner = document.winner
    if winner is None:
        return "", "not read", "", "", ""
    state = "deleted" if winner.deleted else ""
    numbers = f"{len(document.conflicts):,}", f"{len(winner.attachments):,}"
    return winner.rev, state, *(each if each != "0" else "" for each in numbers), readable(len(winner.body))


def one_database(catalog: Catalog, name: str) -> str:
    """The one database that a name means.

    Raises:
        ConfigError: it means none, or several.
    """
    found = catalog.chosen([name])
    if len(found) > 1:
        names = ", ".join(map(printable, found[:20]))
        raise ConfigError(f"{shown(name)} means {len(found):,} databases.", hint=f"Name one of them: {names}.")
    return found[0]


def say_broken(broken: Mapping[str, DamagedBackup]) -> None:
    """Name the databases that could not be read."""
    for database, error in broken.items():
        say(f"{printable(database)}: {error.message}", "warning")


def write_bytes(pieces: Iterable[bytes], path: str) -> None:
    """Write into a file that is there whole or not at all, or to standard output where none is named.

    Raises:
        StorageError: it cannot be written.
        DamagedBackup: the bytes are not those that were stored; what went to standard output is to be thrown away.
    """
    from migrator.files.durable import replacing  # as below: a page of help needs none of this
    from migrator.files.failures import writing
    from migrator.files.streams import STDOUT, standard_output

    if path:
        with writing(path, instead="name another file with --output"), replacing(Path(path)) as file:
            file.writelines(pieces)
        return
    with writing(STDOUT, instead="name a file with --output"), standard_output() as file:
        file.writelines(pieces)
