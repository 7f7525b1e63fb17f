"""Which format a file is in, by its first bytes; the formats themselves are not needed for that."""

from __future__ import annotations

import re
from pathlib import Path

from migrator.extractors.lines import TextFile

_LOOK_BYTES = 64 << 10
_MEMBER = rb'"[^"]*"\s*:\s*(?:"[^"]*"|[\w.+-]+)\s*,\s*'
# The first that fits counts. Members of these heads stand in no order that all releases keep.
_SIGNS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("couchdb-python", re.compile(rb"(?:[\w-]+:[^\n]*\n)*?content-type:\s*multipart/", re.IGNORECASE)),
    ("couchbackup", re.compile(rb'\[|\{\s*"(?:name"\s*:\s*"@cloudant/couchbackup|marker"\s*:)')),
    ("couchbackup", re.compile(rb'\{(?=[^\n]*"name":)(?=[^\n]*"version":)[^\n\[\{]*"mode":"(?:full|shallow)"')),
    ("all-docs", re.compile(rb"\{\s*(?:" + _MEMBER + rb')*"rows"\s*:\s*\[')),
    ("changes", re.compile(rb"\{\s*(?:" + _MEMBER + rb')*"results"\s*:\s*\[')),
    ("changes", re.compile(rb'\{\s*"(?:seq"\s*:[^\n]*"changes"\s*:|last_seq"\s*:)')),
    ("pouchdb", re.compile(rb'\{\s*"version"\s*:[^\n]*"db_type"\s*:')),
    ("bulk-docs", re.compile(rb"\{\s*(?:" + _MEMBER + rb')*"docs"\s*:\s*\[')),
    ("ndjson", re.compile(rb'\{(?=[^\n]*"_id"\s*:)')),
)


def format_of(path: Path) -> tuple[str, bytes]:
    """The name of the format that a file is in, "" where it is not known, and how it begins."""
    with TextFile(path) as file:
        head = file.read(_LOOK_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((name for name, sign in _SIGNS if sign.match(head)), ""), head


def foreign(path: Path) -> str:
    """The format of a file of another tool that no other source of documents can be; "" where it is not sure."""
    if not path.is_file():
        return ""
    name, head = format_of(path)
    if (
        name in {"", "ndjson"}
        or head.startswith(b"[")
        or not (name != "bulk-docs" or b'"new_edits"' in head[:100])
    ):
        return ""
    return name
