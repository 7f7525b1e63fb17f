"""A file is written whole and durably: the old one or the new one, private, through links, nothing beside it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.files.durable import create_file, create_whole, make_folder, publish, replace_file, replacing
from tests.support.processes import joined, started

Write = Callable[[Path, bytes], None]


def streamed(path: Path, data: bytes) -> None:
    """In small pieces."""
    with replacing(path) as file:
        for number in range(len(data)):
            file.write(data[number : number + 1])


WRITERS = [replace_file, streamed]
each_writer = pytest.mark.parametrize("write", WRITERS, ids=["whole", "streamed"])


def mode_of(path: Path) -> int:
    """Its permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def content(folder: Path) -> dict[str, bytes]:
    """Files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@each_writer
@pytest.mark.parametrize("old", [None, b"", b"longer than what comes"])
@pytest.mark.parametrize("data", [b"", b"new", "ü\ud7ff\U0001f600".encode()])
def test_replaces_whole(tmp_path: Path, write: Write, old: bytes | None, data: bytes) -> None:
    """Whatever stood there; nothing else is left in the folder."""
    if old is not None:
        (tmp_path / "f").write_bytes(old)
    write(tmp_path / "f", data)
    assert content(tmp_path) == {"f": data}


def test_text_is_utf8(tmp_path: Path) -> None:
    """A string is written as UTF-8."""
    replace_file(tmp_path / "f", "é")
    assert content(tmp_path) == {"f": b"\xc3\xa9"}


@each_writer
@pytest.mark.parametrize("umask", [0, 0o022, 0o377])
@pytest.mark.parametrize("old", [None, 0o644, 0o400])
def test_is_private(tmp_path: Path, write: Write, umask: int, old: int | None) -> None:
    """For its owner only, also while it is written, whatever the umask and whoever could read the old one."""
    path = tmp_path / "f"
    if old is not None:
        path.touch()
        path.chmod(old)
    before = os.umask(umask)
    try:
        write(path, b"x")
    finally:
        os.umask(before)
    assert mode_of(path) == 0o600


def test_mode_can_be_kept(tmp_path: Path) -> None:
    """A file that others are meant to read stays readable for them; a new one is private."""
    path = tmp_path / "f"
    replace_file(path, b"1", keep_mode=True)
    assert mode_of(path) == 0o600
    path.chmod(0o640)
    replace_file(path, b"2", keep_mode=True)
    assert mode_of(path) == 0o640


@each_writer
@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_link_stays(tmp_path: Path, write: Write, exists: bool, steps: int) -> None:
    """The file that links lead to is replaced, or made; the temporary file is beside that."""
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    target = tmp_path / "real" / "f"
    if exists:
        target.write_bytes(b"old")
    end = Path("../real/f")
    for number in range(steps):
        (tmp_path / "links" / f"{number}").symlink_to(end)
        end = Path(f"{number}")
    write(tmp_path / "links" / f"{steps - 1}", b"new")
    assert content(tmp_path / "real") == {"f": b"new"}
    assert all(path.is_symlink() for path in (tmp_path / "links").iterdir())
    assert len(list((tmp_path / "links").iterdir())) == steps


def test_a_folder_that_is_a_link(tmp_path: Path) -> None:
    """It is followed as every path is."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    replace_file(tmp_path / "link" / "f", b"x")
    assert content(tmp_path / "real") == {"f": b"x"}


@each_writer
def test_links_in_a_circle(tmp_path: Path, write: Write) -> None:
    """They are an error, and stay."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        write(tmp_path / "a", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_no_link_in_the_temporary_file_s_place_is_followed(tmp_path: Path) -> None:
    """Who may write beside a file cannot lead its content elsewhere."""
    (tmp_path / ".f.tmp").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(tmp_path / "f", b"x")
    assert not (tmp_path / "victim").exists()


def test_what_a_kill_left_is_no_hindrance(tmp_path: Path) -> None:
    """A temporary file of an earlier, killed write is written over, however long and open to others it is."""
    (tmp_path / ".f.tmp").write_bytes(b"half of something long")
    (tmp_path / ".f.tmp").chmod(0o666)
    replace_file(tmp_path / "f", b"x")
    assert content(tmp_path) == {"f": b"x"}
    assert mode_of(tmp_path / "f") == 0o600


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """It takes the bytes and stays a pipe; so do devices."""
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = started(lambda: got.append((tmp_path / "pipe").read_bytes()))
    replace_file(tmp_path / "pipe", b"through")
    joined(reader)
    assert got == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    (tmp_path / "null").symlink_to("/dev/null")
    replace_file(tmp_path / "null", b"gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@each_writer
def test_a_folder_in_its_place(tmp_path: Path, write: Write) -> None:
    """It is named, and stays."""
    (tmp_path / "f").mkdir()
    with pytest.raises(IsADirectoryError):
        write(tmp_path / "f", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@each_writer
@pytest.mark.parametrize("step", ["fsync", "rename", "fchmod"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_an_error_leaves_the_old_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write, step: str, number: int
) -> None:
    """Whatever fails: the old content, and nothing beside it."""
    (tmp_path / "f").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    holder, name = (Path, "replace") if step == "rename" else (os, step)
    monkeypatch.setattr(holder, name, fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        write(tmp_path / "f", b"new")
    assert content(tmp_path) == {"f": b"old"}


def test_whatever_ends_the_block_leaves_the_old_one_alone(tmp_path: Path) -> None:
    """A key pressed, too."""
    (tmp_path / "f").write_bytes(b"old")

    def interrupted() -> None:
        with replacing(tmp_path / "f") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert content(tmp_path) == {"f": b"old"}


@each_writer
def test_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    """File, then name, then folder: in this order a loss of power leaves the old or the new one."""
    order: list[str] = []
    rename = Path.replace

    def fsync(descriptor: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def renamed(self: Path, target: Path) -> Path:
        order.append("name")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    write(tmp_path / "f", b"x")
    assert order == ["file", "name", "folder"]


def test_folders_that_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot do it is as durable as it gets; one that fails is an error."""
    whole = os.fsync

    def failing(number: int) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(number, os.strerror(number))
            whole(descriptor)

        return fsync

    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    replace_file(tmp_path / "f", b"x")
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        replace_file(tmp_path / "f", b"y")


def test_makes_new_files_only(tmp_path: Path) -> None:
    """What is there is not opened, a link is not followed, and what failed is not left."""
    (tmp_path / "there").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    for name in ("there", "link"):
        with pytest.raises(FileExistsError):
            create_whole(tmp_path / name, "x")
        with pytest.raises(FileExistsError):
            create_file(tmp_path / name)
    assert (tmp_path / "there").read_bytes() == b"precious"
    create_whole(tmp_path / "new", "x")
    assert mode_of(tmp_path / "new") == 0o600


def test_a_new_file_that_failed_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a password is none."""

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        create_whole(tmp_path / "new", "x")
    assert content(tmp_path) == {}


def test_makes_folders(tmp_path: Path) -> None:
    """With those above, private; one that is there is none to make; a file in the way is an error."""
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert mode_of(tmp_path / "a") == mode_of(tmp_path / "a" / "b") == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        make_folder(tmp_path / "file" / "c")


def test_publishes(tmp_path: Path) -> None:
    """A finished file takes its name and another's place."""
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    publish(tmp_path / "a", tmp_path / "b")
    assert content(tmp_path) == {"b": b"new"}
