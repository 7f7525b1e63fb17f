"""Runs transformers in several processes: for functions of the user's own that need much of a processor.

Only JSON texts go to and fro, never Python's objects. Records stay in order, and what is said of each is what
would be said without the pool. Texts come in, and what the transformers make of them goes
out (`jobs/processes`).
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from migrator.codec import VALUE_CODECS, InvalidDocument, ValueCodec, decode
from migrator.couch.revision import recognized
from migrator.errors import ConfigError, Interrupted, MigratorError
from migrator.jobs.processes import Process, Processes, packed, serving, unpacked
from migrator.model import BatchLimits, EncodedDocument, Fault, Record, Transformer
from migrator.pipeline.batching import Assembly, transformed
from migrator.retry.window import Window, in_batches

CHUNK = BatchLimits(max_docs=100, max_bytes=256_000)
# So many chunks are on their way for each process, so that none waits for the next one.
CHUNKS_EACH = 2
MODULE, WHAT = "migrator.jobs.transform_pool", "transform"
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
        self._processes = Processes(MODULE, WHAT)
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="transform")

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
        self._processes.end()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._processes.close()

    def _look(self) -> None:
        if self.stopping.is_set():
            raise Interrupted("Stopped while documents were transformed.", hint="Go on with --resume.") from None

    def _transform(self, chunk: list[Record], assembly: Assembly) -> list[Record]:
        texts = [record.text for record in chunk if record.text is not None and record.fault is None]
        if not texts:
            return chunk
        process, is_new = self._processes.take()
        if is_new:
            self._begin(process)
        answers = iter(process.ask(texts))
        self._processes.give_back(process)
        made = []
        for record in chunk:
            answer = UNREADABLE if record.text is None or record.fault is not None else next(answers)
            # Why a text is not a document is said where all others are said.
            made.append(record if answer == UNREADABLE else assembly.finished(record, _result(answer, record)))
        return made

    def _begin(self, process: Process) -> None:
        asked = [self.specs, self.codec, self.seed, self.started_ms, sys.path]
        if refused := process.ask([json.dumps(asked).encode()]):
            message, hint = (text.decode() for text in refused)
            raise ConfigError(message, hint=hint)


def _texts(records: Iterable[Record]) -> Iterator[Record]:
    for record in records:
        if record.document is not None:
            raise ConfigError(
                "--workers takes sources of JSON texts, and this one gives Python's own objects.",
                hint="Leave it out: they are transformed in this process.",
            )
        yield record


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
    connection, questions = serving()
    specs, codec, seed, started_ms, sys.path[:] = json.loads(next(questions)[0])
    try:
        from migrator import transformers  # with the path that was asked for

        transform = transformers.parse_all(specs, seed=bytes.fromhex(seed), started_ms=started_ms)
    except MigratorError as error:
        connection.send_bytes(packed([each.encode(errors="replace") for each in (error.message, error.hint)]))
        return
    values = VALUE_CODECS[codec]
    connection.send_bytes(packed([]))
    for texts in questions:
        connection.send_bytes(packed([answer(text, transform, values) for text in texts]))


if __name__ == "__main__":
    main()
