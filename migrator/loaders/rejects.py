"""The reject file: every document that was not written, with the reason, one JSON object a line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from migrator.errors import ConfigError, MigratorError
from migrator.files.durable import sync_folder
from migrator.files.failures import RESUME, write_error
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
        self._file = -1
        self._size = 0
        self._durable = True
        if path is None:
            return
        # What cannot be is said at the start, not at the first reject.
        if not path.parent.is_dir():
            raise ConfigError(
                f"Reject file {path} cannot be written: there is no folder {path.parent}.",
                hint="Make it, or name another with --rejects FILE.",
            )
        if settled_bytes is None:
            _check_is_reject_file(path)
        elif path.exists():
            self._open(path)

    def write(self, rejects: Sequence[Reject]) -> None:
        """Append them."""
        if self.path is None:
            self.count += len(rejects)
            return
        if self._file < 0:
            self._open(self.path)
        before = self._size
        self._durable = False
        try:
            for reject in rejects:
                left = memoryview(reject_to_line(reject))
                while left:
                    written = os.write(self._file, left)
                    self._size += written
                    left = left[written:]
        except OSError as error:
            # Half a batch of rejects must not stand there when the batch is read again.
            self._size = before
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
                os.lseek(self._file, before, os.SEEK_SET)
            raise self._failed(error) from error
        self.count += len(rejects)

    def flush(self) -> int:
        """Make them durable; the size of the file in bytes."""
        if self._file >= 0 and not self._durable:
            try:
                os.fsync(self._file)
            except OSError as error:
                raise self._failed(error) from error
            self._durable = True
        return self._size

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self, path: Path) -> None:
        try:
            if self._settled_bytes is None and path.exists() and path.stat().st_size:
                path.replace(path.with_name(path.name + ".1"))
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            # Taken away meanwhile, it begins anew: a gap would be no line.
            self._size = min(self._settled_bytes or 0, os.fstat(self._file).st_size)
            if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":
                self.close()
                raise ConfigError(
                    f"Reject file {path} was changed since the checkpoint was made.",
                    hint="Move it elsewhere, then go on with --resume.",
                )
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            sync_folder(path.parent)
        except OSError as error:
            self.close()
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> MigratorError:
        instead = "name another with --rejects FILE"
        return write_error(error, self.path or "", what="Reject file", instead=instead, again=RESUME)


def _check_is_reject_file(path: Path) -> None:
    # What the user named by mistake must not be moved away.
    try:
        with path.open("rb") as file:
            first = file.readline(MAX_LINE_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(
            f"Reject file {path} cannot be written: {error.strerror}.", hint="Name another with --rejects FILE."
        ) from error
    try:
        if first:
            line_to_reject(first.strip(), f"{path}:1")
    except ConfigError:
        raise ConfigError(
            f"{path} exists and is no reject file, so it is not replaced.",
            hint="Name another with --rejects FILE.",
        ) from None
