"""Other processes of this package that work for one: `python -m MODULE`, with a connection as its standard input.

Only bytes go to and fro, never Python's objects. Such a process ends when the other side does.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from multiprocessing.connection import Connection, Pipe
from typing import Any, TypeAlias

from migrator.errors import Interrupted, MigratorError

_LEAVE_S = 2.0
# So many questions wait while one is answered.
_WAITING = 2

Asking: TypeAlias = "Connection[Any, Any]"


class Process:
    """One process.

    Args:
        module: what it runs.
        what: its work in a word, for errors.
    """

    def __init__(self, module: str, what: str) -> None:
        self._what = what
        self._connection, theirs = Pipe()
        with contextlib.closing(theirs):
            # What a function of the user's prints is for people to see.
            command = [sys.executable, "-m", module]
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=2)  # noqa: S603 (a module of ours)
        self._closing = False

    def ask(self, texts: Sequence[bytes]) -> list[bytes]:
        """Send some byte strings, and wait for as many as it answers.

        Raises:
            MigratorError: it ended by itself; Interrupted where it was ended.
        """
        # As bytes: of objects a connection would make pickles.
        try:
            self._connection.send_bytes(packed(texts))
        except OSError:
            raise self._ended() from None
        return self.answer()

    def answer(self) -> list[bytes]:
        """Wait for one more answer.

        Raises:
            MigratorError: it ended by itself; Interrupted where it was ended.
        """
        try:
            return unpacked(self._connection.recv_bytes())
        except (OSError, EOFError):
            raise self._ended() from None

    def end(self) -> None:
        """End it, whatever it is doing."""
        self._closing = True
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Let go of the connection; nobody may be waiting for an answer."""
        self._connection.close()

    def _ended(self) -> MigratorError:
        if self._closing:
            return Interrupted(f"The {self._what} processes were ended.")
        try:
            code = self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return MigratorError(
            f"A {self._what} process ended by itself ({how}); what it was at is not settled.",
            hint="It may need less memory, or a function ends the process. Then go on with --resume, "
            "or without --workers to see the error.",
        )


class Processes:
    """Processes that run the same module: each is started when there is work for it. Safe for threads.

    Args:
        module: what they run.
        what: their work in a word, for errors.
    """

    def __init__(self, module: str, what: str) -> None:
        self._module, self._what = module, what
        self._idle: queue.SimpleQueue[Process] = queue.SimpleQueue()
        self._started: list[Process] = []
        self._lock = threading.Lock()
        self._ended = False

    def take(self) -> tuple[Process, bool]:
        """One that nobody uses, and whether it was started for this; give it back when it has answered.

        Raises:
            Interrupted: they were ended.
        """
        with contextlib.suppress(queue.Empty):
            return self._idle.get_nowait(), False
        with self._lock:
            if self._ended:
                raise Interrupted(f"The {self._what} processes were ended.")
            process = Process(self._module, self._what)
            self._started.append(process)
        return process, True

    def give_back(self, process: Process) -> None:
        """It is free for other work."""
        self._idle.put(process)

    def end(self) -> None:
        """End all, whatever they are doing; who waits for one meets Interrupted."""
        with self._lock:
            self._ended = True
            started = list(self._started)
        for process in started:
            process.end()

    def close(self) -> None:
        """Let go of the connections, when all have ended and nobody waits."""
        for process in self._started:
            process.close()


def packed(texts: Sequence[bytes]) -> bytes:
    """Some byte strings as one, for `unpacked`."""
    return b"".join((struct.pack(f">{len(texts) + 1}I", len(texts), *map(len, texts)), *texts))


def unpacked(data: bytes) -> list[bytes]:
    """The byte strings as they were."""
    (count,) = struct.unpack_from(">I", data)
    ends = [*accumulate(struct.unpack_from(f">{count}I", data, 4), initial=4 * count + 4)]
    return [data[begin:end] for begin, end in pairwise(ends)]


def serving() -> tuple[Asking, Iterator[list[bytes]]]:
    """In such a process: where answers go, and what is asked. The process ends when nobody is left to ask."""
    # The other process decides when to stop, and what is then still to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection: Asking = Connection(os.dup(0))
    # What a function of the user's reads must not be a question.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    questions: queue.Queue[list[bytes]] = queue.Queue(_WAITING)
    threading.Thread(target=_receive, args=(connection, questions), daemon=True).start()
    return connection, iter(questions.get, None)


def _receive(connection: Asking, questions: queue.Queue[list[bytes]]) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            questions.put(unpacked(connection.recv_bytes()))
    # Whoever asked is gone; a function that does not come back must not outlive it.
    os._exit(0)
