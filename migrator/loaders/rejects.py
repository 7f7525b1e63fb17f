"""The reject file: every document that was not written, with the reason, one JSON object a line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from migrator.checkpoint import sync_folder
from migrator.errors import ConfigError, EndpointError
from migrator.model import Reject
from migrator.rejects import MAX_LINE_BYTES, line_to_reject, reject_to_line


class RejectFile:
    """Appends rejects; the file appears with the first. `path` None keeps none (a dry run).

    Args:
        path: the file.
        settled_bytes: on resume, how much of it the checkpoint vouches for; what follows is read again and
            would stand there twice, so it is cut off. None for a fresh start: an older file is kept as FILE.1.
    """

    def __init__(self, path: Path | None, settled_bytes: int | None = None) -> None:
        self.path = path
        self.count = 0
        self._settled_bytes = settled_bytes
        self._file: FileIO | None = None
        self._size = 0
        self._durable = True
        if path is not None and settled_bytes is not None and path.exists():
            self._open(path)

    def write(self, rejects: Sequence[Reject]) -> None:
        """Append them."""
        if self.path is None:
            self.count += len(rejects)
            return
        file = self._file or self._open(self.path)
        before = self._size
        self._durable = False
        try:
            for reject in rejects:
                left = memoryview(reject_to_line(reject))
                while left:
                    written = file.write(left)
                    self._size += written
                    left = left[written:]
        except OSError as error:
            # Half a batch of rejects must not stand there when the batch is read again.
            self._size = before
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise self._failed(error) from error
        self.count += len(rejects)

    def flush(self) -> int:
        """Make them durable; the size of the file in bytes."""
        if self._file is not None and not self._durable:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise self._failed(error) from error
            self._durable = True
        return self._size

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, path: Path) -> FileIO:
        try:
            if self._settled_bytes is None and path.exists() and path.stat().st_size:
                _check_is_reject_file(path)
                path.replace(path.with_name(path.name + ".1"))
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            # Unbuffered, so that a full disk shows where it is written, not where it is closed.
            self._file = FileIO(descriptor, "r+")
            # Taken away meanwhile, it begins anew: a gap would be no line.
            self._size = min(self._settled_bytes or 0, os.fstat(descriptor).st_size)
            if self._size and os.pread(descriptor, 1, self._size - 1) != b"\n":
                raise ConfigError(
                    f"Reject file {path} was changed since the checkpoint was made.",
                    hint="Move it elsewhere, then go on with --resume.",
                )
            self._file.truncate(self._size)
            self._file.seek(self._size)
            sync_folder(path.parent)
        except OSError as error:
            raise ConfigError(
                f"Reject file {path} cannot be written: {error.strerror}.",
                hint="Name another with --rejects FILE.",
            ) from error
        return self._file

    def _failed(self, error: OSError) -> EndpointError:
        return EndpointError(
            f"Reject file {self.path} cannot be written: {error.strerror}.",
            hint="Make room, then go on with --resume.",
        )


def _check_is_reject_file(path: Path) -> None:
    # What the user named by mistake must not be moved away.
    with path.open("rb") as file:
        first = file.readline(MAX_LINE_BYTES).strip()
    try:
        line_to_reject(first, f"{path}:1")
    except ConfigError:
        raise ConfigError(
            f"{path} exists and is no reject file, so it is not replaced.",
            hint="Name another with --rejects FILE.",
        ) from None
