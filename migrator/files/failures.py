"""What to say where a file cannot be written: one message and one exit code for every command.

A path that is wrong is the user's mistake (2). A disk that is full, over its quota, read-only, closed to this user
or failing is a target that cannot be used (5): make room, and go on.
"""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import IO

from migrator.errors import ConfigError, MigratorError, StorageError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_WRONG_PATH = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG}
    | {errno.ELOOP, errno.EINVAL, errno.EXDEV}
)

ANOTHER_TMPDIR = "name another folder for temporary files with TMPDIR"
AGAIN = "run the same command again"
RESUME = "go on with --resume"


def write_error(
    error: OSError,
    path: str | PathLike[str],
    *,
    what: str = "",
    instead: str = "name another",
    again: str = AGAIN,
    done: str = "written",
) -> MigratorError:
    """Translate an error of the system that a write ended with.

    Args:
        error: the error.
        path: what was being written, for people.
        what: its kind as the sentence's first word, such as "Report"; "" for the path alone.
        instead: how another place is named, such as "name another with --report FILE".
        again: how the work is gone on with once there is room.
        done: what was being done, where it was not writing.

    Returns:
        The error to raise: StorageError, or ConfigError where the path itself is wrong.
    """
    reason = error.strerror or str(error) or type(error).__name__
    sentence = f"{what} {path} cannot be {done}: {reason}.".lstrip()
    if error.errno in _FULL:
        return StorageError(sentence, hint=f"Make room, or {instead}; then {again}.")
    if error.errno in _CLOSED:
        return StorageError(sentence, hint=f"Make it writable, or {instead}; then {again}.")
    if error.errno in _WRONG_PATH:
        return ConfigError(sentence, hint=f"{instead[:1].upper()}{instead[1:]}.")
    return StorageError(sentence, hint=f"Check the disk, or {instead}; then {again}.")


def storage_failure(error: BaseException) -> MigratorError | None:
    """Translate an error of the system that nobody has translated, where it can only be about writing a file.

    Temporary files are made in many places, and a full disk meets each of them.
    """
    if not isinstance(error, OSError) or error.errno not in _FULL | {errno.EROFS}:
        return None
    place = error.filename or f"A temporary file in {tempfile.gettempdir()}"
    return write_error(error, place, instead=ANOTHER_TMPDIR)


def temporary_file() -> contextlib.AbstractContextManager[None]:
    """Translate what writing a file of the system's folder for temporary ones ends with."""
    return writing(tempfile.gettempdir(), instead=ANOTHER_TMPDIR)


def put_on_disk(pieces: Iterable[bytes], file: IO[bytes]) -> None:
    """Write pieces to a temporary file; what ends their reading is not translated."""
    for piece in pieces:
        with temporary_file():
            file.write(piece)
    with temporary_file():
        file.flush()


@contextlib.contextmanager
def temporary_folder(prefix: str, where: Path | None = None) -> Iterator[Path]:
    """A folder for what does not fit into memory, removed afterwards.

    Args:
        prefix: of its name.
        where: the folder that it is made in; the system's own for such by default.

    Raises:
        StorageError: there is no room, or no right to write.
        ConfigError: there is no such folder.
    """
    instead = ANOTHER_TMPDIR if where is None else "name another place"
    with writing(where or tempfile.gettempdir(), instead=instead):
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=where)
    with folder as path:
        yield Path(path)


@contextlib.contextmanager
def writing(
    path: str | PathLike[str], *, what: str = "", instead: str = "name another", again: str = AGAIN
) -> Iterator[None]:
    """Translate what writing in this block ends with; the arguments are `write_error`'s.

    Raises:
        StorageError: the disk is full, read-only, over its quota, or does not work.
        ConfigError: the path is wrong.
    """
    try:
        yield
    except OSError as error:
        raise write_error(error, path, what=what, instead=instead, again=again) from error


def password_in(path: Path, what: str) -> str:
    """The password that a file holds.

    Args:
        path: the file.
        what: what it is, for people.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{what} cannot be read: {reason}.", hint="Check path and rights.") from None
