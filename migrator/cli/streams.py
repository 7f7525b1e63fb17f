"""Standard output and standard error that cannot fail: a text that cannot be written never undoes the work."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO, cast

from migrator.cli.messages import say
from migrator.errors import StorageError

_ESCAPED = "migrator.escaped"
_CLOSED = "it is closed"


class SafeStream:
    """A text stream that takes everything and fails at nothing; the first failure is kept.

    Characters that the stream's encoding lacks are written as JSON spells them, so that a JSON text stays one.

    Args:
        stream: where the text goes; None where there is nothing, as with `>&-`.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.failure: str | None = _CLOSED if stream is None else None
        self.reader_gone = False
        self.lost = False
        self._stream = stream

    def write(self, text: str | bytes) -> int:
        """Write what can be written; bytes, which click has for a shell's completion, are UTF-8."""
        if isinstance(text, bytes):
            if not text:
                # So click finds out that this is a stream of text.
                raise TypeError("text, not bytes")
            text = text.decode("utf-8", "replace")
        if self._stream is None or self.failure is not None:
            self.lost = self.lost or bool(text)
            return len(text)
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding or "ascii"
                self._stream.write(text.encode(encoding, _ESCAPED).decode(encoding))
        except (OSError, ValueError) as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        if self._stream is None or self.failure is not None:
            return
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def isatty(self) -> bool:
        """True where a person watches."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream is not None and self.failure is None and self._stream.isatty()
        return False

    def close(self) -> None:
        """It stays open for whoever else writes to it."""

    @property
    def encoding(self) -> str:
        """The stream's own."""
        return self._stream.encoding if self._stream is not None else "utf-8"

    @property
    def errors(self) -> str:
        """How what cannot be encoded is written."""
        return _ESCAPED

    def fileno(self) -> int:
        """The stream's own."""
        if self._stream is None:
            raise OSError(errno.EBADF, "The stream is closed")
        return self._stream.fileno()

    def _give_up(self, error: Exception) -> None:
        if isinstance(error, BlockingIOError):
            # The reader is slow, and whoever opened the stream wanted no waiting: only this text is lost.
            self.lost = True
            return
        self.failure = getattr(error, "strerror", None) or _CLOSED
        self.reader_gone = isinstance(error, BrokenPipeError)
        self.lost = True
        # What the stream still holds would fail once more when the process ends, and change its exit code.
        with contextlib.suppress(OSError, ValueError):
            descriptor = self.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)

    def confirm(self) -> None:
        """Where what was written is all that was wanted, it must not be lost; a reader that has gone had enough.

        Raises:
            StorageError: it is lost.
        """
        self.flush()
        if self.lost and not self.reader_gone:
            self.lost = False
            raise StorageError(
                f"Standard output cannot be written: {self.reason}.",
                hint="Make room, or send it elsewhere; then run the same command again.",
            )

    @property
    def reason(self) -> str:
        """Why something was lost, for people."""
        return self.failure or "its reader is too slow"


class ClosedInput(io.StringIO):
    """Standard input where there is none: empty for who just reads, an error for who wants to know."""

    @property
    def buffer(self) -> BinaryIO:
        """No bytes."""
        return io.BytesIO()

    def fileno(self) -> int:
        """There is none."""
        raise OSError(errno.EBADF, "Standard input is closed")


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Let nothing that is written to standard output and standard error in this block fail.

    At its end it is said on standard error where a result on standard output was lost.
    """
    codecs.register_error(_ESCAPED, _escaped)
    _occupy_descriptors()
    before = sys.stdin, sys.stdout, sys.stderr
    if sys.stdin is None:
        sys.stdin = cast("Any", ClosedInput())
    out, err = SafeStream(sys.stdout), SafeStream(sys.stderr)
    sys.stdout, sys.stderr = cast("Any", out), cast("Any", err)
    try:
        yield
    finally:
        out.flush()
        if out.lost and not out.reader_gone:
            say(
                f"Standard output cannot be written: {out.reason}. "
                "Its text is lost; the work ended as the exit code says.",
                "error",
            )
        err.flush()
        sys.stdin, sys.stdout, sys.stderr = before


def _occupy_descriptors() -> None:
    """Open 0, 1 and 2 where they are closed: else the next file gets the number, and logs are written into it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)), error.end
