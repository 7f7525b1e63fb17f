"""What sources share: a SOURCE's text and options, chosen collections, positions, and the division of files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl

from migrator.config import JobConfig
from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.lines import TextFile, about_text_bytes, is_packed, read_lines
from migrator.extractors.remote import FilePath, RemotePath, identity_of, located
from migrator.model import Extractor, Position, Record
from migrator.naming import did_you_mean, is_pattern, shown

_MAX_SHOWN = 12

S = TypeVar("S", bound="str | RemotePath")
Factory: TypeAlias = Callable[[str, JobConfig, Mapping[str, str]], Extractor]
"""Makes the source that a SOURCE names, of its text, the job and the environment."""


class BaseExtractor:
    """What most sources have in common; each says what is otherwise with it."""

    ordered = False
    _wanted: Sequence[str] | None = None

    def describe(self) -> str:
        """Each source's own."""
        raise NotImplementedError

    def collections(self) -> Sequence[str]:
        """What there is, or of that what is wanted.

        Raises:
            ConfigError: it cannot be found out, or something that is wanted is not there.
        """
        return select_collections(self._available(), self._wanted, source=self.describe())

    def _available(self) -> Sequence[str]:
        raise NotImplementedError

    def count(self, collection: str) -> int | None:  # noqa: ARG002 some know it
        """Not known before it is read."""
        return None

    def identity(self, collection: str) -> str:  # noqa: ARG002
        """Always the same: positions fit any state."""
        return ""

    def describe_position(self, collection: str, position: Position) -> str:
        """Collection and key."""
        return f"{collection} {position!s:.100}"

    def close(self) -> None:
        """Close the client of a server, where one was made, and the connections to where files lie."""
        if "_client" in self.__dict__:
            self.__dict__["_client"].close()
        for path in (self.__dict__.get("_path"), *self.__dict__.get("_files", {}).values()):
            if isinstance(path, RemotePath):
                path.close()


def after_scheme(source: str, scheme: str) -> str:
    """A source without its scheme, if it has it."""
    return source[len(scheme) + 1 :] if source.lower().startswith(f"{scheme}:") else source


def chosen(config: JobConfig) -> list[str] | None:
    """The collections that a job names; None for all, of which patterns choose later."""
    return None if any(map(is_pattern, config.collection)) else list(config.collection) or None


def factory(
    make: Callable[..., Extractor],
    scheme: str = "",
    more: Callable[[JobConfig, Mapping[str, str]], dict[str, Any]] = lambda _config, _environ: {},
) -> Factory:
    """The factory of a source that is made of its text, the collections, and what a job and the environment give.

    Args:
        make: takes the text, `collections`, and what `more` gives.
        scheme: what is left out of the text.
        more: gives further arguments.
    """

    def open_source(source: str, config: JobConfig, environ: Mapping[str, str]) -> Extractor:
        place = located(after_scheme(source, scheme), config, environ)
        return make(place, collections=chosen(config), **more(config, environ))

    return open_source


def foreign_position(position: Position, what: str) -> CheckpointError:
    """What to raise for a position that is not this source's, such as `no key of this table`."""
    return CheckpointError(f"The checkpoint's position {position!r} is {what}.", hint="Start over with --restart.")


def divide(text: S, known: Mapping[str, str]) -> tuple[S, dict[str, str]]:
    """Path and options of a source; a file whose name has a question mark is taken for what it is.

    Args:
        text: the source without its scheme, or a file elsewhere.
        known: what each option says, for people.

    Raises:
        ConfigError: an option is not known, or given twice.
    """
    path: str | RemotePath
    if isinstance(text, RemotePath):
        url, query = text.url.divided(known)
        path = text.at(url)
    else:
        path, mark, query = text.partition("?")
        if not mark or os.path.exists(text):  # noqa: PTH110 (any text, also one that is not a path)
            return text, {}
    options: dict[str, str] = {}
    for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):
        if name not in known:
            forms = "; ".join(f"{option}={meaning}" for option, meaning in known.items())
            raise ConfigError(
                f"The source has an option {shown(name)}, which is not known.",
                hint=f"{did_you_mean(name, known, '{}')} There are: {forms}.",
            )
        if name in options:
            raise ConfigError(f"The source has the option {name} twice.", hint="Keep one of them.")
        options[name] = value
    return cast("S", path), options


def select_collections(available: Sequence[str], wanted: Sequence[str] | None, *, source: str) -> tuple[str, ...]:
    """Give the wanted collections in the order wanted, each once; all of them where nothing is wanted.

    Raises:
        ConfigError: a wanted collection is not there.
    """
    if wanted is None:
        return tuple(available)
    there = set(available)
    for collection in wanted:
        if collection not in there:
            names = ", ".join(shown(name) for name in available[:_MAX_SHOWN]) or "none"
            more = f" and {len(available) - _MAX_SHOWN} more" if len(available) > _MAX_SHOWN else ""
            raise ConfigError(
                f"There is no collection {shown(collection)} in {source}.", hint=f"It has: {names}{more}."
            )
    return tuple(dict.fromkeys(wanted))


class FileExtractor(BaseExtractor):
    """A file, or a folder with one for each collection, of records one after the other.

    A position is `<offset after the record>:<number>`, where the number is that of lines or documents so far,
    or two other numbers where a kind says so.

    Args:
        path: the file or folder.
        files: the files by collection.
        collections: which to read, in this order; all, sorted by name, where None.
    """

    def __init__(self, path: FilePath, files: Mapping[str, FilePath], collections: Sequence[str] | None) -> None:
        self._path = path
        self._files = files
        self._wanted = collections
        self._text_bytes: dict[str, int] = {}
        self.collections()

    def describe(self) -> str:
        """The absolute path, or the URL."""
        return absolute(self._path)

    def _available(self) -> Sequence[str]:
        return tuple(self._files)

    def identity(self, collection: str) -> str:
        """The file's size and a hash; of a file elsewhere, what its server says of its version."""
        return identity_of(self._files[collection])

    def describe_position(self, collection: str, position: Position) -> str:
        """Name the line or document that was read last, as `file:number`."""
        return f"{self._files[collection]}:{parse_position(position)[1]}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Each kind's own."""
        raise NotImplementedError

    def _ends(self, path: FilePath) -> Iterator[tuple[int, int]]:
        """Offset and number after each record of a plain file: a line, where a kind does not say otherwise."""
        with TextFile(path) as file:
            for offset, number, _ in read_lines(file):
                yield offset, number

    def share(self, collection: str, position: Position | None) -> float | None:
        """The part of the file's text before a position; of a packed one about that."""
        path = self._files[collection]
        if position is None or (isinstance(path, RemotePath) and path.look.size_bytes is None):
            return None
        text_bytes = self._text_bytes.get(collection)
        if text_bytes is None:
            text_bytes = self._text_bytes[collection] = about_text_bytes(path)
        return min(1.0, parse_position(position)[0] / max(1, text_bytes))

    def size(self, collection: str) -> int:
        """The file's size."""
        return self._files[collection].stat().st_size

    def bounds(self, collection: str, parts: int, min_rows: int) -> list[str]:
        """Positions at records' ends that divide a plain file of this machine into about so many parts.

        The parts are of about one size. The file is read once: what ends a record, and its number, is known from
        its beginning only.
        """
        path = self._files[collection]
        size = self.size(collection)
        found: list[str] = []
        last = 0
        for offset, number in self._ends(path) if read_cheaply(path) else ():
            if offset * parts >= size * (len(found) + 1) and number - last >= min_rows and offset < size:
                found.append(f"{offset}:{number}")
                last = number
        return found

    def extract_range(self, collection: str, after: Position | None, upto: Position) -> Iterator[Record]:
        """Yield what comes after one position, up to and with another."""
        return up_to(self.extract(collection, after=after), upto, parse_position)


def parse_position(position: Position, of: str = "a file's") -> tuple[int, int]:
    """The two numbers of a file's position, such as `<offset after the record>:<lines or records so far>`.

    Raises:
        CheckpointError: it is not of that kind.
    """
    offset, _, number = str(position).partition(":")
    if not (offset.isdecimal() and number.isdecimal()):
        raise foreign_position(position, f"none of {of}")
    return int(offset), int(number)


def up_to(records: Iterator[Record], bound: Position, key: Callable[[Position], Any]) -> Iterator[Record]:
    """Yield the records up to and with a bound, by what `key` makes of positions."""
    last = key(bound)
    return takewhile(lambda record: key(record.position) <= last, records)


def read_cheaply(path: FilePath) -> bool:
    """True of a file that may be read once more, to know it better: plain, and on this machine."""
    return isinstance(path, Path) and not is_packed(path)


def absolute(path: FilePath) -> str:
    """The path as a description: the same wherever the command is started."""
    if isinstance(path, RemotePath):
        return str(path)
    return os.path.abspath(path)  # noqa: PTH100 (resolve() would follow links, and the name would change)
