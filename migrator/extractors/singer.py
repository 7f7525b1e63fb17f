"""Reads what a Singer tap wrote to a file: a stream is a collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from migrator.errors import ConfigError
from migrator.extractors.files import absolute, parse_position
from migrator.extractors.lines import TextFile, file_identity
from migrator.extractors.opening import factory, select_collections
from migrator.extractors.singer_messages import Streams, batch_texts, message_lines
from migrator.model import Position, Record


class SingerExtractor:
    """The RECORD and BATCH messages of a file; its STATE is left alone (`migrator singer-target` gives it back).

    The file is read once for its streams, and once more for each. A position is `<offset after the line>:<line
    number>`, and of a BATCH, whose records have none of their own, `….<records so far>`.

    Args:
        path: the file.
        collections: which streams to read, in this order; all, in the order of their SCHEMA, where None.

    Raises:
        ConfigError: there is no such file.
    """

    ordered = False

    def __init__(self, path: str, *, collections: Sequence[str] | None = None) -> None:
        self._name = absolute(Path(path))
        self._path = Path(path)
        self._wanted = collections
        if not self._path.is_file():
            raise ConfigError(f"There is no file {path}.", hint="Give what a tap wrote: tap-name > FILE.")

    def describe(self) -> str:
        """The file."""
        return f"singer:{self._name}"

    def collections(self) -> Sequence[str]:
        """The streams.

        Raises:
            ConfigError: the file holds something else than messages.
        """
        return select_collections(tuple(self._streams.keys), self._wanted, source=self.describe())

    def count(self, collection: str) -> int | None:
        """Not known before it is read."""

    def identity(self, collection: str) -> str:  # noqa: ARG002
        """The file's size and a hash of its ends."""
        return file_identity(self._path)

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
        streams = self._streams_before(offset)
        if done:
            # The BATCH's own line again; its first records are done.
            offset, line = self._before(offset, line)
        with TextFile(self._path, offset=offset) as file:
            for end, number, raw in message_lines(file, self._name, start=(offset, line)):
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

    def close(self) -> None:
        """Nothing is held open between readings."""

    def _streams_before(self, end: int) -> Streams:
        """The streams as the SCHEMA messages before a place say: a later one may give another key."""
        streams = Streams()
        with TextFile(self._path) as file:
            for offset, number, raw in message_lines(file, self._name) if end else ():
                if offset > end:
                    break
                if b"SCHEMA" in raw:
                    streams.read(raw, f"{self._name}:{number}")
        return streams

    def _before(self, end: int, line: int) -> tuple[int, int]:
        before = (0, 0)
        with TextFile(self._path) as file:
            for offset, number, _ in message_lines(file, self._name):
                if (offset, number) == (end, line):
                    return before
                before = (offset, number)
        # A position of another file: what is read there says so.
        return end, line

    @cached_property
    def _streams(self) -> Streams:
        streams = Streams()
        with TextFile(self._path) as file:
            for _, number, raw in message_lines(file, self._name):
                streams.read(raw, f"{self._name}:{number}")
        return streams


open_source = factory(SingerExtractor, "singer")
