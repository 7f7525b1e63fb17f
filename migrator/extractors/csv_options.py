"""What is said of a CSV file beside its path, such as dialect and types; and its records that are at fault."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from migrator.errors import ConfigError
from migrator.extractors.remote import FilePath, RemotePath
from migrator.extractors.rows import Unreadable, row_fault
from migrator.extractors.text_values import KINDS, BadValue, converter
from migrator.model import Fault
from migrator.naming import shown

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
# Some programs write a blank after a comma, which makes the quotes a part of the value.
REASON = "a field begins with a blank before its quote"


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

    def converters(self, names: Sequence[str], path: FilePath) -> list[Callable[[str], Any]]:
        """One function for each column, from its text to its value.

        Raises:
            ConfigError: a type is given for a column that is not there, or is not a type.
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


def hint(path: FilePath, options: CsvOptions) -> str:
    """How to have such a file read."""
    more = f"&{options.text}" if options.text else ""
    source = with_options(path, f"skip_space=true{more}")
    return f"Have blanks after a {_named(options.delimiter)} skipped: {source}"


def with_options(path: FilePath, options: str) -> str:
    """A file with options, as it is typed; a URL may have parameters of its own."""
    return f"'csv:{path}{'&' if isinstance(path, RemotePath) and '?' in str(path) else '?'}{options}'"


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
