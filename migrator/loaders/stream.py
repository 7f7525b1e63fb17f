"""Writes NDJSON to a stream: one collection, one document a line, to standard output, a pipe or a FIFO."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from migrator.config import JobConfig
from migrator.errors import ConfigError, StorageError
from migrator.files.streams import STDOUT, STREAM, open_stream, standard_output
from migrator.model import Batch, Document, Fault, Loader, Outcome, Status
from migrator.model.capabilities import Traits


class StreamLoader(Loader):
    """A target that is written once, from its beginning to its end, and cannot be looked at.

    Args:
        target: `-` for standard output, or the path of a pipe, FIFO or device.
    """

    max_in_flight = 1
    traits = Traits(repeatable=False)

    def __init__(self, target: str) -> None:
        self._target = target
        self._name = STDOUT if target == STREAM else target
        self._collection: str | None = None
        self._file: BinaryIO | None = None

    def describe(self) -> str:
        """The stream."""
        return self._target

    def target_name(self, collection: str) -> str:
        """The stream's own.

        Raises:
            ConfigError: another collection goes there.
        """
        if self._collection not in {None, collection}:
            raise ConfigError(
                f"{self._name.capitalize()} takes one collection, not both {self._collection} and {collection}.",
                hint="Choose one with --collection NAME, or name a folder with --to.",
            )
        self._collection = collection
        return self._name

    def screen(self, id: str, top_level: Document, body: bytes) -> Fault | None:  # noqa: ARG002 (the protocol's)
        """Refuse an empty id; a line can hold everything else."""
        return None if id else Fault("empty_id", "the document has an empty _id")

    def prepare(self, collection: str, mark: int | None) -> None:  # noqa: ARG002 (the protocol's)
        """Open the stream.

        Raises:
            StorageError: it cannot be opened.
        """
        if self._file is not None:
            return
        try:
            if self._target == STREAM:
                self._file = standard_output()
            else:
                self._file = os.fdopen(open_stream(Path(self._target)), "wb", buffering=0)
        except OSError as error:
            raise self._failed(error) from error

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:  # noqa: ARG002 (the protocol's)
        """Write the documents.

        Raises:
            StorageError: the reader has gone, or the disk behind the stream is full.
        """
        left = memoryview(b"".join([document.body + b"\n" for document in batch.documents]))
        try:
            while left and self._file is not None:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._failed(error) from error
        return [Outcome(document.id, Status.WRITTEN) for document in batch.documents]

    def close(self) -> None:
        """Close the stream; standard output stays open for others."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _failed(self, error: OSError) -> StorageError:
        why = "its reader has gone" if isinstance(error, BrokenPipeError) else error.strerror
        return StorageError(
            f"{self._name.capitalize()} cannot be written: {why}.",
            hint="Run the command again with a reader that takes all of it, or name a folder with --to.",
        )


def open_target(
    target: str, config: JobConfig, _names: Mapping[str, str], _environ: Mapping[str, str] | None
) -> Loader:
    """The target that a TARGET names.

    Raises:
        ConfigError: the job goes on from an earlier one.
    """
    if config.resume:
        raise ConfigError(
            "What is written to a pipe cannot be taken up again.", hint="Leave --resume out, or name a folder."
        )
    return StreamLoader(target)
