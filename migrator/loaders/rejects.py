"""The reject file: every document that was not written, with the reason, one JSON object a line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from migrator.errors import ConfigError
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
        self._file: BinaryIO | None = None
        self._size = settled_bytes or 0
        if path is not None and settled_bytes is not None and path.exists():
            self._open(path)

    def write(self, rejects: Sequence[Reject]) -> None:
        """Append them."""
        self.count += len(rejects)
        if self.path is None:
            return
        file = self._file or self._open(self.path)
        try:
            for reject in rejects:
                self._size += file.write(reject_to_line(reject))
        except OSError as error:
            raise ConfigError(f"Reject file {self.path}: {error.strerror}.", hint="Make room, then --resume.") from error

    def flush(self) -> int:
        """Make them durable; the size of the file in bytes."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._size

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, path: Path) -> BinaryIO:
        try:
            if self._settled_bytes is None and path.exists() and path.stat().st_size:
                _check_is_reject_file(path)
                path.replace(path.with_name(path.name + ".1"))
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            self._file = os.fdopen(descriptor, "r+b")
            self._file.truncate(self._size)
            self._file.seek(self._size)
        except OSError as error:
            raise ConfigError(
                f"Reject file {path} cannot be written: {error.strerror}.", hint="Name another with --rejects FILE."
            ) from error
        return self._file


def _check_is_reject_file(path: Path) -> None:
    # What the user named by mistake must not be moved away.
    with path.open("rb") as file:
        line_to_reject(file.readline(MAX_LINE_BYTES).strip(), f"{path}:1")
