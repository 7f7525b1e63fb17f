"""Runs transformers in several processes: for functions of the user's own that need much of a processor.

Only JSON texts go to and fro, never Python's objects. Records stay in order, and what is said of each is what
would be said without the pool. Such a process is `python -m migrator.jobs.transform_pool`, with a
connection as its standard input: texts come in, what the transformers make of them goes out, and it ends when the
other side does.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from multiprocessing.connection import Connection, Pipe
from typing import Any

from migrator.codec import VALUE_CODECS, InvalidDocument, ValueCodec, decode
from migrator.couch.revision import recognized
from migrator.errors import ConfigError, Interrupted, MigratorError
from migrator.model import BatchLimits, EncodedDocument, Fault, Record, Transformer
from migrator.pipeline.batching import Assembly, transformed
from migrator.retry.window import Window, in_batches

CHUNK = BatchLimits(max_docs=100, max_bytes=256_000)
# So many chunks are on their way for each process, so that none waits for the next one.
CHUNKS_EACH = 2
_LEAVE_S = 2.0
# What an answer's first byte says of a text: it is not a document, or nobody has looked; it is filtered out, or at
# fault; this comes of it; this plain document comes of it, with its revision.
UNREADABLE, FILTERED, FAULTY, MADE, KNOWN = b"u", b"-", b"f", b"m", b"k"


@dataclass(eq=False)
class TransformPool:
    """Prepares records in other processes; see `Assembly.prepare`. Close it in the end.

    Args:
        workers: how many processes; each is started when there is work for it.
        specs: the transformers.
        codec: name of the value codec.
        seed: of made-up ids.
        started_ms: when the run began.
        stopping: set it to stop waiting for them.
    """

    workers: int
    specs: Sequence[str]
    codec: str
    seed: str
    started_ms: int
    stopping: threading.Event

    def __post_init__(self) -> None:
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._started: list[_Worker] = []
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="transform")
        self._closed = False

    def __call__(self, records: Iterable[Record], assembly: Assembly) -> Iterator[Record]:
        """Yield what became of each record, in order.

        Raises:
            ConfigError: the source gives Python's objects and no texts.
            Interrupted: it was asked to stop.
            MigratorError: a process ended by itself.
        """
        window: Window[list[Record], list[Record]] = Window(
            self._threads,
            lambda chunk: self._transform(chunk, assembly),
            at_once=lambda: self.workers,
            queued=self.workers * (CHUNKS_EACH - 1) + 1,
            look=self._look,
        )
        for made in window.results(in_batches(_texts(records), CHUNK, lambda record: len(record.text or b""))):
            yield from made

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        with self._lock:
            self._closed = True
            started = list(self._started)
        for worker in started:
            worker.end()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in started:
            worker.connection.close()

    def _look(self) -> None:
        if self.stopping.is_set():
            raise Interrupted("Stopped while documents were transformed.", hint="Go on with --resume.") from None

    def _transform(self, chunk: list[Record], assembly: Assembly) -> list[Record]:
        texts = [record.text for record in chunk if record.text is not None and record.fault is None]
        if not texts:
            return chunk
        worker = self._worker()
        answers = iter(worker.ask(texts))
        self._idle.put(worker)
        made = []
        for record in chunk:
            answer = UNREADABLE if record.text is None or record.fault is not None else next(answers)
            # Why a text is not a document is said where all others are said.
            made.append(record if answer == UNREADABLE else assembly.finished(record, _result(answer, record)))
        return made

    def _worker(self) -> _Worker:
        with contextlib.suppress(queue.Empty):
            return self._idle.get_nowait()
        with self._lock:
            if self._closed:
                raise Interrupted("The transform processes were ended.")
            worker = _Worker()
            self._started.append(worker)
        asked = [self.specs, self.codec, self.seed, self.started_ms, sys.path]
        if refused := worker.ask([json.dumps(asked).encode()]):
            message, hint = (text.decode() for text in refused)
            raise ConfigError(message, hint=hint)
        return worker


class _Worker:
    """One process."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        with contextlib.closing(theirs):
            # What a function of the user's prints is for people to see.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "migrator.jobs.transform_pool"], stdin=theirs.fileno(), stdout=2
            )
        self._closing = False

    def end(self) -> None:
        self._closing = True
        self._process.kill()
        self._process.wait()

    def ask(self, texts: Sequence[bytes]) -> list[bytes]:
        # As bytes: of objects a connection would make pickles.
        try:
            self.connection.send_bytes(packed(texts))
            return unpacked(self.connection.recv_bytes())
        except (OSError, EOFError):
            raise self._ended() from None

    def _ended(self) -> MigratorError:
        if self._closing:
            return Interrupted("The transform processes were ended.")
        try:
            code = self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return MigratorError(
            f"A transform process ended by itself ({how}); what it was at is not settled.",
            hint="It may need less memory, or a function ends the process. Then go on with --resume, "
            "or without --workers to see the error.",
        )


def _texts(records: Iterable[Record]) -> Iterator[Record]:
    for record in records:
        if record.document is not None:
            raise ConfigError(
                "--workers takes sources of JSON texts, and this one gives Python's own objects.",
                hint="Leave it out: they are transformed in this process.",
            )
        yield record


def packed(texts: Sequence[bytes]) -> bytes:
    """Some byte strings as one, for `unpacked`."""
    return b"".join((struct.pack(f">{len(texts) + 1}I", len(texts), *map(len, texts)), *texts))


def unpacked(data: bytes) -> list[bytes]:
    """The byte strings as they were."""
    (count,) = struct.unpack_from(">I", data)
    ends = [*accumulate(struct.unpack_from(f">{count}I", data, 4), initial=4 * count + 4)]
    return [data[begin:end] for begin, end in pairwise(ends)]


def _result(answer: bytes, record: Record) -> bytes | EncodedDocument | Fault | None:
    kind, rest = answer[:1], answer[1:]
    if kind == KNOWN:
        id, rev, body = unpacked(rest)
        return EncodedDocument(id.decode(), body or record.text or b"", rev.decode())
    if kind == FAULTY:
        return Fault(*json.loads(rest))
    return rest if kind == MADE else None


def answer(text: bytes, transform: Transformer | None, values: ValueCodec) -> bytes:
    """What becomes of one text. Why it is not a document is said by who sent it."""
    if transform is None:
        known = recognized(text) if b"\n" not in text and b"\r" not in text else None
        return _known(known, b"") if known else UNREADABLE
    try:
        document = decode(text)
    except InvalidDocument:
        return UNREADABLE
    made = transformed(document, transform, values)
    if made is None:
        return FILTERED
    if isinstance(made, Fault):
        # Whoever sent it has the document. Half a surrogate pair may stand in an id or a message.
        return FAULTY + json.dumps([made.error, made.reason, made.id]).encode()
    known = recognized(made[1])
    return _known(known, made[1]) if known else MADE + made[1]


def _known(document: EncodedDocument, body: bytes) -> bytes:
    return KNOWN + packed([document.id.encode(), (document.rev or "").encode(), body])


def main() -> None:
    """Serve until nothing more comes."""
    # The other process decides when to stop, and what is then still to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection: Connection[Any, Any] = Connection(os.dup(0))
    # What a function of the user's reads must not be a question.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    questions: queue.Queue[list[bytes]] = queue.Queue(2)
    threading.Thread(target=_receive, args=(connection, questions), daemon=True).start()
    specs, codec, seed, started_ms, sys.path[:] = json.loads(questions.get()[0])
    try:
        from migrator import transformers  # with the path that was asked for

        transform = transformers.parse_all(specs, seed=bytes.fromhex(seed), started_ms=started_ms)
    except MigratorError as error:
        connection.send_bytes(packed([each.encode(errors="replace") for each in (error.message, error.hint)]))
        return
    values = VALUE_CODECS[codec]
    connection.send_bytes(packed([]))
    while True:
        connection.send_bytes(packed([answer(text, transform, values) for text in questions.get()]))


def _receive(connection: Connection[Any, Any], questions: queue.Queue[list[bytes]]) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            questions.put(unpacked(connection.recv_bytes()))
    # Whoever asked is gone; a function that does not come back must not outlive it.
    os._exit(0)


if __name__ == "__main__":
    main()
