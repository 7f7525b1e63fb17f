"""A Singer target: writes the records of a tap, and gives a STATE back once all before it is settled."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import BinaryIO, Unpack

from migrator.checkpoint.reject_file import RejectFile
from migrator.config import JobConfig
from migrator.errors import ConfigError
from migrator.extractors.singer import Streams, batch_texts, message_lines
from migrator.jobs.dispatch import StreamWriter
from migrator.jobs.open import Around
from migrator.model import Counts, Record

PIECE_RECORDS = 10_000
PIECE_BYTES = 32_000_000
PIECE_SECONDS = 30.0


class SingerTarget:
    """Takes messages and writes their records in pieces, in the order of their coming.

    A piece is written when it has so many records or bytes, when a message comes after so many seconds, and at
    the end. Then the newest STATE that came before its last record is given back: what it vouches for is at the
    target or in the reject file.

    Args:
        config: the job, but for its source.
        rejects: where rejected records go.
        give_state: gets the text of each STATE's value, without a line break.
        piece_records: records of a piece.
        clock: seconds, for tests.
        around: as in `open_job`.
    """

    def __init__(
        self,
        config: JobConfig,
        rejects: RejectFile,
        give_state: Callable[[str], None],
        *,
        piece_records: int = PIECE_RECORDS,
        clock: Callable[[], float] = time.monotonic,
        **around: Unpack[Around],
    ) -> None:
        self._writer = StreamWriter(config, "singer:-", rejects, **around)
        self._give_state = give_state
        self._stopping = around.get("stopping") or threading.Event()
        self._piece_records = piece_records
        self._clock = clock
        self._streams = Streams()
        self._records: dict[str, list[Record]] = {}
        self._count = 0
        self._bytes = 0
        self._began = clock()
        self._state: str | None = None
        self._failed = False

    @property
    def counts(self) -> Counts:
        """What became of all records so far."""
        return self._writer.counts

    def run(self, messages: BinaryIO) -> Counts:
        """Take all messages.

        Raises:
            ConfigError: something came that is not a message; what came before is written.
            MigratorError: as of a run; no STATE is given back for what is not settled.
        """
        # Without its buffer a pipe gives bytes as they come, not when a block is full.
        at_once = getattr(messages, "raw", messages)
        for _, number, text in message_lines(at_once, "standard input"):
            try:
                self._take(text or b"", number)
            except ConfigError:
                # What came before can be settled, and its STATE be given back.
                self._write()
                raise
            if self._stopping.is_set():
                break
            full = self._count >= self._piece_records or self._bytes >= PIECE_BYTES
            if full or self._clock() - self._began >= PIECE_SECONDS:
                self._write()
        self._write()
        return self.counts

    def _take(self, text: bytes, number: int) -> None:
        place = f"standard input:{number}"
        message = self._streams.read(text, place)
        if message is None:
            return
        if message.kind == "STATE":
            self._state = json.dumps(message.content, ensure_ascii=False)
        elif message.kind == "SCHEMA":
            # So the database of a stream without records is made too.
            self._records.setdefault(message.stream, [])
        elif message.kind == "RECORD":
            self._add(
                message.stream, self._streams.record(message.stream, message.content, self._count, place), text
            )
        else:
            for where, item in batch_texts(message.content, place):
                self._add(message.stream, self._streams.batched(message.stream, item, self._count, where), item)
                if self._count >= self._piece_records or self._bytes >= PIECE_BYTES:
                    self._write()

    def _add(self, stream: str, record: Record, text: bytes) -> None:
        self._records.setdefault(stream, []).append(record)
        self._count += 1
        self._bytes += len(text)

    def _write(self) -> None:
        if self._failed:
            return
        records, self._records = self._records, {}
        self._count, self._bytes, self._began = 0, 0, self._clock()
        if records:
            # Should this raise, no STATE is given back any more.
            self._failed = True
            self._writer.write(records)
            self._failed = False
        if self._state is not None:
            state, self._state = self._state, None
            self._give_state(state)
