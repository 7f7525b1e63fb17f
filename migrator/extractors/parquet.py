"""Reads Parquet through pyarrow: row group by row group, a batch of rows at a time."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.arrow_values import finer, values_of
from migrator.extractors.base import FileExtractor, factory, parse_position
from migrator.extractors.find import find_files
from migrator.extractors.lines import BLOCK_BYTES, TextFile
from migrator.extractors.remote import AnyPath, FilePath, file_path
from migrator.extractors.rows import row_record
from migrator.files.failures import writing
from migrator.model import Position, Record
from migrator.naming import shown

# Rows held at once.
ROWS = 500
# A page that has a checksum must fit it, or bits that fell over would be written as values.
_READING: dict[str, Any] = {"buffer_size": 1 << 20, "pre_buffer": False, "page_checksum_verification": True}
SUFFIXES = (".parquet", ".parq")
_KIND = "a Parquet file's"


class ParquetExtractor(FileExtractor):
    """A `.parquet` file, or a folder with one for each collection.

    A row is a document of its columns. A position is `<row group>:<rows so far in it>`.

    Args:
        path: the file or folder.
        collections: which to read, in this order; all, sorted by name, where None.
    """

    def __init__(self, path: AnyPath, *, collections: Sequence[str] | None = None) -> None:
        place = file_path(path)
        super().__init__(place, find_files(place, SUFFIXES, any_name=True), collections)

    def count(self, collection: str) -> int | None:
        """As the file's footer says."""
        with self._opened(collection) as file:
            return int(file.metadata.num_rows)

    def describe_position(self, collection: str, position: Position) -> str:
        """File, row group and row, from 0."""
        group, row = parse_position(position, _KIND)
        return f"{self._files[collection]} row group {group}, row {row - 1}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield a record for each row.

        Raises:
            CheckpointError: the file is not the one that `after` was taken from.
            ConfigError: the file is damaged, or no Parquet.
        """
        path = self._files[collection]
        begin, done = (0, 0) if after is None else parse_position(after, _KIND)
        with self._opened(collection) as file:
            groups = file.metadata.num_row_groups
            if after is not None and (begin >= groups or done > file.metadata.row_group(begin).num_rows):
                raise CheckpointError(
                    f"{path} is not the file that the checkpoint was made with.",
                    hint="Put the old file back, or start over with --restart.",
                )
            if after is not None and done == file.metadata.row_group(begin).num_rows:
                # So that a group that is through is not read again to be passed over.
                begin, done = begin + 1, 0
            for group in range(begin, groups):
                row = 0
                with _translated(path):
                    for batch in self._batches(file, path, group):
                        skipped = min(batch[0].num_rows, max(0, done - row)) if group == begin else 0
                        row += skipped
                        for found in _rows(*(each.slice(skipped) for each in batch)):
                            row += 1
                            place = f"{path} row group {group}, row {row - 1}"
                            id = found.get("_id")
                            yield row_record(f"{group}:{row}", place, found, id if isinstance(id, str) else "")
                if row != file.metadata.row_group(group).num_rows:
                    raise ConfigError(
                        f"{path} is damaged: its row group {group} should have "
                        f"{file.metadata.row_group(group).num_rows} rows, and {row} can be read.",
                        hint="Fetch or make it again.",
                    )

    def bounds(self, collection: str, parts: int, min_rows: int) -> list[str]:
        """Positions at row groups' ends that divide a file into about so many parts."""
        with self._opened(collection) as file:
            sizes = [int(file.metadata.row_group(n).num_rows) for n in range(file.metadata.num_row_groups)]
        found: list[str] = []
        done = last = 0
        for group, size in enumerate(sizes[:-1]):
            done += size
            if done * parts >= sum(sizes) * (len(found) + 1) and done - last >= min_rows:
                found.append(f"{group}:{size}")
                last = done
        return found

    def size(self, collection: str) -> int:
        """The number of rows."""
        return self.count(collection) or 0

    def _batches(self, file: pq.ParquetFile, path: FilePath, group: int) -> Iterator[tuple[pa.RecordBatch, ...]]:
        """The batches of a row group; where it has the old times of 96 bits, each once more in microseconds."""
        batches = file.iter_batches(ROWS, row_groups=[group])
        schema = file.schema
        if all(schema.column(number).physical_type != "INT96" for number in range(len(schema))):
            yield from ((batch,) for batch in batches)
            return
        # In nanoseconds, years before 1677 and after 2262 would come as others, without a word.
        with (
            _random_access(path) as text,
            pq.ParquetFile(text, coerce_int96_timestamp_unit="us", **_READING) as coarse,
        ):
            yield from zip(batches, coarse.iter_batches(ROWS, row_groups=[group]), strict=True)

    @contextlib.contextmanager
    def _opened(self, collection: str) -> Iterator[pq.ParquetFile]:
        path = self._files[collection]
        with contextlib.ExitStack() as stack:
            with _translated(path):
                # Through a buffer, so that a row group's columns are not held as a whole.
                file = stack.enter_context(pq.ParquetFile(stack.enter_context(_random_access(path)), **_READING))
                names = file.schema_arrow.names
            twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
            if twice:
                raise ConfigError(
                    f"{path} has two columns {shown(twice[0])}, of which a document can have one.",
                    hint="Rename one where the file is made.",
                )
            yield file


@contextlib.contextmanager
def _random_access(path: FilePath) -> Iterator[str | BinaryIO]:
    """What a library opens that jumps in a file: its name, or a file elsewhere, copied where no jump is possible.

    Raises:
        StorageError: there is no room for the copy.
    """
    if isinstance(path, Path):
        yield str(path)
    elif path.look.in_parts and not path.packings:
        with path.open() as file:
            yield file
    else:
        with tempfile.TemporaryFile() as copy, TextFile(path) as text:
            with writing(tempfile.gettempdir(), what=f"The copy of {path} in", instead="set TMPDIR"):
                shutil.copyfileobj(io.BufferedReader(text), copy, BLOCK_BYTES)  # type: ignore[type-var]
            copy.seek(0)
            yield copy


@contextlib.contextmanager
def _translated(path: FilePath) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise ConfigError(f"{path} cannot be read: {reason}.", hint="Fetch or make it again.") from error


def _rows(batch: pa.RecordBatch, coarse: pa.RecordBatch | None = None) -> Iterator[dict[str, Any]]:
    """The rows, with an `Unreadable` for each value that cannot be given.

    Args:
        batch: the rows.
        coarse: the same in microseconds, which counts where nanoseconds cannot hold a time.
    """
    names = batch.schema.names
    columns = [values_of(column) for column in batch.columns]
    if coarse is not None:
        columns = [finer(fine, values_of(same)) for fine, same in zip(columns, coarse.columns, strict=True)]
    if not columns:
        yield from ({} for _ in range(batch.num_rows))
    for row in zip(*columns, strict=True):
        yield dict(zip(names, row, strict=True))


open_source = factory(ParquetExtractor, "parquet")
