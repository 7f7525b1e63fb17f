"""Design documents as folders: each function a text file, each object a folder, the rest JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from migrator.errors import ConfigError
from migrator.naming import collection_name, file_name
from migrator.seeding.problems import Place, Problem
from migrator.seeding.texts import Malformed, read_json

TEXT_SUFFIXES = (".js", ".txt", ".erl", ".coffee")
_FUNCTIONS = frozenset({"map", "reduce", "validate_doc_update", "rewrites", "lib"})
_FUNCTION_FOLDERS = frozenset({"filters", "updates", "shows", "lists"})


def read_design(folder: Path, shown: str, problems: list[Problem]) -> dict[str, Any]:
    """Read the fields of a design document from its folder; expressions in it are the functions' own.

    Args:
        folder: the folder.
        shown: the folder's name for people.
        problems: where faults are put.
    """
    document: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        name = f"{shown}/{path.name}"
        if path.is_dir():
            key, value = collection_name(path.name), read_design(path, name, problems)
        else:
            key = collection_name(path.name.removesuffix(path.suffix))
            try:
                value = _read_file(path, name)
            except Malformed as malformed:
                problems.append(Problem(malformed.place, str(malformed)))
                continue
        if key in document:
            problems.append(Problem(Place(name), f"{key!r} is there twice, as a file and under another ending."))
        document[key] = value
    return document


def write_design(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the files of a design document, each with its path within the folder and its text."""
    yield from _files({key: value for key, value in document.items() if key not in {"_id", "_rev"}}, ())


def _read_file(path: Path, shown: str) -> Any:
    if path.suffix == ".json":
        return read_json(shown, path.read_bytes())[0]
    if path.suffix not in TEXT_SUFFIXES:
        raise Malformed(
            Place(shown), f"a design document has files of {', '.join(TEXT_SUFFIXES)} and .json, not of this kind."
        )
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Malformed(Place(shown, line), f"the byte 0x{data[error.start]:02x} is no UTF-8.") from None
    # Text files end with a line break, which is not the function's.
    return text.removesuffix("\n")


def _files(value: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key, item in sorted(value.items()):
        stem = _stem(key)
        if isinstance(item, dict) and item and key != "_attachments" and all(item):
            # A dot in a folder's name could be taken for a file's ending.
            yield from _files(item, (*path, stem.replace(".", "%2E")))
        elif isinstance(item, str) and "\r" not in item:
            suffix = ".js" if _is_function(key, path) else ".txt"
            yield "/".join((*path, stem + suffix)), item + "\n"
        else:
            text = json.dumps(item, indent=2, ensure_ascii=False, sort_keys=True)
            yield "/".join((*path, f"{stem}.json")), text + "\n"


def _stem(key: str) -> str:
    # An upper-case letter could fall together with a lower-case one on some file systems; that is rare here.
    try:
        return file_name(key)
    except ConfigError as error:
        raise ConfigError(
            f"A design document has the key {key[:80]!r}, which is no file's name.", hint=error.hint
        ) from error


def _is_function(key: str, path: tuple[str, ...]) -> bool:
    return key in _FUNCTIONS or bool(path and (path[0] in _FUNCTION_FOLDERS or "lib" in path))
