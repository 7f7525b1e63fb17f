"""A lock file: one process holds it, and the system lets go of it when that process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from migrator.errors import ConfigError, LockedError
from migrator.files.failures import write_error


@contextlib.contextmanager
def held(path: Path, *, what: str, instead: str, elsewhere: str) -> Iterator[None]:
    """Hold a lock file.

    Args:
        path: the lock file; it is removed afterwards.
        what: what it stands for, for people.
        instead: what else than waiting can be done while another run holds it.
        elsewhere: how another place is named, where none can be made here.

    Raises:
        LockedError: another process holds it.
        StorageError: there is no room for a lock file, or no right to write it.
        ConfigError: there can be none in this place.
    """
    try:
        descriptor = open_locked(path)
    except BlockingIOError:
        holder = ""
        with contextlib.suppress(OSError):
            holder = path.read_bytes()[:32].decode("ascii", "replace").strip()
        raise LockedError(
            f"Another run{f' (process {holder})' if holder else ''} holds {what}.",
            hint=f"Wait for it to end, or {instead}.",
        ) from None
    except OSError as error:
        if error.filename is not None:
            raise write_error(
                error, path, what="The lock file", instead=f"name another place {elsewhere}"
            ) from error
        raise ConfigError(
            f"{path} cannot be locked: {error.strerror}.",
            hint=f"Name a place on another file system {elsewhere}.",
        ) from error
    try:
        # Who holds it is good to know; a disk that has no room for it is not a reason to stop here.
        with contextlib.suppress(OSError):
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # Still held: whoever opened this very file meanwhile finds it gone and makes a new one.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def open_locked(path: Path, *, needed: bool = True) -> int:
    """Open a file, which is made where it is missing, and hold it for as long as it is open.

    Args:
        path: the file; no link is followed.
        needed: refuse a file system without locks; else the file is opened all the same.

    Returns:
        The descriptor, of what stands under that name now.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be opened, or, where the error names no file, not be locked.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if not needed and not isinstance(error, BlockingIOError):
                return descriptor
            os.close(descriptor)
            raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)
