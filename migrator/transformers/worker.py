"""The other process of a transform pool: texts come in, what the transformers make of them goes out.

It is started as `python -m migrator.transformers.worker`, and ends when its standard input does.
"""

from __future__ import annotations

import marshal
import os
import queue
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, BinaryIO

from migrator.codec import VALUE_CODECS, InvalidDocument, ValueCodec, decode
from migrator.errors import MigratorError
from migrator.model import Fault, Transformer
from migrator.pipeline.batching import transformed

UNREADABLE = False
"""The answer to a text that is no document."""


def write_frame(stream: BinaryIO, items: Sequence[Any]) -> None:
    """Write some byte strings, texts and the like, so that they can be read as they are."""
    marshal.dump(list(items), stream)
    stream.flush()


def read_frame(stream: BinaryIO) -> list[Any]:
    """Read what was written.

    Raises:
        EOFError: the stream is at its end, or ends in the middle.
    """
    # Of our own process, over a pipe of our own.
    found: list[Any] = marshal.load(stream)  # noqa: S302
    return found


def answer(text: bytes, transform: Transformer, values: ValueCodec) -> Any:
    """What becomes of one text: its bytes, None where it is filtered out, the fields of its fault.

    How to say that it is no document is left to who sent it.
    """
    try:
        document = decode(text)
    except InvalidDocument:
        return UNREADABLE
    made = transformed(document, transform, values)
    if made is None:
        return None
    if isinstance(made, Fault):
        # An id may be of a class of the user's own, which is not handed on.
        return made.error, made.reason, str.__str__(made.id)
    return made[1]


def main() -> None:
    """Serve until nothing more comes."""
    # The other process decides when to stop, and what is then still to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a function of the user's prints or reads must not get between the frames.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    frames: queue.Queue[list[Any]] = queue.Queue(2)
    threading.Thread(target=_receive, args=(source, frames), daemon=True).start()
    (asked,) = frames.get()
    sys.path[:] = asked["path"]
    try:
        from migrator import transformers  # with the path that was asked for

        run = {"seed": bytes.fromhex(asked["seed"]), "started_ms": asked["started_ms"]}
        transform = transformers.compose([transformers.parse(spec, **run) for spec in asked["transform"]])
    except MigratorError as error:
        write_frame(target, [text.encode(errors="replace").decode() for text in (error.message, error.hint)])
        return
    values = VALUE_CODECS[asked["codec"]]
    write_frame(target, [])
    while True:
        write_frame(target, [answer(text, transform, values) for text in frames.get()])


def _receive(source: BinaryIO, frames: queue.Queue[list[Any]]) -> None:
    try:
        while True:
            frames.put(read_frame(source))
    except EOFError:
        pass
    # Whoever asked is gone; a function that does not come back must not outlive it.
    os._exit(0)


if __name__ == "__main__":
    main()
