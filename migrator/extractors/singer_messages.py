"""The messages of the Singer specification, one JSON object a line: SCHEMA, RECORD, BATCH, STATE."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from migrator.codec import InvalidDocument, decode
from migrator.errors import ConfigError
from migrator.extractors.lines import MAX_LINE_BYTES, Line, Readable, read_lines
from migrator.extractors.sql_values import NoId, document_id
from migrator.model import Fault, Position, Record
from migrator.naming import shown

TAP_HINT = "Only the messages of a Singer tap may come in; run the tap alone, and look at its standard output."


class Message(NamedTuple):
    """One message. `content` is the record, the state's value, or of a BATCH the whole message."""

    kind: str
    stream: str
    content: Any


@dataclass
class Streams:
    """The streams whose SCHEMA came, with the properties that are their key."""

    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self, text: bytes, place: str) -> Message | None:
        """One line's message; None for one that says nothing about documents.

        Raises:
            ConfigError: it is no message, or of a stream whose SCHEMA did not come.
        """
        try:
            found = decode(text)
        except InvalidDocument as invalid:
            raise ConfigError(f"{place}: {invalid.reason}.", hint="Is this the output of a Singer tap?") from None
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
            if stream not in self.keys:
                raise ConfigError(
                    f"{place}: a {kind} of the stream {shown(str(stream))} came before its SCHEMA.",
                    hint="The tap is at fault.",
                )
            return Message(kind, stream, found.get("record") if kind == "RECORD" else found)
        if kind == "ACTIVATE_VERSION":
            # What a tap no longer has stays at the target: nothing here removes documents.
            return None
        raise ConfigError(
            f"{place}: {shown(str(kind))} is no kind of message.", hint="Is this a Singer tap's output?"
        )

    def record(self, stream: str, content: Any, position: Position, place: str) -> Record:
        """The record of a RECORD message, with the `_id` that its key makes."""
        if not isinstance(content, Mapping):
            return Record(position, fault=Fault("not_an_object", f"{place}: the record is no object", "", content))
        key = self.keys[stream]
        missing = [name for name in key if name not in content]
        if missing:
            reason = f"{place}: the record has no {missing[0]}, which is of the key"
            return Record(position, fault=Fault("no_key", reason, "", content))
        if not key:
            return Record(position, content)
        try:
            return Record(position, {**content, "_id": document_id([content[name] for name in key])})
        except NoId as error:
            return Record(position, fault=Fault("no_id", f"{place}: {error}", "", content))


def message_lines(stream: Readable, name: str, *, start: tuple[int, int] = (0, 0)) -> Iterator[Line]:
    """The lines that are not blank.

    Raises:
        ConfigError: a line is too long to be held.
    """
    for end, number, text in read_lines(stream, start=start):
        if text is None:
            raise ConfigError(f"{name}:{number}: the line is longer than {MAX_LINE_BYTES} bytes.", hint=TAP_HINT)
        if text.strip():
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
                    yield f"{path}:{number}", text or b""
        except (OSError, EOFError) as error:
            raise ConfigError(f"{place}: the BATCH file {path} cannot be read: {error}.", hint=TAP_HINT) from error
