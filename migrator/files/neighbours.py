"""Keeps an older file under a neighbour's name, FILE.1, FILE.2 and so on, and replaces none."""

from __future__ import annotations

import errno
import os
from itertools import count
from pathlib import Path

from migrator.files.durable import sync_folder

# File systems without hard links say so with these.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


def keep_older(path: Path) -> Path:
    """Give a file the first free name of its row; nothing that has such a name is touched.

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
