"""Where a file cannot be written, every command says the same and ends with the same code."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from migrator.errors import EXIT_UNREACHABLE, EXIT_USAGE, ConfigError, StorageError
from migrator.files.failures import write_error, writing


@pytest.mark.parametrize(
    ("number", "code", "first"),
    [
        (errno.ENOSPC, EXIT_UNREACHABLE, "Make room"),
        (errno.EDQUOT, EXIT_UNREACHABLE, "Make room"),
        (errno.EFBIG, EXIT_UNREACHABLE, "Make room"),
        (errno.EROFS, EXIT_UNREACHABLE, "Make it writable"),
        (errno.EACCES, EXIT_UNREACHABLE, "Make it writable"),
        (errno.EPERM, EXIT_UNREACHABLE, "Make it writable"),
        (errno.EIO, EXIT_UNREACHABLE, "Check the disk"),
        (errno.ESTALE, EXIT_UNREACHABLE, "Check the disk"),
        (errno.ENODEV, EXIT_UNREACHABLE, "Check the disk"),
        (errno.ETIMEDOUT, EXIT_UNREACHABLE, "Check the disk"),
        (errno.EMFILE, EXIT_UNREACHABLE, "Check the disk"),
        (errno.ENOENT, EXIT_USAGE, "Name another"),
        (errno.ENOTDIR, EXIT_USAGE, "Name another"),
        (errno.EISDIR, EXIT_USAGE, "Name another"),
        (errno.EEXIST, EXIT_USAGE, "Name another"),
        (errno.ENAMETOOLONG, EXIT_USAGE, "Name another"),
        (errno.ELOOP, EXIT_USAGE, "Name another"),
    ],
)
def test_kinds(number: int, code: int, first: str) -> None:
    """What is the disk's trouble is a target that cannot be used; what is the path's is a mistake."""
    error = write_error(OSError(number, os.strerror(number)), "a/b", what="Report", instead="name another with -r")
    assert error.exit_code == code
    assert error.message == f"Report a/b cannot be written: {os.strerror(number)}."
    assert error.hint.startswith(first)
    assert "ame another with -r" in error.hint
    assert ("again" in error.hint) is (code == EXIT_UNREACHABLE)


def test_an_error_without_a_number() -> None:
    """What has no text of the system shows its own, or its name."""
    assert write_error(OSError("odd"), "f").message == "f cannot be written: odd."
    assert write_error(OSError(), "f").message == "f cannot be written: OSError."


def test_a_block(tmp_path: Path) -> None:
    """An error in it is translated, with the first one as its cause; nothing else is touched."""
    with pytest.raises(ConfigError, match=r"^none/f cannot be written: No such file") as caught, writing("none/f"):
        (tmp_path / "none" / "f").write_text("")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(StorageError, match="Make room, or name another; then go on"), writing("f", again="go on"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ValueError, match="x"), writing("f"):
        raise ValueError("x")
