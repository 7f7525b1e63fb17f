"""A folder that is taken away, or replaced, while it is written to or between two runs: never silence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from migrator.checkpoint import target_guard
from migrator.errors import MigratorError, TargetReplaced
from migrator.loaders.ndjson import NdjsonLoader
from migrator.model import Batch, Outcome
from tests.support.fakes import Crash, Forwarding, numbered
from tests.support.runs import run_once

Happening = Callable[[Path], None]
DOCUMENTS = {"a": numbered(10), "b": numbered(8)}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Differences are read again at once."""
    monkeypatch.setattr(target_guard, "PAUSES_S", (0.0,))


class Folder(Forwarding):
    """A folder to which something happens before the nth batch or the nth collection's end."""

    def __init__(
        self, path: Path, at: tuple[str, int] = ("", 0), event: Callable[[Path], None] | None = None
    ) -> None:
        loader = NdjsonLoader(path, on_conflict="overwrite")
        super().__init__(loader)
        self.identity = loader.identity
        self._path, self._at, self._event = path, at, event
        self._counted = {"load": 0, "finish": 0}

    def _happens(self, what: str) -> None:
        self._counted[what] += 1
        if (what, self._counted[what]) == self._at:
            if self._event is None:
                raise Crash
            self._event(self._path)

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """Append."""
        self._happens("load")
        return super().load(batch, resend=resend)

    def finish(self, collection: str) -> None:
        """Give the final name."""
        self._happens("finish")
        super().finish(collection)


def run(loader: Folder, file: Path, *, restart: bool = False) -> None:
    """A run that goes on where there is something to go on from."""
    run_once(loader, file, DOCUMENTS, restart=restart)


def is_whole(folder: Path) -> bool:
    """Every document is there, in order."""
    return all(
        [json.loads(line) for line in (folder / f"{name}.ndjson").read_bytes().splitlines()] == list(documents)
        for name, documents in DOCUMENTS.items()
    )


def made_again(folder: Path) -> None:
    """Another folder has the name."""
    shutil.rmtree(folder)
    folder.mkdir()


def swapped(folder: Path) -> None:
    """Every file is replaced by another of its length."""
    for path in folder.iterdir():
        text = path.read_bytes()
        path.unlink()
        path.write_bytes(b"x" * len(text))


def shortened(folder: Path) -> None:
    """Every file is cut in the middle, as a full disk leaves a copy."""
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(folder: Path) -> None:
    """Every file is emptied and stays the same file, as `: > file` does."""
    for path in folder.iterdir():
        with path.open("r+b") as file:
            file.truncate(0)


EVENTS: list[Happening] = [shutil.rmtree, made_again, swapped, emptied]
NAMES = ["removed", "made_again", "swapped", "emptied"]


@pytest.mark.parametrize("event", EVENTS, ids=NAMES)
@pytest.mark.parametrize("at", [("load", 2), ("load", 5), ("load", 6), ("load", 8), ("finish", 1), ("finish", 2)])
def test_what_happens_on_the_way_is_said(tmp_path: Path, at: tuple[str, int], event: Happening) -> None:
    """The run ends with 6, so does the next one, and a restart makes it whole."""
    folder = tmp_path / "out"
    with pytest.raises(TargetReplaced):
        run(Folder(folder, at, event), tmp_path / "cp.json")
    with pytest.raises(TargetReplaced):
        run(Folder(folder), tmp_path / "cp.json")
    run(Folder(folder), tmp_path / "cp.json", restart=True)
    assert is_whole(folder)


@pytest.mark.parametrize("event", [*EVENTS, shortened], ids=[*NAMES, "shortened"])
@pytest.mark.parametrize("at", [("load", 2), ("load", 5), ("finish", 1), ("load", 6), ("load", 8), ("finish", 2)])
def test_what_happens_between_two_runs_is_said(tmp_path: Path, at: tuple[str, int], event: Happening) -> None:
    """Of parts by their content, of complete files by their size and time."""
    folder = tmp_path / "out"
    with pytest.raises(Crash):
        run(Folder(folder, at), tmp_path / "cp.json")
    event(folder)
    with pytest.raises(MigratorError) as raised:
        run(Folder(folder), tmp_path / "cp.json")
    assert raised.value.exit_code == 6
    run(Folder(folder), tmp_path / "cp.json", restart=True)
    assert is_whole(folder)


@pytest.mark.parametrize("at", [("load", 1), ("load", 2), ("load", 5), ("finish", 1), ("load", 6), ("finish", 2)])
def test_the_same_folder_is_gone_on_with(tmp_path: Path, at: tuple[str, int]) -> None:
    """Nothing is refused without a reason; nor when the folder was copied with its times."""
    folder, moved = tmp_path / "out", tmp_path / "elsewhere"
    with pytest.raises(Crash):
        run(Folder(folder, at), tmp_path / "cp.json")
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    shutil.copytree(moved, folder)
    run(Folder(folder), tmp_path / "cp.json")
    assert is_whole(folder)


@pytest.mark.parametrize("event", [shutil.rmtree, swapped], ids=["removed", "swapped"])
def test_an_old_file_that_is_replaced_while_it_is_compared(tmp_path: Path, event: Callable[[Path], None]) -> None:
    """What was found equal is not there any more."""
    folder = tmp_path / "out"
    run(Folder(folder), tmp_path / "cp.json")
    with pytest.raises(TargetReplaced, match=r"is gone|was replaced"):
        run(Folder(folder, ("load", 3), event), tmp_path / "cp.json", restart=True)
