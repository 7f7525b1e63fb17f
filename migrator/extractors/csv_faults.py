"""Records of a CSV file that are at fault: bytes that are not of its encoding, and what is known of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from migrator.extractors.row_faults import Unreadable, row_fault
from migrator.model import Fault


def decode_line(
    raw: bytes, encoding: str, bad: UnicodeDecodeError | None
) -> tuple[str, UnicodeDecodeError | None]:
    """A line's text, and the first fault of its record; bytes that are not of the encoding are half surrogates."""
    try:
        return raw.decode(encoding), bad
    except UnicodeDecodeError as error:
        bad = bad or error
    try:
        return raw.decode(encoding, "surrogateescape"), bad
    except UnicodeDecodeError:
        # In some encodings a byte of ASCII can be at fault.
        return raw.decode(encoding, "backslashreplace"), bad


def field_or_bad(text: str, encoding: str) -> Any:
    """A field, or what stands for it where it holds bytes that are not of the encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return Unreadable("invalid_encoding", "", text.encode(encoding, "surrogateescape"))
    return text


def named_fault(fault: Fault, names: list[str], row: Sequence[Any]) -> Fault:
    """A fault of a record whose fields are known: with its columns, its id, and the column that is at fault."""
    named = dict(zip(names, row, strict=True))
    bad = next((name for name, value in named.items() if isinstance(value, Unreadable)), "")
    id = named.get("_id", "")
    return row_fault(
        fault.reason, fault.error, f"in {bad}" if bad else "", id=id if isinstance(id, str) else "", document=named
    )
