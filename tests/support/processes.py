"""Processes and threads of a test, and what it waits for: nothing is waited for without a limit.

`tests/test_waiting.py` holds every test to that. What a failed test has left behind must not keep the next one, or
the end of the session, waiting.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import AnyStr

# For a whole command, however busy the machine is.
LIMIT_S = 240.0
# For what should be there at once.
SOON_S = 60.0


@contextlib.contextmanager
def ended(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """A process that is killed at the end of the block, however the block ends: leaving a Popen waits for ever."""
    try:
        yield process
    finally:
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        process.wait(SOON_S)


def started(work: Callable[[], object]) -> threading.Thread:
    """Work in a thread that keeps no process from ending; `joined` waits for it."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def joined(*threads: threading.Thread) -> None:
    """Wait for threads to end; one that does not is a failure."""
    deadline = time.monotonic() + SOON_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        assert not thread.is_alive(), f"{thread.name} does not end"


def wait_until(
    condition: Callable[[], bool],
    *,
    timeout_s: float = SOON_S,
    pause_s: float = 0.02,
    process: subprocess.Popen[AnyStr] | None = None,
) -> None:
    """Wait until something is so.

    Args:
        condition: asked again and again.
        timeout_s: fails after so long.
        pause_s: between two questions.
        process: what is to bring it about; its end before is a failure.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process is None or process.poll() is None, f"it ended with {process and process.returncode} before"
        assert time.monotonic() < deadline, f"not so within {timeout_s} s"
        time.sleep(pause_s)
