"""The messages of the Singer specification, one JSON object a line: SCHEMA, RECORD, BATCH, STATE."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from migrator.codec import InvalidDocument, decode
from migrator.codec.rejected import read_loosely
from migrator.errors import ConfigError
from migrator.extractors.keys import document_id, keyed_record
from migrator.extractors.lines import MAX_LINE_BYTES, Readable, text_lines
from migrator.extractors.row_faults import field_in_text, row_fault, text_fault, text_of
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
                raise ConfigError(f"{place}: key_properties are no list of names.", hint="The tap is at fault.")
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
            f"{place}: {shown(str(kind))} is no kind of message.", hint="Is this a Singer tap's output?"
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
