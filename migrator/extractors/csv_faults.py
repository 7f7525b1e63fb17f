"""CSV records that are at fault: bytes not of the encoding, blanks before quotes, values of other types."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from migrator.extractors.csv_options import BadValue, CsvOptions
from migrator.extractors.rows import Unreadable, row_fault
from migrator.model import Fault

# Some programs write a blank after a comma, which makes the quotes a part of the value.
REASON = "a field begins with a blank before its quote"


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


def hint(path: Path, options: CsvOptions) -> str:
    """How to have such a file read."""
    more = f"&{options.text}" if options.text else ""
    return f"Have blanks after a {_named(options.delimiter)} skipped: 'csv:{path}?skip_space=true{more}'"


def has_blank_before_quote(row: Sequence[str], text: Callable[[], str], options: CsvOptions) -> bool:
    """True of a record in which a quote stands after a blank with which its field begins.

    Args:
        row: its fields.
        text: gives what stands in the file; asked only where a field begins with a blank.
        options: how it is read.
    """
    if options.skip_space or options.escape or not options.quote or not any(field[:1] == " " for field in row):
        return False
    # A field that is quoted rightly may begin with a blank and a quote too, so the text decides.
    quote, delimiter = re.escape(options.quote), re.escape(options.delimiter)
    quoted = rf"{quote}(?:[^{quote}]|{quote}{quote})*+{quote}"
    field = rf"(?:{quoted}[^{delimiter}\r\n]*|(?! +{quote})[^{delimiter}\r\n]*)"
    rightly = re.match(rf"{field}(?:{delimiter}{field})*[\r\n]*\Z", text())
    return rightly is None


def _named(delimiter: str) -> str:
    return {",": "comma", ";": "semicolon", "\t": "tab"}.get(delimiter, delimiter)
