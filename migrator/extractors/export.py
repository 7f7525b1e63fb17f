"""Reads a JSON export: one file with all collections, in memory for one document and not for the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from migrator.config import JobConfig
from migrator.errors import ConfigError
from migrator.extractors.base import BaseExtractor, absolute, chosen, parse_position
from migrator.extractors.json_records import holds_lines
from migrator.extractors.json_text import JsonText, documents_in
from migrator.extractors.json_values import Value, keyed, listed
from migrator.extractors.lines import TextFile
from migrator.extractors.ndjson import NdjsonExtractor
from migrator.extractors.remote import AnyPath, file_path, identity_of, located
from migrator.model import Extractor, Position, Record
from migrator.naming import collection_name, counted, shown

# What one file may make us keep in mind. No application has so many collections; a hostile file could.
MAX_COLLECTIONS = 100_000

_SUFFIXES = (".json", ".json.gz", ".json.zst")
_FORMS = (
    'Expected {"metadata": {...}, "data": {COLLECTION: DOCUMENTS}} or {COLLECTION: DOCUMENTS}, where DOCUMENTS is '
    "a list [{...}] or an object {ID: {...}}; or one list of documents. With one document a line, call it .ndjson."
)


@dataclass(frozen=True, slots=True)
class _Section:
    """Where a collection stands: `offset` is behind its opening bracket; where `lost`, it has no end."""

    name: str
    offset: int
    count: int
    keyed: bool
    lost: bool = False


class ExportExtractor(BaseExtractor):
    """A `.json` file, also `.json.gz` and `.json.zst`, in one of three forms.

    - `{"metadata": {...}, "data": {COLLECTION: DOCUMENTS, ...}}`
    - `{COLLECTION: DOCUMENTS, ...}`
    - `[DOCUMENT, ...]`: one collection with the file's name

    DOCUMENTS is a list, or an object with the ids as keys. The first form is taken where `data` is an object of
    nothing but lists and objects, and beside it there is only `metadata` or what is neither list nor object.

    The first question asked of it reads the whole file once to find its collections; where what divides them is
    broken, nothing is written. A document that is broken or too long is a Fault. A position is
    `<offset after the document>:<documents so far>`.

    Args:
        path: the file.
        collections: which to read, in this order; all, in the file's order, where None.

    Raises:
        ConfigError: there is no such file.
    """

    def __init__(self, path: AnyPath, *, collections: Sequence[str] | None = None) -> None:
        self._path = file_path(path)
        if not self._path.name.lower().endswith(_SUFFIXES):
            raise ConfigError(
                f"{path} is not a JSON export by its name.", hint=f"Expected: {', '.join(_SUFFIXES)}."
            )
        if not self._path.exists():
            raise ConfigError(
                f"There is no file {path}.", hint="Look at the path, and at the folder it starts from."
            )
        if self._path.is_dir():
            raise ConfigError(f"{path} is a folder.", hint="Give the .json file in it, or rename the folder.")
        self._wanted = collections
        self._parked: tuple[TextFile, JsonText] | None = None

    def describe(self) -> str:
        """The absolute path, or the URL."""
        return absolute(self._path)

    def _available(self) -> Sequence[str]:
        return tuple(self._sections)

    def count(self, collection: str) -> int | None:
        """How many documents there are."""
        return self._sections[collection].count

    def identity(self, collection: str) -> str:
        """The file's size and a hash of its ends, and where the collection begins."""
        return f"{identity_of(self._path)}-{self._sections[collection].offset}"

    def describe_position(self, collection: str, position: Position) -> str:
        """Name the document that was read last, as `file: collection[index]`, from 0."""
        return self._place(collection, parse_position(position)[1] - 1)

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield a record for each document.

        Raises:
            CheckpointError: the file is not the one that `after` was taken from.
            ConfigError: the file was changed since its syntax was checked.
        """
        section = self._sections[collection]
        offset, index = (section.offset, 0) if after is None else parse_position(after)
        file, text = self._opened(offset)
        try:
            for key, value in text.elements(keyed=section.keyed, begun=index > 0):
                index += 1
                position = f"{text.offset}:{index}"
                record = listed(position, value) if key is None else keyed(position, key, value)
                if record.fault and not value.why:
                    place = self._place(collection, index - 1 if key is None else str(key.parsed))
                    record = record._replace(fault=record.fault._replace(reason=f"{place}: {record.fault.reason}"))
                yield record
        except BaseException:
            file.close()
            raise
        if (index, text.lost) != (section.count, section.lost):
            file.close()
            raise ConfigError(
                f"{self._path} was changed while it was read: the collection {shown(collection)} had "
                f"{counted(section.count, 'document')}.",
                hint="Put the old file back and go on with --resume, or start again with --restart.",
            )
        self._park(file, text)

    def close(self) -> None:
        """Let go of the file."""
        self._leave()
        super().close()

    def _place(self, collection: str, document: int | str) -> str:
        which = shown(document) if isinstance(document, str) else str(document)
        return f"{self._path}: {shown(collection)[1:-1]}[{which}]"

    def _opened(self, offset: int) -> tuple[TextFile, JsonText]:
        # Going on where the last collection ended spares packed files being unpacked from the start each time.
        parked, self._parked = self._parked, None
        if parked:
            if parked[1].offset <= offset:
                parked[1].advance(offset)
                return parked
            parked[0].close()
        file = TextFile(self._path, offset=offset)
        return file, documents_in(file)

    def _leave(self) -> None:
        if self._parked:
            self._parked[0].close()
            self._parked = None

    def _park(self, file: TextFile, text: JsonText) -> None:
        self._leave()
        if text.lost:
            file.close()
        else:
            self._parked = (file, text)

    @cached_property
    def _sections(self) -> dict[str, _Section]:
        with TextFile(self._path) as file:
            text = documents_in(file)
            sections = self._form(text)
            text.end()
        by_name: dict[str, _Section] = {}
        for section in sections:
            if section.name in by_name:
                raise ConfigError(
                    f"{self._path} has the collection {shown(section.name)} twice.", hint="Put them into one."
                )
            by_name[section.name] = section
        return by_name

    def _form(self, text: JsonText) -> list[_Section]:
        opening = text.peek()
        if opening == "[":
            name = self._path.name
            suffix = next(suffix for suffix in _SUFFIXES if name.lower().endswith(suffix))
            name = collection_name(name[: -len(suffix)] or name)
            return [section for section in [_section(text, name)] if section]
        if opening != "{":
            text.value()
            raise ConfigError(f"{self._path} holds no collections.", hint=_FORMS)
        text.take("{")
        sections: list[_Section] = []
        others: list[str] = []
        within_data: list[_Section] | None = None
        unfit = ""
        for key in text.entries(keyed=True):
            name = _name(key)
            if name == "data" and text.peek() == "{":
                section, within_data, unfit = _data_section(text)
                sections.append(section)
            else:
                found = _section(text, name)
                if found:
                    sections.append(found)
                else:
                    others.append(name)
            if len(sections) + len(others) > MAX_COLLECTIONS:
                raise ConfigError(f"{self._path} has more than {MAX_COLLECTIONS} collections.", hint=_FORMS)
        if within_data is not None and {section.name for section in sections} <= {"metadata", "data"}:
            return within_data
        if unfit and {section.name for section in sections} == {"metadata", "data"}:
            others.insert(0, unfit)
        if others:
            raise ConfigError(
                f"The collection {shown(others[0])} in {self._path} is neither a list nor an object.", hint=_FORMS
            )
        return sections


def _section(text: JsonText, name: str) -> _Section | None:
    """Pass over a collection, checking its syntax; None for a value that can be none."""
    opening = text.peek()
    if opening not in ("{", "["):
        text.value()
        return None
    text.take(opening)
    keyed = opening == "{"
    offset = text.offset
    count = 0
    for _ in text.elements(keyed=keyed):
        count += 1
    return _Section(name, offset, count, keyed, text.lost)


def _data_section(text: JsonText) -> tuple[_Section, list[_Section] | None, str]:
    """Pass over an object called `data`, which may be a collection itself.

    Returns:
        It as a collection; the collections in it, None where it cannot hold collections; the name of what is none
        beside a list, which no document is, so that there it is not taken for a collection of documents.
    """
    text.take("{")
    offset = text.offset
    count = 0
    within: list[_Section] | None = []
    unfit = ""
    listed = False
    for key in text.entries(keyed=True):
        name = _name(key)
        section = _section(text, name)
        count += 1
        if section is None:
            unfit = unfit or name
        elif not section.keyed:
            listed = True
        if within is not None and section and count <= MAX_COLLECTIONS:
            within.append(section)
        else:
            within = None
    return _Section("data", offset, count, keyed=True), within, unfit if listed else ""


def _name(key: Value | None) -> str:
    assert key is not None
    return str(key.parsed)


def open_source(source: str, config: JobConfig, environ: Mapping[str, str]) -> Extractor:
    """The source that a SOURCE names."""
    path = file_path(located(source, config, environ))
    if holds_lines(path):
        return NdjsonExtractor(path, collections=chosen(config), called_json=True)
    return ExportExtractor(path, collections=chosen(config))
