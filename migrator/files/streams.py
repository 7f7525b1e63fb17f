"""Pipes, sockets and devices: told from files, opened for writing without waiting for ever, and copied.

What reads a file reads it more than once: for its kind, for its identity, and again after a fault. So what can be
read once is read from a copy, made in bounded memory; one copy serves all who ask for the same stream.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import re
import select
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

from migrator.errors import ConfigError, Interrupted, MigratorError, StorageError
from migrator.files.failures import write_error

STREAM = "-"
"""Standard input as a source, standard output as a target."""
STDIN = "standard input"
STDOUT = "standard output"
# Whoever reads a named pipe may start just after us.
_WAIT_FOR_READER_S = 10.0
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/(?:stdin|stdout|stderr|fd/\d+)|/proc/(?:self|\d+)/fd/\d+")

_BLOCK_BYTES = 1 << 18
_POLL_S = 0.2
_PACKED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
_copies: dict[tuple[object, ...], Path] = {}


def is_stream(path: str | PathLike[str]) -> bool:
    """True of what can be read or written once: `-`, pipes, devices, and names of open files as /dev/stderr."""
    if is_descriptor(path):
        return True
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def is_descriptor(path: str | PathLike[str]) -> bool:
    """True of a stream that this process holds open: whoever opened it says what becomes of it."""
    text = os.fspath(path)
    return text == STREAM or _DESCRIPTOR.fullmatch(text) is not None


def is_standard_output(target: str) -> bool:
    """True of a target whose documents go where results would go."""
    return target in {STREAM, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}


def shown(text: str) -> str:
    """The name of a stream that is read, for people."""
    return STDIN if text in {STREAM, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"} else text


def standard_output() -> BinaryIO:
    """Standard output for bytes, unbuffered; it is not closed with what is given here.

    Raises:
        ConfigError: it is closed.
    """
    try:
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    except io.UnsupportedOperation:
        # Not the process's own, but one that somebody put in its place.
        return io.BufferedWriter(_Kept(sys.stdout.buffer), 1)
    except OSError as error:
        raise ConfigError(f"{STDOUT.capitalize()} is closed.", hint="Name a file or folder with --to.") from error


def open_stream(path: Path) -> int:
    """Open a pipe or a device for writing; its descriptor.

    Raises:
        OSError: it cannot be opened, or nobody reads the pipe.
    """
    # The descriptor that a name such as /dev/stderr or /dev/fd/63 stands for.
    match = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", str(path))
    number = int(match[1]) if match else _STANDARD.get(str(path))
    if number is not None:
        with contextlib.suppress(OSError):
            # Opened once more, a file would be written from its beginning, over what else goes there.
            return os.dup(number)
    end = time.monotonic() + _WAIT_FOR_READER_S
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > end:
                raise OSError(errno.ENXIO, "nobody reads this pipe") from None
            time.sleep(0.05)
        else:
            os.set_blocking(descriptor, True)
            return descriptor


def open_output(target: str) -> BinaryIO:
    """Open the stream that a target names for bytes, unbuffered; `writing_to` says what cannot be.

    Raises:
        OSError: it cannot be opened, or nobody reads the pipe.
    """
    return standard_output() if target == STREAM else os.fdopen(open_stream(Path(target)), "wb", buffering=0)


@contextlib.contextmanager
def writing_to(target: str, *, instead: str) -> Iterator[None]:
    """Translate what opening and writing a stream in this block ends with.

    Args:
        target: the stream.
        instead: what else `--to` can name, such as "a folder".

    Raises:
        StorageError: the reader has gone, or the disk behind the stream is full.
    """
    try:
        yield
    except OSError as error:
        why = "its reader has gone" if isinstance(error, BrokenPipeError) else error.strerror
        raise StorageError(
            f"{STDOUT.capitalize() if target == STREAM else target} cannot be written: {why}.",
            hint=f"Run the command again with a reader that takes all of it, or name {instead} with --to.",
        ) from error


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write to an output without a buffer, which may take a part at a time."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


class _Kept(io.RawIOBase):
    """Another stream's face, which closing does not close."""

    def __init__(self, inner: BinaryIO) -> None:
        self._inner = inner

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: Any) -> int:
        """Hand on."""
        return self._inner.write(data)


def stem_of(text: str) -> str:
    """The name of the collection that a stream brings: a FIFO's own name, else `stdin`."""
    if is_descriptor(text):
        return "stdin"
    return Path(text).name


def copied(
    text: str,
    name: str,
    *,
    stopping: threading.Event | None = None,
    write: Callable[[Iterator[bytes], Path], Path] | None = None,
) -> Path:
    """Copy a stream to a temporary file, which is removed when the process ends.

    A descriptor of this process is read once, and its copy is given to whoever asks again; a FIFO brings something
    else to each reader. `.gz` or `.zst` is put after the name where the bytes are packed.

    Args:
        text: the stream.
        name: the file's name.
        stopping: set it to stop waiting for more.
        write: puts what comes under the path that it is given, where that is not one file; gives where it is.

    Raises:
        ConfigError: it cannot be opened.
        StorageError: there is no room for the copy.
        Interrupted: it was asked to stop.
    """
    with _opened(text) as file:
        key = _key(text, file, name)
        if key is not None and key in _copies:
            return _copies[key]
        folder = _folder(text)
        atexit.register(_remove, folder)
        try:
            path = (write or _copy)(_blocks(text, file, stopping or threading.Event()), folder / name)
        except OSError as error:
            _remove(folder)
            raise _no_room(error, text, folder / name) from error
        except BaseException:
            _remove(folder)
            raise
    if key is not None:
        _copies[key] = path
    return path


def released(path: Path) -> None:
    """Remove a copy that nobody asks for again; that of a descriptor stays until the process ends."""
    if path.parent not in {copy.parent for copy in _copies.values()}:
        _remove(path.parent)


def _opened(text: str) -> BinaryIO:
    if shown(text) == STDIN:
        try:
            return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
        except (io.UnsupportedOperation, AttributeError, ValueError):
            pass
        except OSError as error:
            raise ConfigError(
                f"{STDIN.capitalize()} is closed.", hint="Name a file, or pipe something in."
            ) from error
        return io.BytesIO(sys.stdin.buffer.read())
    try:
        # Without waiting: a FIFO that nobody writes to must not keep a signal from ending this.
        descriptor = os.open(text, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(
            f"{text} cannot be read: {error.strerror}.",
            hint="Look at what it is, or write what it gives to a file.",
        ) from error
    return os.fdopen(descriptor, "rb", buffering=0)


def _key(text: str, file: BinaryIO, name: str) -> tuple[object, ...] | None:
    if not is_descriptor(text) or isinstance(file, io.BytesIO):
        return None
    found = os.fstat(file.fileno())
    return (name, text, found.st_dev, found.st_ino, found.st_size if stat.S_ISREG(found.st_mode) else -1)


def _copy(blocks: Iterator[bytes], path: Path) -> Path:
    """Copy all there is to a file, whose name says at its end how it is packed."""
    head = b""
    with path.open("xb") as copy:
        for block in blocks:
            if len(head) < 4:
                head += block[:4]
            copy.write(block)
    packing = next((suffix for magic, suffix in _PACKED.items() if head.startswith(magic)), "")
    if packing and not path.name.lower().endswith(packing):
        path = path.rename(path.with_name(f"{path.name}{packing}"))
    return path


def _blocks(text: str, file: BinaryIO, stopping: threading.Event) -> Iterator[bytes]:
    while block := _read(text, file, stopping):
        yield block


def _read(text: str, file: BinaryIO, stopping: threading.Event) -> bytes:
    if isinstance(file, io.BytesIO):
        return file.read(_BLOCK_BYTES)
    while not select.select([file], [], [], _POLL_S)[0]:
        if stopping.is_set():
            raise Interrupted(f"Stopped while {shown(text)} was read; nothing was written.")
    try:
        return os.read(file.fileno(), _BLOCK_BYTES)
    except BlockingIOError:
        return _read(text, file, stopping)
    except OSError as error:
        raise ConfigError(
            f"{shown(text)} cannot be read: {error.strerror}.", hint="Look at the command that writes to it."
        ) from error


def _folder(text: str) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="migrator-stream-"))
    except OSError as error:
        raise _no_room(error, text, Path(error.filename or "TMPDIR")) from error


def _no_room(error: OSError, text: str, path: Path) -> MigratorError:
    instead = "set TMPDIR to a folder on a larger disk"
    return write_error(error, path, what=f"The copy of {shown(text)},", instead=instead)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
