"""Ctrl-C: what is in flight is settled, and the last line says how far the work came and what goes on with it."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from migrator.cli.messages import say
from migrator.cli.rendering import command_text, flags_of
from migrator.errors import EXIT_INTERRUPTED, FLAG, Interrupted
from migrator.naming import counted

MAX_WAIT_S = 1.0


@contextlib.contextmanager
def stoppable() -> Iterator[threading.Event]:
    """The first SIGINT or SIGTERM asks to stop and settle; the second ends the process at once."""
    stopping, told = threading.Event(), threading.Event()
    signalled: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if stopping.is_set():
            os._exit(EXIT_INTERRUPTED)
        else:
            stopping.set()
            signalled.append(number)
            # What this interrupted may hold a lock that writing takes: another thread waits for it.
            _thread.start_new_thread(tell, ())

    def tell() -> None:
        say("Stopping: settling what is in flight (once more to end at once).", "warning")
        told.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if signalled:
            # What is said last comes last.
            told.wait(MAX_WAIT_S)


def stopped_text(error: Interrupted, words: Sequence[str]) -> str:
    """What to say of a command that was asked to stop: how far it came, and the whole command that goes on.

    Args:
        error: what ended it.
        words: what was typed after `migrator`.
    """
    message = f"Stopped after {counted(error.documents, 'document')}." if error.documents else error.message
    if error.complete or not words:
        return f"{message} {error.hint}".rstrip()
    resume = ("with", "resume") in FLAG.findall(error.hint) and "--resume" in flags_of(words)
    return f"{message} Continue: {command_text(words, *(['--resume'] if resume else []))}"
