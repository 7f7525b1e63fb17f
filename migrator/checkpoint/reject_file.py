"""The reject file: every document that was not written, with the reason, one JSON object a line."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from migrator.checkpoint.rejects import (
    HEAD_BYTES,
    MAX_LINE_BYTES,
    is_of_run,
    is_torn,
    line_to_reject,
    reject_to_line,
)
from migrator.codec import PLAIN, ValueCodec
from migrator.errors import ConfigError, LockedError, MigratorError
from migrator.files.durable import keep_older, link_target, refuse_place, sync_folder
from migrator.files.failures import RESUME, write_error, writing
from migrator.files.lock import open_locked
from migrator.files.streams import is_stream, open_stream
from migrator.model import Reject

_OTHER = "name another with --rejects FILE"
_BLOCK_BYTES = 1 << 20


@dataclass(eq=False)
class RejectFile:
    """Appends rejects; the file appears with the first. `path` None keeps none (a dry run).

    A file that another run left is kept as FILE.1, FILE.2 and so on, and one that another run is writing is left
    to it. A symbolic link is followed; a pipe or a device is written to as it is.

    Args:
        path: the file.
        settled_bytes: on resume, how much of it the checkpoint vouches for; what follows is read again and
            would stand there twice, so it is cut off. 0 where nothing of it is this job's.
        settled_digest: of so many bytes, as `digest` gave it; "" where it was not noted.
        run: stands in each line; on resume it tells what this job wrote and never settled from another's rejects.
        values: how a run writes values that JSON lacks.
        databases: the database that was meant by collection, for rejects that do not say it themselves.
        again: the command that writes what is rejected, where `retry` cannot.
        shared: where another run is writing the file, take the next name that is free; for what has no checkpoint.
    """

    path: Path | None
    settled_bytes: int = 0
    settled_digest: str = ""
    run: str = ""
    values: ValueCodec = PLAIN
    databases: Mapping[str, str] = field(default_factory=dict)
    again: str = ""
    shared: bool = False

    def __post_init__(self) -> None:
        self.count = 0
        self._file = -1
        self._size = 0
        self._hash = hashlib.sha256()
        self._durable = True
        self._stream = False
        if self.path is not None:
            # What cannot be is said at the start, not at the first reject.
            self._check(self.path)

    @property
    def kept(self) -> Path | None:
        """The file, where there is one that can be read again."""
        return self.path if self.path is not None and self.path.exists() and not self._stream else None

    @property
    def digest(self) -> str:
        """Of what `flush` told the size of."""
        return self._hash.hexdigest()[:32] if self._size else ""

    def write(self, rejects: Sequence[Reject]) -> None:
        """Append them."""
        if self.path is None:
            self.count += len(rejects)
            return
        if self._file < 0:
            self._open(self.path)
        lines = [reject_to_line(self._completed(reject), self.values, run=self.run) for reject in rejects]
        self._durable = False
        with self._writing():
            try:
                self._append(lines)
            except OSError:
                # Half a batch of rejects must not stand there when the batch is read again.
                if not self._stream:
                    with contextlib.suppress(OSError):
                        os.ftruncate(self._file, self._size)
                        os.lseek(self._file, self._size, os.SEEK_SET)
                        if not self._size:
                            link_target(self.path).unlink()
                            self.close()
                raise
        if not self._stream:
            for line in lines:
                self._size += len(line)
                self._hash.update(line)
        self.count += len(rejects)

    def flush(self) -> int:
        """Make them durable; the size of the file in bytes."""
        if self._file >= 0 and not self._durable and not self._stream:
            with self._writing():
                os.fsync(self._file)
            self._durable = True
        return self._size

    def close(self) -> None:
        """Close the file, so that another run can write it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _completed(self, reject: Reject) -> Reject:
        database = reject.database or self.databases.get(reject.collection, "")
        return reject._replace(database=database, again=reject.again or self.again)

    def _append(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            left = memoryview(line)
            while left:
                left = left[os.write(self._file, left) :]

    def _check(self, path: Path) -> None:
        check_rejects_path(path, content=not self.settled_bytes)
        if is_stream(path):
            self._stream = True
            with self._writing():
                self._file = open_stream(path)
        elif path.exists() and self.settled_bytes:
            self._open(path)
        elif path.exists() and not self.shared:
            with self._writing():
                os.close(self._locked(link_target(path)))

    def _open(self, path: Path) -> None:
        while True:
            try:
                with self._writing():
                    self._take(link_target(path))
            except LockedError:
                if not self.shared:
                    raise
                path = self.path = _next_to(path)
            except MigratorError:
                self.close()
                raise
            else:
                return

    def _take(self, real: Path) -> None:
        self._file = self._locked(real)
        size = os.fstat(self._file).st_size
        if size and not self.settled_bytes and not is_of_run(os.pread(self._file, HEAD_BYTES, 0), self.run):
            # Ours alone from here on; whoever waits for the lock finds another file under the name.
            keep_older(real)
            self.close()
            self._file = self._locked(real)
            size = os.fstat(self._file).st_size
        # Taken away meanwhile, it begins again: a gap would not be a line.
        self._size = min(self.settled_bytes, size)
        if self._size and not self._is_as_it_was():
            raise ConfigError(
                f"Reject file {self.path} was changed since the checkpoint was made.",
                hint="Move it elsewhere, then go on with --resume.",
            )
        os.ftruncate(self._file, self._size)
        os.lseek(self._file, self._size, os.SEEK_SET)
        sync_folder(real.parent)

    def _locked(self, real: Path) -> int:
        """Open the file and hold it for this run.

        Raises:
            LockedError: another run is writing it.
        """
        try:
            # Of a file system without locks nobody can say who writes there.
            return open_locked(real, needed=False)
        except BlockingIOError:
            raise LockedError(
                f"Another run is writing the reject file {self.path}.", hint="Name another with --rejects FILE."
            ) from None

    def _is_as_it_was(self) -> bool:
        """True when the file begins with what the checkpoint vouches for, as far as that is known."""
        self._hash = hashlib.sha256()
        left = self._size
        last = b""
        while left and (block := os.pread(self._file, min(left, _BLOCK_BYTES), self._size - left)):
            self._hash.update(block)
            left -= len(block)
            last = block[-1:]
        return last == b"\n" and self.settled_digest in {"", self.digest}

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing(self.path or "", what="Reject file", instead=_OTHER, again=RESUME)


def check_rejects_path(path: Path, *, content: bool = True) -> None:
    """Say at the start what cannot be, not at the first reject.

    Args:
        path: the reject file.
        content: what is there must be a reject file too, as it is going to make room.

    Raises:
        ConfigError: rejects cannot go there.
    """
    if str(path) == "-":
        raise ConfigError(
            "Rejects cannot go to standard output, which has the result.",
            hint="Name a file, a pipe or /dev/stderr with --rejects.",
        )
    refuse_place(path, what="Reject file", instead=_OTHER)
    if content and not is_stream(path):
        _check_is_reject_file(path)


def file_digest(path: Path, size: int) -> str:
    """The `RejectFile.digest` of a file's first bytes; "" for a shorter one."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size and (block := file.read(min(size, _BLOCK_BYTES))):
            digest.update(block)
            size -= len(block)
    return "" if size else digest.hexdigest()[:32]


def _next_to(path: Path) -> Path:
    """The next free name of a row: r, r.1, r.2."""
    stem, dot, number = path.name.rpartition(".")
    begin, name = (int(number), stem) if dot and number.isdecimal() else (0, path.name)
    names = (path.with_name(f"{name}.{following}") for following in count(begin + 1))
    return next(each for each in names if not os.path.lexists(each))


def _check_is_reject_file(path: Path) -> None:
    # What the user named by mistake must not be moved away.
    try:
        with path.open("rb") as file:
            first = file.readline(MAX_LINE_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise write_error(error, path, what="Reject file", instead=_OTHER, again=RESUME) from error
    try:
        if first and not is_torn(first):
            line_to_reject(first.strip(), f"{path}:1")
    except ConfigError:
        raise ConfigError(
            f"{path} exists and is not a reject file, so it is not replaced.",
            hint="Name another with --rejects FILE.",
        ) from None
