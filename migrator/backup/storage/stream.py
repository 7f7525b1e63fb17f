"""A pipe as a place: one that is only written to, and one that was read, whole, into a temporary folder."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from migrator.backup.format.heads import FOLDER
from migrator.backup.format.manifest import PROGRESS
from migrator.backup.format.stream import StreamWriter
from migrator.backup.format.stream_reader import unpack
from migrator.backup.storage.base import LocalPlace, Place
from migrator.errors import ConfigError, Interrupted
from migrator.files.streams import STDIN, STDOUT, STREAM, copied, open_output, shown, write_all, writing_to


class StreamPlace(Place):
    """Writes what it is given to a stream, whose end `finish` is. Nothing that was written can be read back.

    Args:
        target: the stream, as it was typed.

    Raises:
        ConfigError: it is a terminal.
        StorageError: nobody reads it.
    """

    streamed = True

    def __init__(self, target: str) -> None:
        self._target = target
        with self._writing():
            self._file = open_output(target)
        if self._file.isatty():
            self._file.close()
            raise ConfigError(
                f"{self.describe().capitalize()} is a terminal, and a backup is not text.",
                hint="Send it to a program or a file: … --to - | ssh HOST 'cat > backup.tar'",
            )
        self._stream = StreamWriter(lambda data: write_all(self._file, data))
        # Lists of snapshots, which are written again with each; in the stream each is once.
        self._lists: dict[str, bytes] = {}

    def describe(self) -> str:
        """What it is called."""
        return STDOUT if self._target == STREAM else self._target

    def finish(self) -> None:
        """Say at the end that the stream is whole."""
        with self._writing():
            for name, data in self._lists.items():
                self._stream.add(name, data)
            self._stream.end()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Nobody else writes to it; it is closed afterwards."""
        with contextlib.closing(self._file):
            try:
                yield
            except Interrupted as stop:
                stop.complete = True
                stop.hint = "The stream has no end, so that nobody takes it for a backup; run the command again."
                raise

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing_to(self._target, instead="a folder")

    def _find(self, folder: str) -> list[str]:  # noqa: ARG002 nothing is there
        return []

    def _folders(self, folder: str) -> list[str]:  # noqa: ARG002 nothing is there
        return []

    def _read(self, name: str) -> bytes:
        if name in self._lists:
            return self._lists[name]
        raise FileNotFoundError(name)

    def _exists(self, name: str) -> bool:
        return name in self._lists

    def _write(self, name: str, data: bytes | memoryview) -> None:
        if name.startswith(f"{FOLDER}/"):
            self._lists[name] = bytes(data)
        elif not name.endswith(f"/{PROGRESS}"):
            # Nobody goes on with what was cut off.
            with self._writing():
                self._stream.add(name, data)

    def _remove(self, name: str) -> None:
        """Nothing is there to be removed."""

    def _remove_folder(self, folder: str) -> None:
        """Nothing is there to be removed."""


class ReceivedPlace(LocalPlace):
    """What came through a pipe, unpacked; it is gone with this process.

    Args:
        path: the folder.
        name: what the pipe is called.
    """

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path)
        self._name = name

    def describe(self) -> str:
        """What the pipe is called."""
        return self._name

    def lock(self) -> NoReturn:
        """Refuse to change what is gone afterwards."""
        raise ConfigError(
            f"What came from {self._name} cannot be changed.",
            hint="Put it into a place first: migrator backups copy - PLACE",
        )


def received(source: str, stopping: threading.Event | None = None) -> ReceivedPlace:
    """Read a stream to its end, and give what was in it: nothing of one that was cut off or changed.

    Args:
        source: the stream, as it was typed.
        stopping: set it to stop waiting for more.

    Raises:
        ConfigError: it cannot be read, or is something else.
        DamagedBackup: it was cut off or changed.
        StorageError: there is no room for it.
        Interrupted: it was asked to stop.
    """
    name = shown(source)
    with contextlib.suppress(AttributeError, ValueError):
        if name == STDIN and sys.stdin.isatty():
            raise ConfigError(
                f"{name.capitalize()} is a terminal.", hint="Send a backup into it: … --from - < backup.tar"
            )

    def write(blocks: Iterator[bytes], folder: Path) -> Path:
        unpack(blocks, folder, name)
        return folder

    return ReceivedPlace(copied(source, "place", stopping=stopping, write=write), name)
