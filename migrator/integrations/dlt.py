"""A destination for dlt pipelines: `dlt.pipeline(…, destination=migrator.integrations.dlt.couchdb("http://…"))`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from migrator.checkpoint.reject_file import RejectFile
from migrator.config import JobConfig
from migrator.errors import MigratorError, TransientError
from migrator.extractors.rows import keyed_record
from migrator.jobs.dispatch import StreamWriter
from migrator.naming import counted, was
from migrator.plugins import extra

PIECE_ITEMS = 5_000


def couchdb(
    target: str = "",
    *,
    rejects: str = "migrator-dlt.rejects.ndjson",
    piece_items: int = PIECE_ITEMS,
    **options: Any,
) -> Any:
    """A dlt destination that writes each table to a database of a CouchDB server, nested values and all.

    The `_id` is made of the resource's `primary_key`, several columns joined by `:`; without one, an item keeps
    the `_id` that it has, or gets the hash of its content. A document of other content is replaced, as dlt's
    users expect of a merge; `write_disposition="replace"` removes nothing.

    Args:
        target: TARGET as on the command line; COUCHDB_URL when empty.
        rejects: where rejected documents go. A load package with any fails, after all else of it was written.
        piece_items: items written at once.
        options: further fields of JobConfig, such as `transform` and `on_conflict`.

    Returns:
        The destination, for `dlt.pipeline`.

    Raises:
        ConfigError: dlt is not installed, or an option cannot be.
    """
    with extra("dlt", what="The destination for dlt"):
        import dlt  # an extra
        from dlt.common.destination.exceptions import (
            DestinationTerminalException,
            DestinationTransientException,
        )

    values: dict[str, Any] = {"target": target, "on_conflict": "overwrite", **options}
    values |= {name: tuple(value) for name, value in options.items() if isinstance(value, list)}
    config = JobConfig(**values)

    sink = RejectFile(Path(rejects), shared=True)
    writer = StreamWriter(config, "dlt", sink)
    one_at_a_time = threading.Lock()

    def write(items: Any, table: Any) -> None:
        name = str(table["name"])
        key = [column for column, hints in table.get("columns", {}).items() if hints.get("primary_key")]
        records = [keyed_record(number, item, key, f"item {number}") for number, item in enumerate(items)]
        try:
            # dlt loads several tables at once; a piece has several requests in flight already.
            with one_at_a_time:
                counts = writer.write({name: records}).totals
        except TransientError as error:
            raise DestinationTransientException(str(error)) from error
        except MigratorError as error:
            raise DestinationTerminalException(str(error)) from error
        if counts.rejected:
            raise DestinationTerminalException(
                f"{counts.rejected:,} of {counted(counts.read, 'document')} of {name} {was(counts.rejected)} "
                f"rejected; {was(counts.rejected, 'it is', 'they are')} in {rejects}."
            )

    # Names and nested values stay as they are: documents are what the target is for.
    return dlt.destination(
        write,
        name="couchdb",
        batch_size=piece_items,
        loader_file_format="typed-jsonl",
        naming_convention="direct",
        max_table_nesting=0,
        skip_dlt_columns_and_tables=True,
    )
