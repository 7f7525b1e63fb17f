"""Records of a CSV file that are at fault: bytes that are not of its encoding, and what is known of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from migrator.extractors.csv_values import BadValue
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


def named_fault(
    fault: Fault, names: Sequence[str], convert: Sequence[Callable[[str], Any]], row: Sequence[Any]
) -> Fault:
    """A fault of a record whose fields are known: with its columns, its id, and the column that is at fault."""
    values = [_value(make, field) for make, field in zip(convert, row, strict=True)]
    undecoded = next((name for name, field in zip(names, row, strict=True) if isinstance(field, Unreadable)), "")
    id = dict(zip(names, row, strict=True)).get("_id", "")
    return row_fault(
        fault.reason,
        fault.error,
        f"in {undecoded}" if undecoded else "",
        id=id if isinstance(id, str) else "",
        document=dict(zip(names, values, strict=True)),
    )


def _value(convert: Callable[[str], Any], field: Any) -> Any:
    if isinstance(field, Unreadable):
        return field
    try:
        return convert(field)
    except BadValue as error:
        return Unreadable("invalid_value", str(error), field)
