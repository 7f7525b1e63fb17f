"""Runs transformers in several processes: for functions of the user's own that need much of a processor.

Only JSON texts go to and fro, never Python's own objects. Records stay in order, and what is said of each is what
would be said without the pool. Such a process is `python -m migrator.jobs.transform_pool`: texts come in, what the
transformers make of them goes out, and it ends when its standard input does.
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
from typing import BinaryIO, cast

from migrator.codec import VALUE_CODECS, InvalidDocument, ValueCodec, decode
from migrator.errors import ConfigError, Interrupted, MigratorError
from migrator.model import BatchLimits, Fault, Record, Transformer
from migrator.pipeline.batching import Assembly, transformed
from migrator.retry.window import Window, in_batches

CHUNK = BatchLimits(max_docs=100, max_bytes=256_000)
# So many chunks are on their way for each process, so that none waits for the next one.
CHUNKS_EACH = 2
_LEAVE_S = 2.0
# What an answer's first byte says of a text.
MADE, FILTERED, FAULTY, UNREADABLE = b"m", b"-", b"f", b"u"
_COUNT = struct.Struct(">I")


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

    def __init__(
        self,
        workers: int,
        specs: Sequence[str],
        *,
        codec: str,
        seed: str,
        started_ms: int,
        stopping: threading.Event,
    ) -> None:
        self._workers = workers
        self._stopping = stopping
        asked = {"transform": list(specs), "codec": codec, "seed": seed, "started_ms": started_ms}
        self._asked = json.dumps({**asked, "path": sys.path}).encode()
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._started: list[_Worker] = []
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="transform")
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
            at_once=lambda: self._workers,
            queued=self._workers * (CHUNKS_EACH - 1) + 1,
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
            worker.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in started:
            worker.let_go()

    def _look(self) -> None:
        if self._stopping.is_set():
            raise Interrupted("Stopped while documents were transformed.", hint="Go on with --resume.") from None

    def _transform(self, chunk: list[Record], assembly: Assembly) -> list[Record]:
        texts = [record.text for record in chunk if record.text is not None and record.fault is None]
        if not texts:
            return chunk
        worker = self._worker()
        answers = iter(worker.transform(texts))
        self._idle.put(worker)
        made = []
        for record in chunk:
            if record.text is None or record.fault is not None:
                made.append(record)
                continue
            answer = next(answers)
            kind = answer[:1]
            if kind == UNREADABLE:
                # Why it is no document is said where all others are said.
                made.append(record)
            elif kind == FILTERED:
                made.append(assembly.finished(record, None))
            elif kind == FAULTY:
                made.append(assembly.finished(record, Fault(*json.loads(answer[1:]))))
            else:
                made.append(assembly.finished(record, answer[1:]))
        return made

    def _worker(self) -> _Worker:
        with contextlib.suppress(queue.Empty):
            return self._idle.get_nowait()
        with self._lock:
            if self._closed:
                raise Interrupted("The transform processes were ended.")
            worker = _Worker()
            self._started.append(worker)
        worker.begin(self._asked)
        return worker


class _Worker:
    """One process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "migrator.jobs.transform_pool"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._stdin = cast("BinaryIO", self._process.stdin)
        self._stdout = cast("BinaryIO", self._process.stdout)
        self._closing = False

    def begin(self, asked: bytes) -> None:
        refused = self.transform([asked])
        if refused:
            message, hint = (text.decode() for text in refused)
            raise ConfigError(message, hint=hint)

    def close(self) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._left()

    def let_go(self) -> None:
        """Close what nobody reads any more."""
        self._stdout.close()

    def transform(self, items: Sequence[bytes]) -> list[bytes]:
        try:
            write_frame(self._stdin, items)
            return read_frame(self._stdout)
        except (OSError, EOFError, ValueError):
            raise self._ended() from None

    def _left(self) -> int:
        """The exit code of the process, which is killed where it does not leave."""
        try:
            return self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _ended(self) -> MigratorError:
        if self._closing:
            return Interrupted("The transform processes were ended.")
        code = self._left()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return MigratorError(
            f"A transform process ended by itself ({how}); what it was at is not settled.",
            hint="It may need less memory, or a function ends the process. Then go on with --resume, "
            "or without --transform-workers to see the error.",
        )


def _texts(records: Iterable[Record]) -> Iterator[Record]:
    for record in records:
        if record.document is not None:
            raise ConfigError(
                "--transform-workers takes sources of JSON texts, and this one gives Python's own objects.",
                hint="Leave it out: they are transformed in this process.",
            )
        yield record


def write_frame(stream: BinaryIO, items: Sequence[bytes]) -> None:
    """Write some byte strings, so that they can be read as they are."""
    lengths = struct.pack(f">{len(items) + 1}I", len(items), *map(len, items))
    stream.write(b"".join((lengths, *items)))
    stream.flush()


def read_frame(stream: BinaryIO) -> list[bytes]:
    """Read what was written.

    Raises:
        EOFError: the stream is at its end, or ends in the middle.
    """
    (count,) = _COUNT.unpack(_whole(stream, _COUNT.size))
    lengths = struct.unpack(f">{count}I", _whole(stream, 4 * count))
    return [_whole(stream, length) for length in lengths]


def _whole(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) != length:
        raise EOFError
    return data


def answer(text: bytes, transform: Transformer, values: ValueCodec) -> bytes:
    """What becomes of one text; how to say that it is none is left to who sent it."""
    try:
        document = decode(text)
    except InvalidDocument:
        return UNREADABLE
    made = transformed(document, transform, values)
    if made is None:
        return FILTERED
    if isinstance(made, Fault):
        # Half a surrogate pair may stand in an id or a message.
        return FAULTY + json.dumps([made.error, made.reason, made.id]).encode()
    return MADE + made[1]


def main() -> None:
    """Serve until nothing more comes."""
    # The other process decides when to stop, and what is then still to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a function of the user's prints or reads must not get between the frames.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    frames: queue.Queue[list[bytes]] = queue.Queue(2)
    threading.Thread(target=_receive, args=(source, frames), daemon=True).start()
    asked = json.loads(frames.get()[0])
    sys.path[:] = asked["path"]
    try:
        from migrator import transformers  # with the path that was asked for

        run = {"seed": bytes.fromhex(asked["seed"]), "started_ms": asked["started_ms"]}
        transform = transformers.compose([transformers.parse(spec, **run) for spec in asked["transform"]])
    except MigratorError as error:
        write_frame(target, [error.message.encode(errors="replace"), error.hint.encode(errors="replace")])
        return
    values = VALUE_CODECS[asked["codec"]]
    write_frame(target, [])
    while True:
        write_frame(target, [answer(text, transform, values) for text in frames.get()])


def _receive(source: BinaryIO, frames: queue.Queue[list[bytes]]) -> None:
    try:
        while True:
            frames.put(read_frame(source))
    except EOFError:
        pass
    # Whoever asked is gone; a function that does not come back must not outlive it.
    os._exit(0)


if __name__ == "__main__":
    main()
