"""Tells pipes, sockets and devices from files, and opens them for writing without waiting for ever."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

# Whoever reads a named pipe may start just after us.
_WAIT_FOR_READER_S = 10.0


def is_stream(path: Path) -> bool:
    """True of what takes bytes and keeps none: pipes, devices, and names of open files such as /dev/stderr."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode):
        return True
    # The name of a file that is open already, such as /dev/stderr: whoever opened it says what becomes of it.
    return stat.S_ISREG(mode) and str(path).startswith(("/dev/fd/", "/dev/std", "/proc/"))


def open_stream(path: Path) -> int:
    """Open a pipe or a device for writing; its descriptor.

    Raises:
        OSError: it cannot be opened, or nobody reads the pipe.
    """
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
