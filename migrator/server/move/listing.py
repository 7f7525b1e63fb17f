"""Opens the listing of one database of a server, in bounded memory; several databases are listed side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from migrator.couch.changes import BEGINNING
from migrator.couch.leaves import LeafReader
from migrator.files.failures import temporary_folder
from migrator.server.admin.connection import Server

MEMORY_BYTES = 8_000_000
PARALLEL = 2


@contextlib.contextmanager
def listed(server: Server, database: str, since: str = BEGINNING) -> Iterator[LeafReader]:
    """A reader of the leaves that changed after a sequence; its listing is removed afterwards."""
    with (
        temporary_folder("migrator-listing-") as folder,
        closing(
            LeafReader(
                server.client,
                database,
                server.retrier,
                folder=Path(folder),
                since=since,
                max_memory_bytes=MEMORY_BYTES,
                parallel=PARALLEL,
            )
        ) as reader,
    ):
        yield reader
