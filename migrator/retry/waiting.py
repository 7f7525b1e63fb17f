"""Waiting that ends as soon as the run that a thread works for is asked to stop."""

from __future__ import annotations

import threading
import time

_thread = threading.local()


def works_for(stopping: threading.Event) -> None:
    """From now on this thread works for the run that this event stops."""
    _thread.stopping = stopping


def wait(seconds: float) -> bool:
    """Wait; False when the run was asked to stop, so that what is under way is to be settled without waiting."""
    stopping: threading.Event | None = getattr(_thread, "stopping", None)
    if stopping is not None:
        return not stopping.wait(seconds)
    time.sleep(seconds)
    return True
