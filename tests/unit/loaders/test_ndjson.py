"""Writing NDJSON files."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import CheckpointError, ConfigError, EndpointError, StorageError
from migrator.loaders.ndjson import NdjsonLoader
from migrator.loaders.ndjson_file import NdjsonFile
from migrator.model import Batch, EncodedDocument, Fault, Status
from tests.support.small_disk import limited


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The target, not made yet."""
    return tmp_path / "out"


@contextlib.contextmanager
def opened(folder: Path, on_conflict: str = "fail", *, mark: int | None = None) -> Iterator[NdjsonLoader]:
    """A loader of the collection `a`, ready to load."""
    with contextlib.closing(NdjsonLoader(folder, on_conflict=on_conflict)) as loader:
        loader.prepare("a", mark)
        yield loader


def batch(*bodies: str, end: int = 1) -> Batch:
    """A batch of the collection `a`; the body is also the id."""
    return Batch("a", tuple(EncodedDocument(body, body.encode()) for body in bodies), end=end, read=len(bodies))


def run(folder: Path, *bodies: str, on_conflict: str = "fail", size: int = 2, mark: int | None = None) -> str:
    """A whole run; W, U for each document's outcome."""
    found = ""
    with opened(folder, on_conflict, mark=mark) as loader:
        for begin in range(0, len(bodies), size):
            outcomes = loader.load(batch(*bodies[begin : begin + size], end=begin))
            found += "".join({Status.WRITTEN: "W", Status.UNCHANGED: "U"}[outcome.status] for outcome in outcomes)
        loader.flush("a")
        loader.finish("a")
    return found


def content(folder: Path) -> dict[str, bytes]:
    """All files of the folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_nothing_looks_complete_before_it_is(folder: Path) -> None:
    """Until it is finished there is only a part, readable by its owner alone, and the final file is so too."""
    with opened(folder) as loader:
        loader.load(batch("1", "2"))
        assert content(folder) == {"a.ndjson.part": b"1\n2\n"}
        assert stat.S_IMODE((folder / "a.ndjson.part").stat().st_mode) == 0o600
        loader.finish("a")
    assert content(folder) == {"a.ndjson": b"1\n2\n"}
    assert stat.S_IMODE((folder / "a.ndjson").stat().st_mode) == 0o600


def test_a_closed_loader_leaves_the_part(folder: Path) -> None:
    """A run that fails leaves what is not complete under its own name, and no file that looks whole."""
    with opened(folder) as loader:
        loader.load(batch("1"))
    assert content(folder) == {"a.ndjson.part": b"1\n"}


def test_names_stay_in_the_folder(folder: Path) -> None:
    """A hostile collection name is a harmless file name."""
    loader = NdjsonLoader(folder)
    assert loader.target_name("../../etc/x") == "%2E.%2F..%2Fetc%2Fx.ndjson"
    loader.prepare("../../etc/x", None)
    loader.finish("../../etc/x")
    assert list(content(folder)) == ["%2E.%2F..%2Fetc%2Fx.ndjson"]


def test_screens_the_empty_id_only(folder: Path) -> None:
    """A line can hold any document, ids of design documents too; but one without an id is none."""
    loader = NdjsonLoader(folder)
    assert loader.screen("_design/x", {}, b"") is None
    assert Fault("empty_id", "the document has an empty _id") == loader.screen("", {}, b"")


def test_an_equal_file_is_not_touched(folder: Path) -> None:
    """Neither its content nor its time nor its inode changes, whatever the batches; no part is made."""
    run(folder, "1", "2", "3")
    path = folder / "a.ndjson"
    os.utime(path, ns=(1, 1))
    before = path.stat()
    assert run(folder, "1", "2", "3", size=3) == "UUU"
    assert run(folder, "1", "2", "3", on_conflict="overwrite") == "UUU"
    after = path.stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert list(content(folder)) == ["a.ndjson"]


@pytest.mark.parametrize(
    ("documents", "outcomes", "line"),
    [
        (["1", "2", "X", "4"], "UUWW", 3),
        (["X", "2", "3", "4"], "WWWW", 1),
        (["1", "2", "3", "4", "5"], "UUUUW", 5),
        (["1", "2", "3"], "UUU", 4),
        (["1", "2"], "UU", 3),
        ([], "", 1),
        (["1", "22", "3", "4"], "UWWW", 2),
        (["1", "3", "4"], "UWW", 2),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 10])
def test_a_file_that_differs(folder: Path, documents: list[str], outcomes: str, line: int, size: int) -> None:
    """Changed, longer, shorter: replaced from the first difference on where wanted, else left and an error."""
    old = b"1\n2\n3\n4\n"
    folder.mkdir()
    (folder / "a.ndjson").write_bytes(old)
    with pytest.raises(ConfigError, match=rf"differs from the source in line {line}\. .*--on-conflict overwrite"):
        run(folder, *documents, on_conflict="skip", size=size)
    assert content(folder) == {"a.ndjson": old}
    assert outcomes == run(folder, *documents, on_conflict="overwrite", size=size)
    assert content(folder) == {"a.ndjson": "".join(f"{text}\n" for text in documents).encode()}


def test_a_last_line_without_its_end_is_equal(folder: Path) -> None:
    """A file of another making that lacks the last newline is left as it is, or goes on in a new line."""
    folder.mkdir()
    (folder / "a.ndjson").write_bytes(b"1\n2")
    assert run(folder, "1", "2") == "UU"
    assert content(folder) == {"a.ndjson": b"1\n2"}
    assert run(folder, "1", "2", "3", on_conflict="overwrite", size=2) == "UUW"
    assert content(folder) == {"a.ndjson": b"1\n2\n3\n"}


def test_a_line_that_only_begins_alike_differs(folder: Path) -> None:
    """Equal is the whole line, not its beginning."""
    folder.mkdir()
    (folder / "a.ndjson").write_bytes(b"12\n")
    assert run(folder, "1", "2", on_conflict="overwrite", size=1) == "WW"


def test_the_old_file_stands_until_the_end(folder: Path) -> None:
    """While a new one is made, and after a failure, the old one is whole."""
    run(folder, "1", "2")
    with opened(folder, "overwrite") as loader:
        loader.load(batch("1", "X"))
        assert content(folder) == {"a.ndjson": b"1\n2\n", "a.ndjson.part": b"1\nX\n"}
    assert content(folder)["a.ndjson"] == b"1\n2\n"


def test_the_same_batch_is_written_once(folder: Path) -> None:
    """Loading a batch again answers as before; a later batch of equal documents is another one."""
    with opened(folder) as loader:
        first = loader.load(batch("1", "1", end=1))
        assert first == loader.load(batch("1", "1", end=1), resend=True)
        loader.load(batch("1", "1", end=2))
        loader.finish("a")
    assert content(folder) == {"a.ndjson": b"1\n1\n1\n1\n"}


def test_a_mark_cuts_what_came_after_it(folder: Path) -> None:
    """On resume the part is cut back to what was settled, and is finished from there."""
    with opened(folder) as loader:
        loader.load(batch("1", "2"))
        mark = loader.flush("a")
        loader.load(batch("lost", end=2))
    assert mark is not None
    assert mark >> 20 == 4
    with opened(folder, mark=mark) as loader:
        assert content(folder) == {"a.ndjson.part": b"1\n2\n"}
        assert mark == loader.flush("a")
    assert run(folder, "3", mark=mark) == "W"
    assert content(folder) == {"a.ndjson": b"1\n2\n3\n"}


def test_a_mark_of_a_comparison_goes_on_comparing(folder: Path) -> None:
    """A run that had only compared so far goes on there, over what a later moment left of a part."""
    run(folder, "1", "2", "3", "4")
    with opened(folder, "overwrite") as loader:
        loader.load(batch("1", "2"))
        mark = loader.flush("a")
        loader.load(batch("X", "Y", end=2))
    assert mark is not None
    assert mark < 0
    assert run(folder, "3", "4", mark=mark) == "UU"
    assert content(folder) == {"a.ndjson": b"1\n2\n3\n4\n"}
    with pytest.raises(ConfigError, match="line 4"):
        run(folder, "3", "X", mark=mark)
    assert run(folder, "3", "X", mark=mark, on_conflict="overwrite") == "UW"
    assert content(folder) == {"a.ndjson": b"1\n2\n3\nX\n"}


def test_marks_of_nothing(folder: Path) -> None:
    """Zero bytes of a part and zero bytes of comparison are different marks, and both can be gone on from."""
    with opened(folder) as loader:
        mark = loader.flush("a")
    assert mark == 0
    assert run(folder, "1", mark=mark) == "W"
    with opened(folder) as loader:
        mark = loader.flush("a")
    assert mark == -1
    assert run(folder, "1", mark=mark) == "U"


def test_a_run_that_ended_just_after_its_end(folder: Path) -> None:
    """Where the part had got its final name and the checkpoint had not heard, what is there is compared."""
    with opened(folder) as loader:
        loader.load(batch("1", "2"))
        mark = loader.flush("a")
        loader.load(batch("3", end=2))
        loader.finish("a")
    assert run(folder, "3", mark=mark) == "U"
    assert content(folder) == {"a.ndjson": b"1\n2\n3\n"}


@pytest.mark.parametrize(
    ("part", "final", "message"),
    [
        (None, None, "a.ndjson.part is gone"),
        (b"1\n", None, "a.ndjson.part is shorter than it was"),
        (b"1\n3\n5\n", None, "a.ndjson.part was changed"),
        (None, b"1\n3\n", "a.ndjson.part was changed"),
        (None, b"1\n", "a.ndjson.part is shorter than it was"),
        (b"1\n", b"1\n2\n", "a.ndjson.part is shorter than it was"),
    ],
)
def test_a_part_that_is_not_as_it_was_is_refused(
    folder: Path, part: bytes | None, final: bytes | None, message: str
) -> None:
    """Nothing is appended to what another made: missing, shorter or changed parts are errors with the way out."""
    with opened(folder) as loader:
        loader.load(batch("1", "2"))
        mark = loader.flush("a")
    for name, text in (("a.ndjson.part", part), ("a.ndjson", final)):
        (folder / name).unlink(missing_ok=True)
        if text is not None:
            (folder / name).write_bytes(text)
    before = content(folder)
    with (
        pytest.raises(CheckpointError, match=rf"{message} since the checkpoint.*restart=True"),
        opened(folder, mark=mark),
    ):
        pass
    assert before == content(folder)


def test_a_compared_file_that_is_not_as_it_was_is_refused(folder: Path) -> None:
    """Likewise for the old file, of which nothing but the mark tells what it was."""
    run(folder, "1", "2", "3")
    with opened(folder) as loader:
        loader.load(batch("1", "2"))
        mark = loader.flush("a")
    (folder / "a.ndjson").write_bytes(b"1\nX\n3\n")
    with pytest.raises(CheckpointError, match=r"a\.ndjson was changed"), opened(folder, mark=mark):
        pass
    (folder / "a.ndjson").unlink()
    with pytest.raises(CheckpointError, match=r"a\.ndjson is gone"), opened(folder, mark=mark):
        pass


def full_disk(monkeypatch: pytest.MonkeyPatch, *, after_bytes: int) -> None:
    """Let the disk be full after so many more bytes, in the middle of a write."""
    left = after_bytes
    write = os.write

    def writing(file: int, text: Any) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = write(file, bytes(text)[:left])
        left -= taken
        return taken

    monkeypatch.setattr(os, "write", writing)


def test_a_full_disk_leaves_whole_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names file and room; of the batch nothing stays, and it can be loaded again."""
    with opened(folder) as loader:
        loader.load(batch("1", "2"))
        mark = loader.flush("a")
        with monkeypatch.context() as patch:
            full_disk(patch, after_bytes=3)
            with pytest.raises(
                EndpointError,
                match=r"a\.ndjson\.part cannot be written: No space left on device\. Make room.*resume=True",
            ):
                loader.load(batch("33", "44", end=2))
        assert content(folder) == {"a.ndjson.part": b"1\n2\n"}
        assert mark == loader.flush("a")
        loader.load(batch("33", "44", end=2))
        loader.finish("a")
    assert content(folder) == {"a.ndjson": b"1\n2\n33\n44\n"}


@pytest.mark.parametrize("room", [0, 1, 4, 5, 6, 8])
def test_a_full_disk_in_a_replacement_goes_back_to_comparing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Wherever copying or writing fails, the mark is that before the batch, and another run can go on from it."""
    folder.mkdir()
    (folder / "a.ndjson").write_bytes(b"1\n2\n3")
    with opened(folder, "overwrite") as loader:
        loader.load(batch("1", "2"))
        mark = loader.flush("a")
        with monkeypatch.context() as patch:
            full_disk(patch, after_bytes=room)
            with pytest.raises(EndpointError, match="Make room"):
                loader.load(batch("3", "XX", end=2))
        assert mark == loader.flush("a")
    assert content(folder) == {"a.ndjson": b"1\n2\n3"}
    assert run(folder, "3", "XX", mark=mark, on_conflict="overwrite") == "UW"
    assert content(folder) == {"a.ndjson": b"1\n2\n3\nXX\n"}


def test_a_refused_difference_leaves_the_mark_before_the_batch(folder: Path) -> None:
    """Documents of a batch that were equal before the one that was not are not counted as settled."""
    run(folder, "1", "2", "3", "4")
    with opened(folder) as loader:
        loader.load(batch("1"))
        mark = loader.flush("a")
        with pytest.raises(ConfigError):
            loader.load(batch("2", "3", "X", end=2))
        assert mark == loader.flush("a")


def test_a_limit_of_the_system_is_no_room(folder: Path) -> None:
    """A real failure of the system in the middle of a write is treated alike."""
    with opened(folder) as loader:
        loader.load(batch("1"))
        with limited(100_000), pytest.raises(EndpointError, match="Make room"):
            loader.load(batch("x" * 200_000, end=2))
    assert content(folder) == {"a.ndjson.part": b"1\n"}


def test_failures_of_the_disk_are_the_targets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be put on disk is not a success: flush and finish say so."""

    def failing(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with opened(folder) as loader:
        loader.load(batch("1"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            with pytest.raises(EndpointError, match=r"a\.ndjson\.part cannot be written: Input/output error"):
                loader.flush("a")
            with pytest.raises(EndpointError, match="cannot be written"):
                loader.finish("a")
    assert list(content(folder)) == ["a.ndjson.part"]


def test_durable_before_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content is on disk before it gets its name, and the name before the collection is finished."""
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noting_fsync(file: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        fsync(file)

    def noting_replace(path: Path, target: Path) -> Path:
        events.append("rename")
        return replace(path, target)

    with opened(folder) as loader:
        loader.load(batch("1"))
        monkeypatch.setattr(os, "fsync", noting_fsync)
        monkeypatch.setattr(Path, "replace", noting_replace)
        loader.flush("a")
        assert events == ["file"]
        loader.finish("a")
    assert events == ["file", "file", "rename", "folder"]


def test_flush_after_the_end_has_no_mark(folder: Path) -> None:
    """A finished collection has nothing to go on with."""
    with opened(folder) as loader:
        loader.finish("a")
        assert loader.flush("a") is None


def test_folders_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the folder's place, a folder in the file's, and no permission: one sentence each."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        NdjsonLoader(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be written: Not a directory"):
        NdjsonLoader(tmp_path / "file" / "below").prepare("a", None)
    (tmp_path / "a.ndjson").mkdir()
    with pytest.raises(ConfigError, match=r"a\.ndjson is a folder"):
        NdjsonLoader(tmp_path).prepare("a", None)

    def refusing(path: Path, *_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(StorageError, match=r"b\.ndjson\.part cannot be written: Permission denied"):
        NdjsonLoader(tmp_path).prepare("b", None)


def test_a_link_in_the_parts_place_is_not_followed(folder: Path, tmp_path: Path) -> None:
    """Nothing outside the folder is written through a link that someone left there."""
    folder.mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (folder / "a.ndjson.part").symlink_to(victim)
    with pytest.raises(ConfigError, match="symbolic links"), opened(folder, mark=0):
        pass
    assert run(folder, "1") == "W"
    assert (victim.read_bytes(), content(folder)) == (b"precious", {"a.ndjson": b"1\n"})


def test_names_that_differ_in_case_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system takes them for one, the second is an error; elsewhere they are two files."""
    run(folder, "1")
    with contextlib.closing(NdjsonLoader(folder)) as loader:
        loader.prepare("A", None)
        loader.finish("A")
    assert sorted(content(folder)) == ["A.ndjson", "a.ndjson"]
    monkeypatch.setattr(os, "listdir", lambda _folder: ["A.ndjson"])
    with pytest.raises(ConfigError, match="differ in upper and lower case only"), opened(folder):
        pass


def test_an_old_file_that_is_cut_meanwhile_is_noticed(folder: Path) -> None:
    """A prefix that cannot be copied any more is an error, not a shorter file."""
    run(folder, "1", "2", "3")
    file = NdjsonFile(folder / "a.ndjson", overwrite=True)
    file.open(None)
    file.load(batch("1", "2"))
    os.truncate(folder / "a.ndjson", 2)
    with pytest.raises(EndpointError, match="was cut short"):
        file.load(batch("X", end=2))
    file.close()
    assert list(content(folder)) == ["a.ndjson"]
