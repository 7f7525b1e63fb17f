"""What to say where a file cannot be written: one message and one exit code for every command.

A path that is wrong is the user's mistake (2). A disk that is full, over its quota, read-only, closed to this user
or failing is a target that cannot be used (5): make room, and go on.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from os import PathLike

from migrator.errors import ConfigError, MigratorError, StorageError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_WRONG_PATH = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG}
    | {errno.ELOOP, errno.EINVAL, errno.EXDEV}
)

AGAIN = "run the same command again"
RESUME = "go on with --resume"


def write_error(
    error: OSError, path: str | PathLike[str], *, what: str = "", instead: str = "name another", again: str = AGAIN
) -> MigratorError:
    """Translate an error of the system that a write ended with.

    Args:
        error: the error.
        path: what was being written, for people.
        what: its kind as the sentence's first word, such as "Report"; "" for the path alone.
        instead: how another place is named, such as "name another with --report FILE".
        again: how the work is gone on with once there is room.

    Returns:
        The error to raise: StorageError, or ConfigError where the path itself is wrong.
    """
    reason = error.strerror or str(error) or type(error).__name__
    sentence = f"{what} {path} cannot be written: {reason}.".lstrip()
    if error.errno in _FULL:
        return StorageError(sentence, hint=f"Make room, or {instead}; then {again}.")
    if error.errno in _CLOSED:
        return StorageError(sentence, hint=f"Make it writable, or {instead}; then {again}.")
    if error.errno in _WRONG_PATH:
        return ConfigError(sentence, hint=f"{instead[:1].upper()}{instead[1:]}.")
    return StorageError(sentence, hint=f"Check the disk, or {instead}; then {again}.")


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
