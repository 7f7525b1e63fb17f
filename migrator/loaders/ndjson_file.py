"""One NDJSON file in the making: compared with an old one, or written as a part until it is complete."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from migrator.checkpoint.target_guard import RESTART
from migrator.errors import ConfigError, EndpointError, TargetReplaced
from migrator.files.durable import create_file, link_target, publish, sync_folder
from migrator.files.failures import RESUME, writing
from migrator.model import Batch, EncodedDocument, Outcome, Status

_BLOCK_BYTES = 1 << 20
_CHECK_BITS = 20
_CHECK_MASK = (1 << _CHECK_BITS) - 1
_START_OVER = "start over with --restart: a complete file that is there already is compared, not written again."


class NdjsonFile:
    """One collection's file: either the old one is being compared with, or the part is being written.

    A mark is the number of bytes so far and 20 bits of their CRC-32, `bytes << 20 | check`. Those are the part's;
    of an old file, as long as it is equal, the mark is `-1 - (bytes << 20 | check)`. Going on from a mark is
    possible only where the bytes before it are still those; so a part that was swapped or cut is found out.

    Args:
        path: the final name.
        overwrite: replace an old file that differs.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self._path = link_target(path)
        self._part = self._path.with_name(f"{self._path.name}.part")
        self._overwrite = overwrite
        self._old: BinaryIO | None = None
        self._file = -1
        self._length = 0
        self._check = 0
        self._lines = 0
        self._last: tuple[Batch, list[Outcome]] | None = None

    def open(self, mark: int | None) -> None:
        """Begin, or go on from a mark.

        Raises:
            CheckpointError: the files are not those that the mark was made with.
            OSError: they cannot be opened.
        """
        try:
            self._open(mark)
        except BaseException:
            self.close()
            raise

    def _open(self, mark: int | None) -> None:
        writing = mark is not None and mark >= 0
        packed = 0 if mark is None else mark if mark >= 0 else -1 - mark
        length, check = packed >> _CHECK_BITS, packed & _CHECK_MASK
        if writing and self._part.exists():
            self._file = os.open(self._part, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._go_on(self._part, length, check)
            os.ftruncate(self._file, length)
            return
        if mark is not None or self._path.exists():
            # With a mark of the part, the run ended after the part got its final name and before that was noted.
            if not self._path.exists():
                raise _not_as_it_was(self._part if writing else self._path, "is gone")
            self._part.unlink(missing_ok=True)
            self._old = self._path.open("rb")
            self._go_on(self._part if writing else self._path, length, check)
            return
        self._part.unlink(missing_ok=True)
        self._create()

    def _go_on(self, path: Path, length: int, check: int) -> None:
        """Read what is before the mark, and make sure that it is the same still."""
        with open(self._file if self._old is None else self._old.fileno(), "rb", closefd=False) as file:
            while self._length < length and (block := file.read(min(_BLOCK_BYTES, length - self._length))):
                self._passed(block)
        if self._length < length:
            raise _not_as_it_was(path, "is shorter than it was")
        if self._check & _CHECK_MASK != check:
            raise _not_as_it_was(path, "was changed")
        if self._old:
            self._old.seek(length)

    def load(self, batch: Batch) -> list[Outcome]:
        """Append the documents, or find them equal; all of them or, where an error is raised, none."""
        if self._last and batch == self._last[0]:
            return self._last[1]
        documents = batch.documents
        old = self._old
        before = self._length, self._check, self._lines
        try:
            equal = self._compare(documents)
            if equal < len(documents):
                if self._old:
                    self._replace_old()
                self._write(b"".join([document.body + b"\n" for document in documents[equal:]]))
        except BaseException:
            self._length, self._check, self._lines = before
            self._roll_back(old)
            raise
        if old and not self._old:
            old.close()
        outcomes = [Outcome(document.id, Status.UNCHANGED) for document in documents[:equal]]
        outcomes += [Outcome(document.id, Status.WRITTEN) for document in documents[equal:]]
        self._last = (batch, outcomes)
        return outcomes

    def flush(self) -> int:
        """Put the part on disk and give the mark."""
        packed = self._length << _CHECK_BITS | self._check & _CHECK_MASK
        self._refuse_other()
        if self._old:
            return -1 - packed
        with self._writing():
            os.fsync(self._file)
        return packed

    def finish(self) -> None:
        """Give the part its final name, or leave an old file that is equal."""
        if self._old:
            if not self._old.read(1):
                self._refuse_other()
                self.close()
                return
            with self._old:
                self._replace_old()
        self.flush()
        self.close()
        with self._writing():
            publish(self._part, self._path)

    def close(self) -> None:
        """Close the files and leave them as they are."""
        if self._old:
            self._old.close()
            self._old = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _refuse_other(self) -> None:
        """Make sure that what is open is what stands there under its name."""
        path, descriptor = (self._path, self._old.fileno()) if self._old else (self._part, self._file)
        try:
            found = os.fstat(descriptor)
            # It is written at its end: what was cut off meanwhile shows in its size, and is not a hole in it.
            if os.path.samestat(found, path.stat()) and (self._old or found.st_size == self._length):
                return
            what = "was replaced" if self._old or found.st_size == self._length else "was changed by somebody else"
        except OSError:
            what = "is gone"
        raise TargetReplaced(f"{path} {what} while it was written.", hint=_START_OVER.capitalize(), flag=RESTART)

    def _create(self) -> None:
        self._file = create_file(self._part, append=True)
        sync_folder(self._part.parent)

    def _compare(self, documents: Sequence[EncodedDocument]) -> int:
        """Say how many of the documents are the existing file's next lines."""
        if not self._old:
            return 0
        text = b"".join([document.body + b"\n" for document in documents])
        if self._old.read(len(text)) == text:
            self._passed(text)
            return len(documents)
        self._old.seek(self._length)
        for equal, document in enumerate(documents):
            line = document.body + b"\n"
            found = self._old.read(len(line))
            # The last line may lack its end.
            if found not in (line, document.body):
                self._old.seek(self._length)
                return equal
            self._passed(found)
        return len(documents)

    def _replace_old(self) -> None:
        """Stop comparing: begin a part with what was equal so far."""
        assert self._old
        if not self._overwrite:
            raise ConfigError(
                f"{self._path} exists already and differs from the source in line {self._lines + 1}.",
                hint="Replace it with --on-conflict overwrite, or write to another folder.",
            )
        old, length = self._old, self._length
        with self._writing():
            self._part.unlink(missing_ok=True)
            self._create()
        self._old = None
        self._length = self._check = self._lines = 0
        old.seek(0)
        block = b""
        while self._length < length:
            block = old.read(min(_BLOCK_BYTES, length - self._length))
            if not block:
                raise EndpointError(f"{self._path} was cut short while it was read.", hint="Run again.")
            self._write(block)
        if block[-1:] not in (b"", b"\n"):
            self._write(b"\n")

    def _roll_back(self, old: BinaryIO | None) -> None:
        """Go back to `_length`, in what was the file then."""
        if old:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
                self._part.unlink(missing_ok=True)
            self._old = old
            old.seek(self._length)
        else:
            os.ftruncate(self._file, self._length)

    def _write(self, text: bytes) -> None:
        left = memoryview(text)
        with self._writing():
            while left:
                left = left[os.write(self._file, left) :]
        self._passed(text)

    def _passed(self, text: bytes) -> None:
        self._length += len(text)
        self._lines += text.count(b"\n")
        self._check = zlib.crc32(text, self._check)

    def _writing(self) -> AbstractContextManager[None]:
        return writing(self._part, instead="name another folder", again=RESUME)


def _not_as_it_was(path: Path, what: str) -> TargetReplaced:
    return TargetReplaced(
        f"{path} {what} since the checkpoint was made.",
        hint=f"Put it back as it was, or {_START_OVER}",
        flag=RESTART,
    )
