"""Reads the messages of a Singer tap, one JSON object a line: a stream is a collection."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from migrator.codec import InvalidDocument, decode
from migrator.codec.rejected import field_in_text, read_loosely, text_of
from migrator.errors import ConfigError
from migrator.extractors.base import BaseExtractor, absolute, factory, parse_position
from migrator.extractors.lines import MAX_LINE_BYTES, Readable, TextFile, text_lines
from migrator.extractors.remote import AnyPath, file_path, identity_of
from migrator.extractors.rows import document_id, keyed_record, row_fault, text_fault
from migrator.model import Fault, Position, Record
from migrator.naming import shown

_NO_DOCUMENTS = ('"SCHEMA"', '"ACTIVATE_VERSION"')
TAP_HINT = "Only the messages of a Singer tap may come in; run the tap alone, and look at its standard output."


class Message(NamedTuple):
    """One message. `content` is the record or its fault, the state's value, or of a BATCH the whole message."""

    kind: str
    stream: str
    content: Any


@dataclass
class Streams:
    """The streams, with the properties that are their key; None of one whose SCHEMA did not come."""

    keys: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    _latest: str = ""

    def read(self, text: bytes, place: str) -> Message | None:
        """One line's message; None for one that says nothing about documents.

        A line that is not a message, such as one that a tap prints by mistake, is a record at fault of the stream
        before it: so it is named, and the others go on.

        Raises:
            ConfigError: it is not a message, and none came before: this is not the output of a tap.
        """
        try:
            message = self._message(text, place)
        except ConfigError as error:
            if not self._latest:
                raise
            return Message("RECORD", self._latest, row_fault("", "not_a_message", error.message, document=text))
        self._latest = (message and message.stream) or self._latest
        return message

    def _message(self, text: bytes, place: str) -> Message | None:
        try:
            found = decode(text)
        except InvalidDocument as invalid:
            # Of a SCHEMA only the key counts, so NaN in what it says of a property does not matter.
            loose = read_loosely(text) if field_in_text(text, "type") in _NO_DOCUMENTS else None
            if loose is None:
                return self._unreadable(text, invalid, place)
            found = loose
        kind, stream = found.get("type"), found.get("stream", "")
        if kind == "STATE":
            return Message("STATE", "", found.get("value"))
        if kind == "SCHEMA" and isinstance(stream, str) and stream:
            key = found.get("key_properties") or []
            if not isinstance(key, list) or not all(isinstance(name, str) for name in key):
                raise ConfigError(f"{place}: key_properties is not a list of names.", hint="The tap is at fault.")
            self.keys[stream] = tuple(key)
            return Message("SCHEMA", stream, found)
        if kind in {"RECORD", "BATCH"}:
            if not isinstance(stream, str) or not stream:
                raise ConfigError(f"{place}: a {kind} names no stream.", hint="The tap is at fault.")
            self.keys.setdefault(stream, None)
            return Message(kind, stream, found.get("record") if kind == "RECORD" else found)
        if kind == "ACTIVATE_VERSION":
            # What a tap no longer has stays at the target: nothing here removes documents.
            return None
        raise ConfigError(
            f"{place}: {shown(str(kind))} is not a kind of message.", hint="Is this a Singer tap's output?"
        )

    def record(self, stream: str, content: Any, position: Position, place: str) -> Record:
        """The record of a RECORD message, with the `_id` that its key makes."""
        if isinstance(content, Fault):
            return Record(position, fault=content)
        key = self.keys[stream]
        if key is None:
            reason = f"a record of the stream {shown(stream)} came before its SCHEMA"
            return Record(position, fault=row_fault(place, "no_schema", reason, document=content))
        return keyed_record(position, content, key, place)

    def batched(self, stream: str, text: bytes, position: Position, place: str) -> Record:
        """The record that is a line of a BATCH message's file."""
        try:
            return self.record(stream, decode(text), position, place)
        except InvalidDocument as invalid:
            shown_text = text.decode("utf-8", "surrogateescape")
            return Record(position, fault=self._fault(stream, shown_text, invalid, place))

    def _unreadable(self, text: bytes, invalid: InvalidDocument, place: str) -> Message:
        """A RECORD whose content is at fault, such as NaN: that is found where the rest shows what it is."""
        stream = text_of(field_in_text(text, "stream"))
        if field_in_text(text, "type") != '"RECORD"' or not stream:
            raise ConfigError(f"{place}: {invalid.reason}.", hint="Is this the output of a Singer tap?") from None
        self.keys.setdefault(stream, None)
        content = field_in_text(text, "record") or text.decode("utf-8", "surrogateescape")
        return Message("RECORD", stream, self._fault(stream, content, invalid, place))

    def _fault(self, stream: str, content: str, invalid: InvalidDocument, place: str) -> Fault:
        """The fault of a record, whose text is kept with the `_id` that it should have: so it can be put right."""
        key = [text_of(field_in_text(content, name)) for name in self.keys[stream] or ()]
        id = document_id(key) if key and all(key) else ""
        if id and content.startswith("{"):
            content = f'{{"_id": {json.dumps(id)}, {content[1:].lstrip()}'
        return text_fault(invalid, content.encode("utf-8", "surrogateescape"), place, id=id)


def message_lines(
    stream: Readable, name: str, *, start: tuple[int, int] = (0, 0)
) -> Iterator[tuple[int, int, bytes]]:
    """The lines that are not blank.

    Raises:
        ConfigError: a line is too long to be held.
    """
    for end, number, text in text_lines(stream, start=start):
        if text is None:
            raise ConfigError(f"{name}:{number}: the line is longer than {MAX_LINE_BYTES} bytes.", hint=TAP_HINT)
        yield end, number, text


def batch_texts(message: Mapping[str, Any], place: str) -> Iterator[tuple[str, bytes]]:
    """The place and text of each record in the files of a BATCH message.

    Raises:
        ConfigError: its encoding is not JSON lines, or a file cannot be read.
    """
    encoding = message.get("encoding")
    encoding = encoding if isinstance(encoding, Mapping) else {}
    manifest = message.get("manifest")
    packing = encoding.get("compression") or "none"
    if encoding.get("format") != "jsonl" or packing not in {"gzip", "none"} or not isinstance(manifest, Sequence):
        raise ConfigError(
            f"{place}: a BATCH of the encoding {shown(str(dict(encoding)))} cannot be read.",
            hint="Configure the tap for jsonl, with gzip or none.",
        )
    for url in manifest:
        parts = urlsplit(str(url))
        if parts.scheme not in {"file", ""}:
            raise ConfigError(
                f"{place}: the BATCH file {shown(str(url))} is not on this machine.", hint="Use file://."
            )
        path = Path(unquote(parts.path))
        try:
            with gzip.open(path) if packing == "gzip" else path.open("rb") as file:
                for _, number, text in message_lines(file, str(path)):
                    yield f"{path}:{number}", text
        except (OSError, EOFError) as error:
            raise ConfigError(f"{place}: the BATCH file {path} cannot be read: {error}.", hint=TAP_HINT) from error


class SingerExtractor(BaseExtractor):
    """The RECORD and BATCH messages of a file; its STATE is left alone (`migrator singer-target` gives it back).

    The file is read once for its streams, and once more for each. A position is `<offset after the line>:<line
    number>`, and of a BATCH, whose records have none of their own, `….<records so far>`.

    Args:
        path: the file.
        collections: which streams to read, in this order; all, in the order of their SCHEMA, where None.

    Raises:
        ConfigError: there is no such file.
    """

    def __init__(self, path: AnyPath, *, collections: Sequence[str] | None = None) -> None:
        self._path = file_path(path)
        self._name = absolute(self._path)
        self._wanted = collections
        if not self._path.is_file():
            raise ConfigError(f"There is no file {path}.", hint="Give what a tap wrote: tap-name > FILE.")

    def describe(self) -> str:
        """The file."""
        return f"singer:{self._name}"

    def _available(self) -> Sequence[str]:
        return tuple(self._streams.keys)

    def identity(self, collection: str) -> str:  # noqa: ARG002
        """The file's size and a hash of its ends."""
        return identity_of(self._path)

    def describe_position(self, collection: str, position: Position) -> str:  # noqa: ARG002
        """File and line."""
        return f"{self._name}:{str(position).rpartition(':')[2]}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield the stream's records.

        Raises:
            CheckpointError: the file is not the one that `after` was taken from.
            ConfigError: the file, or one of a BATCH, is damaged.
        """
        text, _, inner = ("0:0" if after is None else str(after)).partition(".")
        (offset, line), done = parse_position(text), parse_position(f"0:{inner or 0}")[1]
        streams, before = self._streams_before((offset, line))
        # Of a BATCH its own line again; its first records are done.
        for end, number, raw in self._messages(before if done else (offset, line)):
            place, position = f"{self._name}:{number}", f"{end}:{number}"
            message = streams.read(raw, place)
            if message is None or message.stream != collection or message.kind == "SCHEMA":
                continue
            if message.kind == "RECORD":
                yield streams.record(collection, message.content, position, place)
                continue
            for count, (where, item) in enumerate(batch_texts(message.content, place), 1):
                if count > done:
                    yield streams.batched(collection, item, f"{position}.{count}", where)
            done = 0

    def _messages(self, start: tuple[int, int] = (0, 0)) -> Iterator[tuple[int, int, bytes]]:
        with TextFile(self._path, offset=start[0]) as file:
            yield from message_lines(file, self._name, start=start)

    def _streams_before(self, place: tuple[int, int]) -> tuple[Streams, tuple[int, int]]:
        """The streams as the SCHEMA messages up to a place say, as a later one may give another key.

        With them comes the place before the last line; of another file's position, where what is read there says
        so, the very place.
        """
        streams = Streams()
        before = last = (0, 0)
        for end, number, raw in self._messages() if place[0] else ():
            if end > place[0]:
                break
            before, last = last, (end, number)
            if b"SCHEMA" in raw:
                streams.read(raw, f"{self._name}:{number}")
        return streams, before if last == place else place

    @cached_property
    def _streams(self) -> Streams:
        streams = Streams()
        for _, number, raw in self._messages():
            streams.read(raw, f"{self._name}:{number}")
        return streams


open_source = factory(SingerExtractor, "singer")
