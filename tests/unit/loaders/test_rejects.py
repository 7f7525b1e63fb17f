"""The reject file: whole lines only, durable when asked, cut to what the checkpoint vouches for."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.errors import ConfigError, EndpointError
from migrator.loaders.rejects import RejectFile
from migrator.model import Reject


def rejects(*ids: str) -> list[Reject]:
    """Some."""
    return [Reject("c", id, "load", "forbidden", "not you", document={"_id": id}) for id in ids]


def ids_in(path: Path) -> list[str]:
    """What the file holds; each line must be whole."""
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    return [json.loads(line)["id"] for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "r.ndjson"


def test_appears_with_the_first(path: Path) -> None:
    """A run without rejects leaves no file."""
    file = RejectFile(path)
    assert file.flush() == 0
    file.close()
    assert not path.exists()
    file = RejectFile(path)
    file.write(rejects("a", "b"))
    file.write(rejects("c"))
    assert file.flush() == path.stat().st_size
    file.close()
    assert (ids_in(path), file.count) == (["a", "b", "c"], 3)


def test_is_kept_from_others(path: Path) -> None:
    """It holds documents, so it is the owner's alone whatever the umask."""
    before = os.umask(0)
    try:
        file = RejectFile(path)
        file.write(rejects("a"))
        file.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_goes_on_behind_what_is_settled(path: Path) -> None:
    """What was written behind the last checkpoint is read again, and must not stand there twice."""
    first = RejectFile(path)
    first.write(rejects("a", "b"))
    settled = first.flush()
    first.write(rejects("c", "d"))
    first.close()
    second = RejectFile(path, settled)
    assert settled == second.flush()
    assert ids_in(path) == ["a", "b"]
    second.write(rejects("c"))
    assert second.flush() == path.stat().st_size
    second.close()
    assert ids_in(path) == ["a", "b", "c"]


def test_a_file_that_was_taken_away_begins_anew(path: Path) -> None:
    """Where its owner moved it meanwhile there is no gap, and what is settled counts from zero."""
    file = RejectFile(path, 500)
    assert file.flush() == 0
    file.write(rejects("a"))
    assert file.flush() == path.stat().st_size
    file.close()
    assert ids_in(path) == ["a"]


def test_a_file_that_became_shorter_goes_on_at_its_end(path: Path) -> None:
    """Whole lines that were removed by hand are gone; the others stay."""
    first = RejectFile(path)
    first.write(rejects("a", "b"))
    settled = first.flush()
    first.close()
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")
    second = RejectFile(path, settled)
    second.write(rejects("c"))
    second.close()
    assert ids_in(path) == ["a", "c"]


def test_a_file_that_was_changed_is_not_cut_in_two(path: Path) -> None:
    """When what is settled no longer ends with a line, somebody works in that file."""
    first = RejectFile(path)
    first.write(rejects("a", "b"))
    settled = first.flush()
    first.close()
    changed = path.read_bytes().replace(b"not you", b"not you any more")
    path.write_bytes(changed)
    with pytest.raises(ConfigError, match="was changed") as caught:
        RejectFile(path, settled)
    assert "Move it" in caught.value.hint
    assert changed == path.read_bytes()


def test_an_older_file_is_kept(path: Path) -> None:
    """A fresh run writes a new one, and the one before is beside it."""
    for id in ("old", "new"):
        file = RejectFile(path)
        file.write(rejects(id))
        file.close()
    assert (ids_in(path), ids_in(path.with_name("r.ndjson.1"))) == (["new"], ["old"])


def test_an_older_file_stays_where_there_is_no_new_one(path: Path) -> None:
    """A run without rejects moves nothing away."""
    file = RejectFile(path)
    file.write(rejects("old"))
    file.close()
    RejectFile(path).close()
    assert ids_in(path) == ["old"]


@pytest.mark.parametrize("content", ["precious", '{"_id": "a"}\n', "[]", "\n"])
def test_what_was_named_by_mistake_is_not_moved(path: Path, content: str) -> None:
    """Only a reject file is replaced by one."""
    path.write_text(content)
    with pytest.raises(ConfigError, match="no reject file") as caught:
        RejectFile(path)
    assert "--rejects" in caught.value.hint
    assert content == path.read_text()
    assert len(list(path.parent.iterdir())) == 1


def test_a_link_is_not_followed(path: Path) -> None:
    """Nothing outside its folder is written."""
    path.symlink_to(path.with_name("victim"))
    path.with_name("victim").write_text("")
    with pytest.raises(ConfigError):
        RejectFile(path).write(rejects("a"))
    with pytest.raises(ConfigError):
        RejectFile(path, 0)
    assert path.with_name("victim").read_text() == ""


def test_a_place_that_cannot_be_written_is_named(path: Path) -> None:
    """Before anything is moved, with what to do."""
    with pytest.raises(ConfigError, match="there is no folder") as caught:
        RejectFile(path / "none")
    assert "--rejects" in caught.value.hint
    with pytest.raises(ConfigError, match="Is a directory") as caught:
        RejectFile(path.parent)
    assert "--rejects" in caught.value.hint


def full_after(room: int) -> Callable[[int, memoryview], int]:
    """A disk with so much room, which takes ten bytes at a time."""
    left = [room]
    write = os.write

    def limited(descriptor: int, data: memoryview) -> int:
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        size = min(10, left[0], len(data))
        left[0] -= size
        return write(descriptor, data[:size])

    return limited


def test_a_full_disk_leaves_whole_batches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written whole is taken back, and the error says what to do; closing raises nothing more."""
    file = RejectFile(path)
    file.write(rejects("a"))
    line = path.stat().st_size
    monkeypatch.setattr(os, "write", full_after(line + 5))
    with pytest.raises(EndpointError, match="No space left") as caught:
        file.write(rejects("b", "c"))
    assert "--resume" in caught.value.hint
    assert file.flush() == line
    monkeypatch.undo()
    file.write(rejects("d"))
    file.close()
    assert (ids_in(path), file.count) == (["a", "d"], 2)


def test_a_write_in_pieces_is_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes less than it is given is given the rest."""
    monkeypatch.setattr(os, "write", full_after(10_000))
    file = RejectFile(path)
    file.write(rejects("a", "b", "c"))
    assert file.flush() == path.stat().st_size
    file.close()
    assert ids_in(path) == ["a", "b", "c"]


def test_a_disk_that_fails_to_keep_it_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not durable is not said to be."""

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    file = RejectFile(path)
    file.write(rejects("a"))
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(EndpointError, match="Input/output error"):
        file.flush()
    file.close()


def test_is_made_durable_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving a checkpoint costs nothing here when there was no new reject."""
    kept: list[int] = []
    file = RejectFile(path)
    file.write(rejects("a"))
    monkeypatch.setattr(os, "fsync", kept.append)
    for _ in range(5):
        file.flush()
    file.write(rejects("b"))
    file.flush()
    assert len(kept) == 2
    file.close()


def test_kept_nowhere() -> None:
    """A dry run counts only."""
    file = RejectFile(None)
    file.write(rejects("a", "b"))
    assert (file.flush(), file.count) == (0, 2)
    file.close()
