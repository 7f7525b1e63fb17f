"""Blanks before a quote, as some programs write them after a comma: they make the quotes a part of the value."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from migrator.errors import ConfigError
from migrator.extractors.csv_options import CsvOptions

REASON = "a field begins with a blank before its quote"


def hint(path: Path, options: CsvOptions) -> str:
    """How to have such a file read."""
    more = f"&{options.text}" if options.text else ""
    return f"Have blanks after a {_named(options.delimiter)} skipped: 'csv:{path}?skip_space=true{more}'"


def refuse_header(names: Sequence[str], text: Callable[[], str], path: Path, options: CsvOptions) -> None:
    """Refuse a header whose names would have quotes in them.

    Args:
        names: as they were read.
        text: gives what stands in the file.
        path: the file.
        options: how it is read.

    Raises:
        ConfigError: it has such a name.
    """
    if has_blank_before_quote(names, text, options):
        raise ConfigError(f"{path}:1: in the header {REASON}.", hint=f"{hint(path, options)}.")


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
