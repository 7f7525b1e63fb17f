"""Tells a `.json` file with one document a line, as most exporters name it, from an export of collections."""

from __future__ import annotations

from pathlib import Path

import orjson

from migrator.errors import MigratorError
from migrator.extractors.lines import TextFile

# A longer first line is taken for an export, whose own message then says what else it could be.
_HEAD_BYTES = 1 << 20
_BLANK = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


def holds_lines(path: Path) -> bool:
    """True of a file whose first line is a whole object, and no export: another one follows, or it has an `_id`.

    A file that cannot be read is left to whoever opens it.
    """
    if not path.is_file():
        # A pipe is read once.
        return False
    try:
        with TextFile(path) as file:
            head = file.read(_HEAD_BYTES)
    except MigratorError:
        return False
    first, _, rest = head.removeprefix(_BOM).lstrip(_BLANK).partition(b"\n")
    first, rest = first.strip(_BLANK), rest.lstrip(_BLANK)
    if not first.startswith(b"{") or (rest and not rest.startswith(b"{")):
        return False
    try:
        document = orjson.loads(first)
    except orjson.JSONDecodeError:
        # A first line that is broken is a line where the next one is whole.
        return first.endswith(b"}") and _is_object(rest.partition(b"\n")[0])
    return bool(rest) or not isinstance(document.get("_id", []), dict | list)


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
