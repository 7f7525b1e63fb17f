"""Reads what a Singer tap wrote to a file: a stream is a collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from migrator.errors import ConfigError
from migrator.extractors.files import absolute, parse_position
from migrator.extractors.lines import TextFile
from migrator.extractors.opening import BaseExtractor, factory, select_collections
from migrator.extractors.singer_messages import Streams, batch_texts, message_lines
from migrator.files.identity import file_identity
from migrator.model import Position, Record


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
