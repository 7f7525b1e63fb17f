"""The reject file: whole lines only, durable when asked, cut to what the checkpoint vouches for."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.checkpoint.reject_file import RejectFile
from migrator.errors import ConfigError, EndpointError, LockedError, MigratorError
from migrator.files import streams
from migrator.model import Reject
from tests.support.processes import LIMIT_S


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
    """What was written after the last checkpoint is read again, and must not stand there twice."""
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


def test_a_file_that_was_taken_away_starts_over(path: Path) -> None:
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
    with pytest.raises(ConfigError, match="not a reject file") as caught:
        RejectFile(path)
    assert "--rejects" in caught.value.hint
    assert content == path.read_text()
    assert len(list(path.parent.iterdir())) == 1


def test_a_link_is_followed(path: Path) -> None:
    """The link stays; the file that it names is written, goes on, and is kept beside itself."""
    (path.parent / "elsewhere").mkdir()
    real = path.parent / "elsewhere" / "real"
    path.symlink_to(real)
    first = RejectFile(path)
    first.write(rejects("a"))
    settled, digest = first.flush(), first.digest
    first.close()
    second = RejectFile(path, settled, settled_digest=digest)
    second.write(rejects("b"))
    second.close()
    assert (ids_in(real), path.is_symlink()) == (["a", "b"], True)
    third = RejectFile(path)
    third.write(rejects("c"))
    third.close()
    assert (ids_in(real), path.is_symlink()) == (["c"], True)
    assert ids_in(real.with_name("real.1")) == ["a", "b"]


def test_no_older_neighbour_is_written_over(path: Path) -> None:
    """Run after run each finds a name of its own, whatever has the names already."""
    path.with_name("r.ndjson.2").write_text("a note of somebody")
    path.with_name("r.ndjson.4").symlink_to("nowhere")
    path.with_name("r.ndjson.5").mkdir()
    for number in range(6):
        file = RejectFile(path)
        file.write(rejects(str(number)))
        file.close()
    names = {each.name: ids_in(each) for each in path.parent.iterdir() if each.is_file() and each.suffix != ".2"}
    assert names == {
        "r.ndjson.1": ["0"],
        "r.ndjson.3": ["1"],
        "r.ndjson.6": ["2"],
        "r.ndjson.7": ["3"],
        "r.ndjson.8": ["4"],
        "r.ndjson": ["5"],
    }
    assert path.with_name("r.ndjson.2").read_text() == "a note of somebody"


def test_without_hard_links_nothing_is_written_over_either(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on file systems of cards and of some networks."""

    def refuse(*_args: object, **_more: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for number in range(3):
        file = RejectFile(path)
        file.write(rejects(str(number)))
        file.close()
    assert [ids_in(each) for each in sorted(path.parent.iterdir())] == [["2"], ["0"], ["1"]]


def test_a_run_that_had_none_yet_cuts_nothing(path: Path) -> None:
    """Killed before its first reject and gone on with, it finds the file of the run before, and keeps it."""
    before = RejectFile(path)
    before.write(rejects("before"))
    before.close()
    RejectFile(path).close()
    resumed = RejectFile(path, 0)
    assert resumed.flush() == 0
    assert ids_in(path) == ["before"]
    resumed.write(rejects("new"))
    resumed.close()
    assert (ids_in(path), ids_in(path.with_name("r.ndjson.1"))) == (["new"], ["before"])


@pytest.mark.parametrize("ids", [["x"], ["x", "y"], ["x", "y", "z"], ["a", "x", "y"]])
def test_another_run_s_file_is_not_cut(path: Path, ids: list[str]) -> None:
    """Where another job has written the same name since, however long, it is named and left."""
    first = RejectFile(path)
    first.write(rejects("a", "b"))
    settled, digest = first.flush(), first.digest
    first.close()
    other = RejectFile(path)
    other.write(rejects(*ids))
    other.close()
    with pytest.raises(ConfigError, match="was changed since"):
        RejectFile(path, settled, settled_digest=digest)
    assert (ids_in(path), ids_in(path.with_name("r.ndjson.1"))) == (ids, ["a", "b"])


WHOLE = len(b'{"run":"mine","collection":"c","database":"","id":"a",')


@pytest.mark.parametrize("left_bytes", [*range(1, 20), WHOLE, -20, -1, 0])
def test_what_this_run_never_settled_is_cut_however_little_it_is(path: Path, left_bytes: int) -> None:
    """Killed before the first checkpoint after it, even in the middle of a line: the next run writes it again."""
    file = RejectFile(path, run="mine")
    file.write(rejects("a"))
    file.close()
    path.write_bytes(path.read_bytes()[: left_bytes or None])
    file = RejectFile(path, 0, run="mine")
    file.write(rejects("b"))
    file.close()
    assert [path] == list(path.parent.iterdir())
    assert ids_in(path) == ["b"]


@pytest.mark.parametrize("run", ["", "other", "mine2", "min"])
@pytest.mark.parametrize("torn", [False, True])
def test_another_runs_rejects_are_kept(path: Path, run: str, torn: bool) -> None:
    """Whole or torn, of a version that named no run too."""
    file = RejectFile(path, run=run)
    file.write(rejects("a"))
    file.close()
    content = path.read_bytes()[: -9 if torn else None]
    path.write_bytes(content)
    file = RejectFile(path, 0, run="mine")
    file.write(rejects("b"))
    file.close()
    assert path.with_name(path.name + ".1").read_bytes() == content
    assert ids_in(path) == ["b"]


def test_two_runs_at_once_do_not_share_a_file(path: Path) -> None:
    """The later one is told at its start, or at its first reject; afterwards the name is free."""
    first, second = RejectFile(path), RejectFile(path)
    first.write(rejects("a"))
    with pytest.raises(LockedError, match="Another run") as caught:
        second.write(rejects("b"))
    assert (caught.value.exit_code, "--rejects" in caught.value.hint) == (7, True)
    with pytest.raises(LockedError):
        RejectFile(path)
    with pytest.raises(LockedError):
        RejectFile(path, first.flush(), settled_digest=first.digest)
    first.write(rejects("c"))
    first.close()
    assert ids_in(path) == ["a", "c"]
    third = RejectFile(path)
    third.write(rejects("d"))
    third.close()
    assert (ids_in(path), ids_in(path.with_name("r.ndjson.1"))) == (["d"], ["a", "c"])


def test_what_has_no_checkpoint_takes_the_next_name(path: Path) -> None:
    """Several taps in one folder, each with its own file, and each says which."""
    files = [RejectFile(path, shared=True) for _ in range(4)]
    for number, file in enumerate(files):
        file.write(rejects(str(number)))
    for number, file in enumerate(files):
        file.write(rejects(f"{number}+"))
    assert [file.kept and ids_in(file.kept) for file in files] == [[str(n), f"{n}+"] for n in range(4)]
    for file in files:
        file.close()


def test_a_pipe_gets_the_lines(path: Path) -> None:
    """Whoever reads it has them; nothing is kept that could be gone on with, moved, or read again."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        file = RejectFile(path)
        file.write(rejects("a", "b"))
        assert (file.flush(), file.digest, file.kept, file.count) == (0, "", None, 2)
        file.close()
        assert [json.loads(line)["id"] for line in os.read(reader, 65536).splitlines()] == ["a", "b"]
        again = RejectFile(path, 0)
        again.write(rejects("c"))
        again.close()
        assert json.loads(os.read(reader, 65536))["id"] == "c"
    finally:
        os.close(reader)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_pipe_that_nobody_reads_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for ever."""
    os.mkfifo(path)
    monkeypatch.setattr(streams, "_WAIT_FOR_READER_S", 0.0)
    with pytest.raises(MigratorError, match="nobody reads this pipe"):
        RejectFile(path)


@pytest.mark.parametrize("name", ["/dev/null", "/dev/stderr", "a link"])
def test_a_device_takes_them(path: Path, name: str) -> None:
    """It is not moved away, cut or kept."""
    if name == "a link":
        path.symlink_to("/dev/null")
    for settled in (0, 100):
        file = RejectFile(path if name == "a link" else Path(name), settled)
        file.write(rejects("a"))
        assert (file.flush(), file.kept) == (0, None)
        file.close()
    assert not Path("/dev/null.1").exists()


@pytest.mark.parametrize("name", ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"])
def test_a_file_behind_standard_error_is_gone_on_with(path: Path, name: str) -> None:
    """What else goes there is not written over, nor are they."""
    code = (
        "import sys; from pathlib import Path; from migrator.checkpoint.reject_file import RejectFile\n"
        "from migrator.model import Reject\n"
        "print('a log', file=sys.stderr, flush=True)\n"
        f"file = RejectFile(Path({name!r})); file.write([Reject('c', 'a', 'load', 'e', 'r')]); file.close()\n"
        "print('more', file=sys.stderr, flush=True)"
    )
    with path.open("wb") as err:
        subprocess.run([sys.executable, "-c", code], stderr=err, check=True, timeout=LIMIT_S)
    first, reject, last = path.read_text().splitlines()
    assert (first, json.loads(reject)["id"], last) == ("a log", "a", "more")


def test_standard_output_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the result; and no file gets the name of a dash."""
    monkeypatch.chdir(path.parent)
    with pytest.raises(ConfigError, match="standard output") as caught:
        RejectFile(Path("-"))
    assert "/dev/stderr" in caught.value.hint
    assert list(path.parent.iterdir()) == []


def test_says_where_a_document_belongs(path: Path) -> None:
    """From the collection where the reject does not say it itself; and the command that writes it."""
    file = RejectFile(path, databases={"c": "people"}, again="migrator apply p --restart")
    file.write([*rejects("a"), rejects("b")[0]._replace(database="own")])
    file.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["database"], line["again"]) for line in lines] == [
        ("people", "migrator apply p --restart"),
        ("own", "migrator apply p --restart"),
    ]


def test_a_place_that_cannot_be_written_is_named(path: Path) -> None:
    """Before anything is moved, with what to do."""
    with pytest.raises(ConfigError, match="there is no folder") as caught:
        RejectFile(path / "none")
    assert "--rejects" in caught.value.hint
    with pytest.raises(ConfigError, match="is a folder") as caught:
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
