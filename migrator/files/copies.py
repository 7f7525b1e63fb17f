"""Copies of streams: what can be read once is read from a copy, as often as somebody wants.

What reads a file reads it more than once: for its kind, for its identity, and again after a fault. The copy is
made in bounded memory; one copy serves all who ask for the same stream.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import select
import stat
import sys
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO

from migrator.errors import ConfigError, Interrupted, MigratorError
from migrator.files.failures import write_error
from migrator.files.streams import STDIN, is_descriptor, shown

_BLOCK_BYTES = 1 << 18
_POLL_S = 0.2
_PACKED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
_copies: dict[tuple[object, ...], Path] = {}


def stem_of(text: str) -> str:
    """The name of the collection that a stream brings: a FIFO's own name, else `stdin`."""
    if is_descriptor(text):
        return "stdin"
    return Path(text).name


def copied(text: str, name: str, *, stopping: threading.Event | None = None) -> Path:
    """Copy a stream to a temporary file, which is removed when the process ends.

    A descriptor of this process is read once, and its copy is given to whoever asks again; a FIFO brings something
    else to each reader. `.gz` or `.zst` is put after the name where the bytes are packed.

    Args:
        text: the stream.
        name: the file's name.
        stopping: set it to stop waiting for more.

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
        path = folder / name
        head = _copy(text, file, path, stopping or threading.Event())
    packing = next((suffix for magic, suffix in _PACKED.items() if head.startswith(magic)), "")
    if packing and not name.lower().endswith(packing):
        path = path.rename(path.with_name(f"{name}{packing}"))
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


def _copy(text: str, file: BinaryIO, path: Path, stopping: threading.Event) -> bytes:
    """Copy all there is, and give the first bytes."""
    head = b""
    try:
        with path.open("xb") as copy:
            while block := _read(text, file, stopping):
                if len(head) < 4:
                    head += block[:4]
                copy.write(block)
    except OSError as error:
        raise _no_room(error, text, path) from error
    return head


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
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
