"""Reads CSV and its relatives: one record a document, in bounded memory, resumed at a record's end."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from migrator.errors import ConfigError
from migrator.extractors.base import FileExtractor, divide, factory, parse_position
from migrator.extractors.csv_options import (
    OPTIONS,
    REASON,
    CsvOptions,
    decode_line,
    field_or_bad,
    has_blank_before_quote,
    hint,
    named_fault,
    parse_options,
    with_options,
)
from migrator.extractors.find import find_files
from migrator.extractors.lines import BLOCK_BYTES, BOM, TextFile
from migrator.extractors.remote import FilePath, RemotePath, file_path
from migrator.extractors.rows import row_fault
from migrator.extractors.text_values import BadValue
from migrator.model import Fault, Position, Record

MAX_RECORD_BYTES = 64 << 20
SUFFIXES = tuple(f"{kind}{packing}" for kind in (".csv", ".tsv") for packing in ("", ".gz", ".zst"))


class _Row(NamedTuple):
    """One record of a file: the place after it, the line where it begins, and its fields or its fault."""

    place: tuple[int, int]
    line: int
    fault: Fault | None
    fields: Sequence[Any]


class CsvExtractor(FileExtractor):
    """A `.csv` or `.tsv` file, or a folder with one for each collection; `.gz` and `.zst` too.

    Fields are texts, unless types are asked for. A position is `<offset after the record>:<lines so far>`. A quote
    that is not closed within `MAX_RECORD_BYTES` ends the reading.

    Args:
        source: path, with options after a question mark (see `csv_options.OPTIONS`); or a file elsewhere.
        collections: which to read, in this order; all, sorted by name, where None.
    """

    def __init__(self, source: str | RemotePath, *, collections: Sequence[str] | None = None) -> None:
        named, options = divide(source, OPTIONS)
        self._options = parse_options(options)
        path = file_path(named)
        super().__init__(path, find_files(path, SUFFIXES, any_name=True), collections)

    def describe(self) -> str:
        """The absolute path, and the options: other options make other documents."""
        return super().describe() + (f"?{self._options.text}" if self._options.text else "")

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield a record for each that is not blank.

        Raises:
            CheckpointError: the file is shorter than it was when `after` was taken.
            ConfigError: the header is not what it should be, or a quote has no end.
        """
        path = self._files[collection]
        names, begin = self._names(path)
        convert = self._options.for_file(path.name).converters(names, path)
        rows = self._rows(path, begin if after is None else parse_position(after))
        for (offset, number), line, fault, row in rows:
            position = f"{offset}:{number}"
            if fault is not None and len(row) == len(names):
                fault = named_fault(fault, names, convert, row)  # noqa: PLW2901
            if fault is None and len(row) != len(names):
                reason = f"the record has {len(row)} fields, where there are {len(names)} names"
                id = row[names.index("_id")] if "_id" in names[: len(row)] else ""
                fault = row_fault(f"{path}:{line}", "field_count", reason, id=id, document=row)  # noqa: PLW2901
            if fault is not None:
                yield Record(position, fault=fault)
                continue
            try:
                document = {name: make(text) for name, make, text in zip(names, convert, row, strict=True)}
            except BadValue as error:
                fault = Fault("invalid_value", f"{path}:{line}: {error}")  # noqa: PLW2901
                yield Record(position, fault=named_fault(fault, names, convert, row))
            else:
                yield Record(position, document)

    def _ends(self, path: FilePath) -> Iterator[tuple[int, int]]:
        # Only from the beginning is it known which line breaks are content.
        return (row.place for row in self._rows(path, self._names(path)[1]))

    def _names(self, path: FilePath) -> tuple[list[str], tuple[int, int]]:
        """The columns' names, and the place where the first record begins."""
        options = self._options.for_file(path.name)
        if csv.field_size_limit() < MAX_RECORD_BYTES:
            # Of the whole process: what bounds a record here is its bytes.
            csv.field_size_limit(MAX_RECORD_BYTES)
        with TextFile(path) as file:
            if options.names is not None:
                return list(options.names), (0, 0)
            lines = _Lines(file, options.encoding, (0, 0))
            return self._header(path, options, lines), lines.place

    def _rows(self, path: FilePath, begin: tuple[int, int]) -> Iterator[_Row]:
        """What stands in the file from a place on: its fields, or what is wrong with them."""
        options = self._options.for_file(path.name)
        with TextFile(path, offset=begin[0]) as file:
            lines = _Lines(file, options.encoding, begin)
            reader = options.reader(lines)
            while True:
                lines.begin()
                first = lines.place[1] + 1
                fault: Fault | None = None
                row: list[Any] = []
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    fault = row_fault(f"{path}:{first}", "invalid_csv", error, document=lines.text())
                if fault is None and lines.bad is not None:
                    byte = lines.bad.object[lines.bad.start]
                    reason = f"byte 0x{byte:02x} is not {options.encoding}"
                    fault = row_fault(f"{path}:{first}", "invalid_encoding", reason, document=lines.text())
                    row = [field_or_bad(text, options.encoding) for text in row]
                if fault is None and has_blank_before_quote(row, lines.text, options):
                    reason = f"{REASON}. {hint(path, self._options)}"
                    fault = row_fault(f"{path}:{first}", "invalid_csv", reason, document=lines.text())
                    row = []
                if fault or row:
                    yield _Row(lines.place, first, fault, row)

    @staticmethod
    def _header(path: FilePath, options: CsvOptions, lines: _Lines) -> list[str]:
        try:
            names = next((row for row in options.reader(lines) if row), [])
            if lines.bad is not None:
                raise lines.bad
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}:1: the header cannot be read: {error}.", hint=_header_hint(path, lines)
            ) from None
        if has_blank_before_quote(names, lines.text, options):
            raise ConfigError(f"{path}:1: in the header {REASON}.", hint=f"{hint(path, options)}.")
        if names[:1] and names[0].startswith("sep=") and len(names) <= 2 and not any(names[1:]):
            raise ConfigError(
                f"{path}:1: the first line is {names[0]!r}, which is for spreadsheets.",
                hint=f"Leave it out: tail -n +2 {path} > NEW.csv",
            )
        twice = [name for number, name in enumerate(names) if name in names[:number]]
        if twice:
            raise ConfigError(
                f"{path}:1: the header has {twice[0]!r} twice.",
                hint="Rename it, or name the columns with csv:FILE?header=a,b,c and skip the first line.",
            )
        if len(names) == 1 and options.delimiter == ",":
            for other, said in ((";", ";"), ("\t", "tab"), ("|", "|")):
                if other in names[0]:
                    raise ConfigError(
                        f"{path}:1: the header has no comma but {other!r}.",
                        hint=f"Write {with_options(path, f'delimiter={said}')}",
                    )
        return names


class _Lines:
    """The lines of a file as the csv module wants them, with the place after the last one that it took.

    Bytes that are not of the encoding come as half surrogates and leave `bad`, so that the record that holds them
    is read to its end.
    """

    def __init__(self, file: TextFile, encoding: str, place: tuple[int, int]) -> None:
        self.place = place
        self.bad: UnicodeDecodeError | None = None
        self._file = file
        self._encoding = encoding
        self._lines = io.BufferedReader(file, BLOCK_BYTES)  # type: ignore[type-var] # mypy wants no narrower read()
        self._taken: list[bytes] = []
        self._taken_bytes = 0

    def begin(self) -> None:
        """A record begins here."""
        self.bad = None
        self._taken = []
        self._taken_bytes = 0

    def text(self) -> str:
        """The beginning of what was taken for the record, for a reject file."""
        return self.taken().decode(self._encoding, "replace")

    def taken(self) -> bytes:
        """The beginning of what was taken for the record."""
        return b"".join(self._taken)[:1_000_000]

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = self._lines.readline(MAX_RECORD_BYTES + 1)
        if not raw:
            raise StopIteration
        self._taken.append(raw)
        self._taken_bytes += len(raw)
        if self._taken_bytes > MAX_RECORD_BYTES:
            raise self._endless()
        first = self.place[0] == 0
        self.place = (self.place[0] + len(raw), self.place[1] + 1)
        raw = raw.removeprefix(BOM) if first else raw
        text, self.bad = decode_line(raw, self._encoding, self.bad)
        return text

    def _endless(self) -> ConfigError:
        line = self.place[1] + 1 - max(0, len(self._taken) - 1)
        return ConfigError(
            f"{self._file.path}:{line}: the record that begins here has no end within {MAX_RECORD_BYTES} bytes.",
            hint="A quote may not be closed; name another with csv:FILE?quote=' or none with quote=none.",
        )


def _header_hint(path: FilePath, lines: _Lines) -> str:
    """What to do about a first line that cannot be a header, by what is known to come from elsewhere."""
    begin = lines.taken()
    if begin.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"It is UTF-16: iconv -f UTF-16 -t UTF-8 {path} > NEW.csv"
    if b"\r" in begin.rstrip(b"\r\n"):
        return f"Its lines end as on an old Mac: tr '\\r' '\\n' < {path} > NEW.csv"
    return "Name its dialect, for example 'csv:FILE?encoding=latin-1&delimiter=;'"


open_source = factory(CsvExtractor, "csv")
