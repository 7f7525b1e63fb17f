"""Finds the files of a source: one, or a folder's with one for each collection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from migrator.errors import ConfigError
from migrator.naming import collection_name, shown


def find_files(path: Path, suffixes: Sequence[str], *, any_name: bool = False) -> dict[str, Path]:
    """The files by collection, sorted; a file's name without its suffix is its collection's.

    Args:
        path: a file or folder.
        suffixes: in lower case, longer ones of the same end first.
        any_name: a single file may have any name.

    Raises:
        ConfigError: nothing is there, or nothing of that kind, or two files of one collection.
    """
    expected = f"Expected: <collection>{', '.join(suffixes)}."
    if not path.exists():
        raise ConfigError(
            f"There is no file or folder {path}.", hint="Look at the path, and at the folder it starts from."
        )
    if not path.is_dir():
        stem = _stem(path.name, suffixes) or (path.name.partition(".")[0] if any_name else "")
        if not stem:
            raise ConfigError(f"{path} is by its name none of these files.", hint=expected)
        return {collection_name(stem): path}
    files: dict[str, Path] = {}
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", hint="Look at its permissions.") from error
    for entry in entries:
        stem = "" if entry.name.startswith(".") else _stem(entry.name, suffixes)
        if not stem or not entry.is_file():
            continue
        collection = collection_name(stem)
        other = files.setdefault(collection, entry)
        if other is not entry:
            raise ConfigError(
                f"{other} and {entry} are both files of the collection {shown(collection)}.",
                hint="Remove one of them.",
            )
    if not files:
        raise ConfigError(f"The folder {path} has none of these files.", hint=expected)
    return {collection: files[collection] for collection in sorted(files)}


def absolute(path: Path) -> str:
    """The path as a description: the same wherever the command is started."""
    return os.path.abspath(path)  # noqa: PTH100 (resolve() would follow links, and the name would change)


def _stem(name: str, suffixes: Sequence[str]) -> str:
    for suffix in suffixes:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return ""
