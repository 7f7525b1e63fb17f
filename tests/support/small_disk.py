"""Files that cannot grow: a real failure of the system in the middle of a write."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Iterator

# Python 3.11 takes the file of a compiled module for whole where only its beginning could be written, and each
# process after that fails to load it.
NO_COMPILED_FILES = {"PYTHONDONTWRITEBYTECODE": "1"}


@contextlib.contextmanager
def limited(max_bytes: int) -> Iterator[None]:
    """No file of this process may be longer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = before
