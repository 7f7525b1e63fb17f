"""The password of a user that is made: from the environment or a file, or a new one in a private file."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from migrator.errors import ConfigError
from migrator.files.durable import create_whole
from migrator.files.failures import writing

VARIABLE = "MIGRATOR_USER_PASSWORD"
BYTES = 24


def given_password(path: Path | None, environ: Mapping[str, str]) -> str | None:
    """The password of `MIGRATOR_USER_PASSWORD`, or that in the file; None where there is neither.

    Raises:
        ConfigError: the file cannot be read, or is empty.
    """
    if environ.get(VARIABLE):
        return environ[VARIABLE]
    if path is None or not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"Password file {path} cannot be read: {reason}.", hint="Check path and rights."
        ) from None
    if not text:
        raise ConfigError(f"Password file {path} is empty.", hint="Remove it, and a new password is made.")
    return text


def new_password(path: Path) -> str:
    """Make a password and keep it in a new file that only its owner can read; on disk before it is used.

    Raises:
        ConfigError: the file is there already, or the path is wrong.
        StorageError: there is no room, or no right to write.
    """
    password = secrets.token_urlsafe(BYTES)
    with writing(path, what="Password file", instead="name another with --password-file"):
        create_whole(path, f"{password}\n")
    return password
