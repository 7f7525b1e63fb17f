"""Processes that a test starts, and what it waits for: none of it goes on when the test has failed."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import AnyStr


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
        process.wait()


def wait_until(
    condition: Callable[[], bool],
    *,
    timeout_s: float = 60.0,
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
