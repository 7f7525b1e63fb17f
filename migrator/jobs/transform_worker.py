"""The other process of a transform pool: texts come in, what the transformers make of them goes out.

It is started as `python -m migrator.jobs.transform_worker`, and ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import struct
import sys
import threading
from collections.abc import Sequence
from typing import BinaryIO

from migrator.codec import VALUE_CODECS, InvalidDocument, ValueCodec, decode
from migrator.errors import MigratorError
from migrator.model import Fault, Transformer
from migrator.pipeline.batching import transformed

# What an answer's first byte says of a text.
MADE, FILTERED, FAULTY, UNREADABLE = b"m", b"-", b"f", b"u"
_COUNT = struct.Struct(">I")


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
