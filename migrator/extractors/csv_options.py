"""What is said of a CSV file beside its path: dialect, header, encoding, and types, which make values of texts."""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from migrator.codec import InvalidDocument, decode_value
from migrator.errors import ConfigError
from migrator.extractors.exact import exact_datetime, exact_decimal, exact_float, exact_time
from migrator.extractors.rows import document_id
from migrator.naming import shown

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_BOOLEANS = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}


class BadValue(ValueError):
    """A text that is not of its column's type."""


def converter(name: str, kind: str, null: str | None) -> Callable[[str], Any]:
    """The function from text to value of a column; an empty text is null, but for texts.

    Raises (the function):
        BadValue: the text is none of that kind.
    """
    convert = _KINDS[kind]
    if name == "_id" and kind != "text":
        # Whatever it is, an id is a text.
        typed = converter("", "text" if kind == "auto" else kind, null)
        return lambda text: None if (value := _named(typed, text)) is None else document_id([value])
    if kind == "text":
        return str if null is None else lambda text: None if text == null else text

    def checked(text: str) -> Any:
        if text in {"", null}:
            return None
        try:
            return convert(text)
        except (ValueError, ArithmeticError, InvalidDocument):
            raise BadValue(f"{name} is {text!r:.80}, which is no {kind}") from None

    return checked


def _named(convert: Callable[[str], Any], text: str) -> Any:
    try:
        return convert(text)
    except BadValue as error:
        raise BadValue(f"_id{error}") from None


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text.strip()):
        raise ValueError(text)
    return int(text)


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


def _guessed(text: str) -> Any:
    """Only what would be written back the very same is taken for a number; all else stays text."""
    if _INTEGER.fullmatch(text) and text != "-0" and len(text) < 4_000:
        return int(text)
    if text in {"true", "false"}:
        return text == "true"
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) and repr(value) == text else text


_KINDS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "int": _integer,
    "float": lambda text: exact_float(text.strip()),
    "decimal": lambda text: exact_decimal(text.strip()),
    "bool": _boolean,
    "date": date.fromisoformat,
    "datetime": exact_datetime,
    "time": exact_time,
    "uuid": UUID,
    "json": decode_value,
    "auto": _guessed,
}
KINDS = tuple(_KINDS)[:-1]
"""The types that can be asked for by name."""
OPTIONS = {
    "delimiter": "one character, or tab",
    "quote": "one character, or none",
    "escape": "one character",
    "encoding": "utf-8, latin-1, cp1252, …",
    "header": "names of the columns, a,b,c, where the file has none",
    "types": f"auto, or name:kind,… with {', '.join(KINDS)}",
    "null": "the text that stands for null",
    "skip_space": "true to skip blanks after a delimiter",
}
_NAMED = {"tab": "\t", "\\t": "\t", "space": " ", "none": ""}


@dataclass(frozen=True)
class CsvOptions:
    """How a file is to be read. `text` is all that was said, for the source's description."""

    text: str = ""
    delimiter: str = ""
    quote: str = '"'
    escape: str = ""
    encoding: str = "utf-8"
    names: list[str] | None = None
    types: str = ""
    null: str | None = None
    skip_space: bool = False

    def for_file(self, name: str) -> CsvOptions:
        """With the delimiter that the file's name tells, where none was given."""
        return replace(self, delimiter=self.delimiter or ("\t" if ".tsv" in name.lower() else ","))

    def reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """A reader of the standard library that refuses what is not well formed."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar=self.escape or None,
            skipinitialspace=self.skip_space,
            strict=True,
        )

    def converters(self, names: Sequence[str], path: Path) -> list[Callable[[str], Any]]:
        """One function for each column, from its text to its value.

        Raises:
            ConfigError: a type is given for a column that is not there, or is none.
        """
        if self.types in {"", "auto"}:
            return [converter(name, self.types or "text", self.null) for name in names]
        kinds = dict.fromkeys(names, "text")
        for pair in self.types.split(","):
            name, _, kind = pair.rpartition(":")
            if name not in kinds:
                raise ConfigError(
                    f"{path} has no column {shown(name)}, for which a type is given.",
                    hint=f"It has: {', '.join(names[:20])}.",
                )
            if kind not in KINDS:
                raise ConfigError(
                    f"The type {shown(kind)} of the column {shown(name)} is not known.",
                    hint=f"Known are: {', '.join(KINDS)}.",
                )
            kinds[name] = kind
        return [converter(name, kind, self.null) for name, kind in kinds.items()]


def parse_options(options: dict[str, str]) -> CsvOptions:
    """Check what was said.

    Raises:
        ConfigError: a value cannot be.
    """
    characters = {
        name: _character(name, options[name]) for name in ("delimiter", "quote", "escape") if name in options
    }
    encoding = options.get("encoding", "utf-8")
    try:
        encoding = codecs.lookup(encoding).name
        fits = '",;\t\n\r'.encode(encoding) == b'",;\t\n\r'
    except LookupError:
        fits = False
    if not fits:
        raise ConfigError(
            f"The encoding {shown(encoding)} is not known, or its lines end otherwise than in ASCII.",
            hint="Convert the file first: iconv -f UTF-16 -t UTF-8 FILE > NEW.",
        )
    return CsvOptions(
        text="&".join(f"{name}={value}" for name, value in sorted(options.items())),
        encoding="utf-8" if encoding == "utf-8-sig" else encoding,
        names=options["header"].split(",") if options.get("header") else None,
        types=options.get("types", ""),
        null=options.get("null"),
        skip_space=_skip_space(options.get("skip_space", "false"), characters.get("delimiter", "")),
        **characters,
    )


def _skip_space(value: str, delimiter: str) -> bool:
    if value not in {"true", "false"}:
        raise ConfigError(f"The option skip_space is {shown(value)}.", hint="It takes true or false.")
    if value == "true" and delimiter == " ":
        raise ConfigError("Blanks cannot be skipped where they divide the fields.", hint="Leave skip_space out.")
    return value == "true"


def _character(name: str, value: str) -> str:
    value = _NAMED.get(value, value)
    if len(value) > 1 or (not value and name != "quote") or value in {"\n", "\r"}:
        raise ConfigError(f"The option {name} is {shown(value)}.", hint=f"It takes {OPTIONS[name]}.")
    return value
