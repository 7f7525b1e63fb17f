"""A lock for places that have none: an object that says who is at work, renewed while the work goes on.

A run writes its object and then looks for others. Of two that begin at once each sees the other or one comes
first; so never do two hold the place. A killed run's object counts no longer when it was not renewed for a
while, or at once where this machine can see that its process is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from migrator.backup.storage.base import Place
from migrator.errors import LockedError, MigratorError

LOCKS = ".locks"
RENEW_S = 60.0
STALE_S = 600.0
_TRIES = 3
# Of two processes with one number, in containers of one name, the other's lock is of an earlier life.
_LIFE = secrets.token_hex(8)


class ObjectLock:
    """One run's claim on a place; `names` gives those of all locks."""

    def __init__(self, place: Place, names: Callable[[], list[str]]) -> None:
        self._place = place
        self._names = names
        self._name = f"{LOCKS}/{secrets.token_hex(12)}.json"
        self._done = threading.Event()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the place.

        Raises:
            LockedError: another run holds it.
        """
        self._claim()
        renewing = threading.Thread(target=self._renew, name="migrator-lock", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._done.set()
            renewing.join()
            self._place.remove(self._name)

    def _claim(self) -> None:
        other: dict[str, Any] | None = {}
        for attempt in range(_TRIES):
            self._write()
            other = self._other()
            if other is None:
                return
            self._place.remove(self._name)
            # The other may have begun in the same moment, and step back as this one does.
            if attempt < _TRIES - 1:
                time.sleep(secrets.randbelow(400) / 1000)
        pid, host = (other or {}).get("pid"), (other or {}).get("host")
        raise LockedError(
            f"Another run (process {pid} on {host}) holds the backups in {self._place.describe()}.",
            hint=f"Wait for it to end. If it was killed there, its lock ends after {STALE_S / 60:.0f} minutes.",
        )

    def _other(self) -> dict[str, Any] | None:
        """Another run that is at work; the locks of those that are gone are removed."""
        for name in self._names():
            if name == self._name:
                continue
            try:
                holder = json.loads(self._place.read(name))
            except FileNotFoundError:
                continue
            except ValueError:
                holder = {}
            if isinstance(holder, dict) and not _is_gone(holder):
                return holder
            self._place.remove(name)
        return None

    def _write(self) -> None:
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "life": _LIFE, "renewed": time.time()}
        self._place.write(self._name, json.dumps(holder).encode())

    def _renew(self) -> None:
        while not self._done.wait(RENEW_S):
            # A renewal that fails is tried again in time; the work itself meets the same fault and says so.
            with contextlib.suppress(MigratorError):
                self._write()


def _is_gone(holder: dict[str, Any]) -> bool:
    renewed, pid = holder.get("renewed"), holder.get("pid")
    if not isinstance(renewed, float) or not isinstance(pid, int) or time.time() - renewed > STALE_S:
        return True
    if holder.get("host") != socket.gethostname():
        return False
    if pid == os.getpid():
        return holder.get("life") != _LIFE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
