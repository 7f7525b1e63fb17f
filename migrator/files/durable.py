"""Writes files whole and durably: a temporary file beside the name, flushed to disk, renamed, its folder flushed.

A kill or a loss of power at any moment leaves the old file or the new one, and an error leaves the old one and
nothing else. Files are private to their owner. A symbolic link stays and the file it names is replaced; a pipe or
a device is written to as it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO, Any, BinaryIO

from migrator.errors import ConfigError
from migrator.files.streams import is_stream

PRIVATE = 0o600
"""The mode of every file: what is written names documents, databases and people."""
PRIVATE_FOLDER = 0o700
_BLOCK_BYTES = 1 << 20
# File systems that cannot flush a folder say so with these; there is nothing more to do there.
_NO_FOLDER_FLUSH = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})

# File systems without hard links say so with these.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


def replace_file(path: Path, data: bytes | memoryview | str, *, keep_mode: bool = False) -> None:
    """Write a file whole and durably in place of what is there.

    Args:
        path: where; a symbolic link is followed.
        data: the content; text is written as UTF-8.
        keep_mode: leave mode and group as an existing file has them, for a file that others are meant to read.

    Raises:
        OSError: it cannot be written; what was there is unchanged.
    """
    with replacing(path, keep_mode=keep_mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def replacing(path: Path, *, keep_mode: bool = False) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends well; the arguments are `replace_file`'s.

    Raises:
        OSError: it cannot be written; what was there is unchanged.
    """
    found = None
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
    if found is not None and not stat.S_ISREG(found.st_mode):
        # A pipe or a device takes the bytes itself; a folder is an error that names it.
        with path.open("wb") as file:
            yield file
        return
    target = link_target(path)
    temporary = target.with_name(f".{target.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb", buffering=_BLOCK_BYTES) as file:
            _set_mode(descriptor, found if keep_mode else None)
            yield file
            flush_to_disk(file)
        publish(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def create_file(path: Path, *, readable: bool = False, append: bool = False) -> int:
    """Make a new private file and give its descriptor; nothing that stands there is opened or followed.

    Args:
        path: where.
        readable: open it for reading too.
        append: write at its end, wherever that is then.

    Raises:
        OSError: it is there already, or cannot be made.
    """
    access = (os.O_RDWR if readable else os.O_WRONLY) | (os.O_APPEND if append else 0)
    return os.open(path, access | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)


def create_whole(path: Path, data: bytes | str) -> None:
    """Make a new private file, durably; where that fails there is none.

    Raises:
        OSError: it is there already, or cannot be written.
    """
    descriptor = create_file(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            flush_to_disk(file)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def keep_older(path: Path) -> Path:
    """Give an older file the first free name of FILE.1, FILE.2 and so on; nothing that has such a name is touched.

    Args:
        path: the file; no link.

    Returns:
        Its new name.

    Raises:
        OSError: it cannot be renamed; it is where it was.
    """
    for number in count(1):
        neighbour = path.with_name(f"{path.name}.{number}")
        if os.path.lexists(neighbour):
            continue
        try:
            # Renaming would replace what another process has put there just now; a second name is refused then.
            os.link(path, neighbour, follow_symlinks=False)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            path.rename(neighbour)
        else:
            path.unlink()
        sync_folder(path.parent)
        return neighbour
    raise AssertionError("names do not end")


def flush_to_disk(file: IO[Any]) -> None:
    """Put what was written on disk.

    Raises:
        OSError: the disk is full or does not work.
    """
    file.flush()
    os.fsync(file.fileno())


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file, which is on disk, its name, durably; one of that name is replaced.

    Raises:
        OSError: it cannot be renamed.
    """
    temporary.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a private folder and those above it, so that they survive a loss of power.

    Raises:
        OSError: it cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=PRIVATE_FOLDER)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make a file that was made, renamed or removed in a folder so after a loss of power too.

    Raises:
        OSError: the disk does not work.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_FLUSH:
            raise
    finally:
        os.close(descriptor)


def link_target(path: Path) -> Path:
    """The file that a path names in the end, whether it exists or not: symbolic links are followed."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def refuse_place(path: Path, *, what: str, instead: str, made: str = "") -> None:
    """Say at the start that no file can be written there, and not when the work is done.

    Args:
        path: where the file will be written.
        what: its kind as the sentence's first word, such as "Report".
        instead: how another place is named, such as "name another with --report FILE".
        made: a folder that the work itself makes; "" for none.

    Raises:
        ConfigError: there is no folder for it, or the path is one, or a link to itself.
    """
    if is_stream(path):
        return
    target = link_target(path)
    if target.is_dir():
        why, remedy = "it is a folder", f"{instead[:1].upper()}{instead[1:]}"
    elif target.is_symlink():
        why, remedy = "it is a link to itself", f"Remove it, or {instead}"
    elif target.parent.is_dir() or (made and os.path.realpath(target.parent) == os.path.realpath(made)):
        return
    else:
        why, remedy = f"there is no folder {target.parent}", f"Make it, or {instead}"
    raise ConfigError(f"{what} {path} cannot be written: {why}.", hint=f"{remedy}.")


def _set_mode(descriptor: int, found: os.stat_result | None) -> None:
    """Private, also where the umask or a file left by a kill would have it otherwise; or as it was."""
    if found is None:
        os.fchmod(descriptor, PRIVATE)
        return
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, -1, found.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
