"""What a move of several threads runs in: its servers, a way to stop all of them, and one listener."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping

from migrator.config import Connection
from migrator.errors import ConfigError
from migrator.model.events import Event, Listener
from migrator.server.admin.connection import Server, open_server


@contextlib.contextmanager
def opened(
    url: str,
    role: str,
    config: Connection,
    environ: Mapping[str, str] | None,
    listener: Listener,
    stopping: threading.Event,
) -> Iterator[Server]:
    """A whole server, closed afterwards.

    Raises:
        ConfigError: its URL names a database.
    """
    server, database = open_server(
        url, config=config, role=role, environ=environ, listener=listener, stopping=stopping
    )
    try:
        if database is not None:
            raise ConfigError(f"The {role} of a plan is a whole server.", hint="Write its URL without a database.")
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def relayed(outer: threading.Event | None) -> Iterator[threading.Event]:
    """An event of our own that is set when the caller's is, and can be set without the caller's."""
    own, done = threading.Event(), threading.Event()

    def watch() -> None:
        while outer is not None and not done.wait(0.1):
            if outer.is_set():
                own.set()

    watcher = threading.Thread(target=watch, name="stopping", daemon=True)
    watcher.start()
    try:
        yield own
    finally:
        done.set()
        watcher.join()


def one_at_a_time(listener: Listener) -> Listener:
    """The listener for several threads: it hears one event after the other."""
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            listener(event)

    return tell
