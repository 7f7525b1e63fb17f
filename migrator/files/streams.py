"""Tells pipes, sockets and devices from files, and opens them for writing without waiting for ever."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import sys
import time
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

from migrator.errors import ConfigError

STREAM = "-"
"""Standard input as a source, standard output as a target."""
STDIN = "standard input"
STDOUT = "standard output"
# Whoever reads a named pipe may start just after us.
_WAIT_FOR_READER_S = 10.0
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/(?:stdin|stdout|stderr|fd/\d+)|/proc/(?:self|\d+)/fd/\d+")


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


def _open_already(path: Path) -> int | None:
    """The descriptor that a name such as /dev/stderr or /dev/fd/63 stands for."""
    text = str(path)
    if text in _STANDARD:
        return _STANDARD[text]
    match = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", text)
    return int(match[1]) if match else None


def open_stream(path: Path) -> int:
    """Open a pipe or a device for writing; its descriptor.

    Raises:
        OSError: it cannot be opened, or nobody reads the pipe.
    """
    number = _open_already(path)
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
