"""Tells a file from a changed one by its content: a copy, a `touch` or a restored backup is still the same.

The time of a change says too much (a copy has another) and too little (some tools set it back), so all bytes are
hashed: some seconds for gigabytes, once a run, where a load takes minutes.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import stat
from pathlib import Path

from migrator.errors import ConfigError

_ENDS_BYTES = 64 << 10
_CONTENT = re.compile(r" sha256:[0-9a-f]{64}")


def file_identity(path: Path) -> str:
    """Give something short that changes when a file's content does; "" for what is not a file, such as a pipe.

    Raises:
        ConfigError: the file cannot be opened.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return ""
        # The system notes every change in these, also of a time that was set back: a file is read once a process.
        noted = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return _read(os.fspath(path), *noted)
    except OSError as error:
        raise not_opened(path, error) from error


def not_opened(path: Path, error: OSError) -> ConfigError:
    """What to raise for a file that is to be read and cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return ConfigError(f"There is no file {path}.", hint="Look at the path, and at the folder it starts from.")
    return ConfigError(f"{path} cannot be opened: {error.strerror}.", hint="Look at its permissions.")


def content_identity(text: bytes) -> str:
    """The same of what is not a file, to be put after what versions before knew of it."""
    return f" sha256:{hashlib.sha256(text).hexdigest()}"


def same_identity(noted: str, now: str) -> bool:
    """True when an identity that a checkpoint holds is that of now; one of a version before says less."""
    return noted == now or (_CONTENT.search(noted) is None and noted == _CONTENT.sub("", now))


def same_content(noted: str, now: str) -> bool:
    """True when the two are surely of the same content, to the last byte."""
    return noted == now and _CONTENT.search(now) is not None


@functools.lru_cache(maxsize=1_000)
def _read(path: str, *_stat: int) -> str:
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        ends = hashlib.sha256(file.read(_ENDS_BYTES))
        file.seek(max(_ENDS_BYTES, size - _ENDS_BYTES))
        ends.update(file.read(_ENDS_BYTES))
        file.seek(0)
        content = hashlib.file_digest(file, "sha256")
    # What versions before knew comes first.
    return f"{size}-{ends.hexdigest()[:16]} sha256:{content.hexdigest()}"
