"""Every place keeps the same promises: a folder, memory, an S3 server, a system that shows half a file."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from migrator.backup.storage import remote
from migrator.backup.storage.base import Place, open_place
from migrator.errors import ConfigError, EndpointError, LockedError
from tests.support.backups import read, simple, write
from tests.support.processes import SOON_S, ended, joined, started

KINDS = ["folder", "file", "memory", "s3", "renaming"]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty place of each kind."""
    if request.param == "s3":
        return str(request.getfixturevalue("bucket"))
    return {
        "folder": str(tmp_path / "a" / "b"),
        "file": f"file://{tmp_path}/with%20space",
        "memory": f"memory://{uuid.uuid4().hex}/x",
        "renaming": f"local://{tmp_path}/r",
    }[request.param]


@pytest.fixture
def place(url: str) -> Place:
    """An empty place of each kind."""
    return open_place(url)


def test_an_empty_place_is_empty(place: Place) -> None:
    """Nothing is there, and asking makes nothing."""
    assert [] == place.names()
    assert [] == place.names("databases/")
    assert [] == place.folders()
    assert [] == place.folders("databases")
    assert not place.exists("a")
    with pytest.raises(FileNotFoundError):
        place.read("databases/a")
    place.remove("databases/a")
    place.remove_folder("databases")


def test_what_is_written_is_there(place: Place, url: str, tmp_path: Path) -> None:
    """Bytes come out as they went in, under the names that they were given, for another opener too."""
    contents = {"a.json": b"", "d/x%2Fy%24/1": bytes(range(256)), "d/x%2Fy%24/2": b"2" * 70_000, "d/z/1": b"z"}
    for name, data in contents.items():
        place.write(name, memoryview(data))
    for each in (place, open_place(url)):
        assert sorted(contents) == each.names()
        assert ["d/x%2Fy%24/1", "d/x%2Fy%24/2"] == each.names("d/x%2Fy%24/")
        assert ["d/z/1"] == each.names("d/z")
        assert ["d"] == each.folders()
        assert ["x%2Fy%24", "z"] == each.folders("d")
        for number, (name, data) in enumerate(contents.items()):
            assert each.exists(name)
            assert data == each.read(name)
            folder = tmp_path / f"{id(each)}{number}"
            folder.mkdir()
            assert data == each.fetch(name, folder).read_bytes()
    assert not place.exists("d/z")
    assert not place.exists("d")


def test_writing_replaces(place: Place) -> None:
    """The second of two contents counts."""
    place.write("d/a", b"one")
    place.write("d/a", b"another")
    assert b"another" == place.read("d/a")
    assert ["d/a"] == place.names()


def test_removing(place: Place) -> None:
    """A file goes alone; a folder goes with everything, and nothing else does."""
    for name in ("d/a/1", "d/a/2", "d/ab/1"):
        place.write(name, b"x")
    place.remove("d/a/1")
    assert ["d/a/2", "d/ab/1"] == place.names()
    place.remove_folder("d/a")
    assert ["d/ab/1"] == place.names()
    assert ["ab"] == place.folders("d")
    place.remove_folder("d")
    assert [] == place.names()
    assert [] == place.folders()


def test_one_run_at_a_time(place: Place, url: str) -> None:
    """While one holds the lock, another is refused; afterwards it is free, and left no trace."""
    with place.lock():
        with pytest.raises(LockedError, match=str(os.getpid())), open_place(url).lock():
            pytest.fail("two at once")
        place.write("d/a", b"x")
    with open_place(url).lock():
        pass
    assert ["d/a"] == place.names()
    assert ["d"] == place.folders()


def test_of_many_at_once_at_most_one_holds(place: Place, url: str) -> None:
    """Threads that begin together never hold the place together."""
    holding = threading.Semaphore(1)
    failures = []

    def work() -> None:
        try:
            with open_place(url).lock():
                if not holding.acquire(blocking=False):
                    failures.append("two at once")
                    return
                threading.Event().wait(0.05)
                holding.release()
        except LockedError:
            pass

    joined(*[started(work) for _ in range(4)])
    assert [] == failures
    with place.lock():
        pass


def test_a_whole_backup(place: Place) -> None:
    """A chain is written and read."""
    full = write(place, [simple(n) for n in range(20)], max_segment_bytes=400, frame_bytes=100)
    assert len(full.segments) > 2
    latest = write(place, [simple(3, 2)], full)
    assert [simple(n, 2 if n == 3 else 1) for n in range(20)] == read(place, latest)


def test_a_folder_is_its_owners_alone(tmp_path: Path) -> None:
    """Nobody else may read what is backed up."""
    place = open_place(str(tmp_path / "backups"))
    place.write("d/a", b"x")
    with place.lock():
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert {"backups": 0o700, "d": 0o700, "a": 0o600, ".lock": 0o600} == modes


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Who may write beside a backup cannot lead it elsewhere."""
    place = open_place(str(tmp_path / "backups"))
    place.write("a", b"x")
    (tmp_path / "backups" / ".b.tmp").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be written"):
        place.write("b", b"y")
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_half_written_is_not_there(tmp_path: Path) -> None:
    """A write that a kill ended is in no list, and goes with its folder."""
    place = open_place(str(tmp_path))
    place.write("d/a", b"x")
    (tmp_path / "d" / ".b.tmp").write_bytes(b"ha")
    assert ["d/a"] == place.names()
    place.remove_folder("d")
    assert not (tmp_path / "d").exists()


def test_a_killed_runs_lock_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is gone, or it was not renewed; another machine's that is renewed holds."""
    place = open_place(f"memory://{uuid.uuid4().hex}")

    def leave(host: str, pid: int, age_s: float) -> None:
        renewed = time.time() - age_s
        place.write(f"{remote.LOCKS}/x.json", f'{{"host":"{host}","pid":{pid},"renewed":{renewed}}}'.encode())

    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    with ended(subprocess.Popen([sys.executable, "-c", ""])) as gone:
        gone.wait(SOON_S)
    for host, pid, age_s in (("here", gone.pid, 1), ("there", 1, 700), ("here", os.getppid(), 700)):
        leave(host, pid, age_s)
        with place.lock():
            pass
    for host, pid in (("there", gone.pid), ("here", os.getppid())):
        leave(host, pid, 1)
        with pytest.raises(LockedError, match=f"process {pid} on {host}"), place.lock():
            pytest.fail("not refused")


def test_a_lock_is_renewed_and_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the work goes on."""
    place = open_place(f"memory://{uuid.uuid4().hex}")
    monkeypatch.setattr(remote, "RENEW_S", 0.01)
    writes = []
    write_file = place.write

    def write(name: str, data: bytes) -> None:
        writes.append(name)
        write_file(name, data)

    monkeypatch.setattr(place, "write", write)
    with place.lock():
        while len(writes) < 4:
            threading.Event().wait(0.01)
    assert 1 == len(set(writes))
    assert [] == list(place._find(remote.LOCKS))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "Name a folder"),
        ("http://host/path", "not a place for backups"),
        ("file://host/path", "no file of this machine"),
        ("nonsense://x", "not a known kind"),
        ("abfs://c@account.dfs.core.windows.net/x", 'pip install "couchdb-migrator\\[backup\\]" adlfs'),
    ],
)
def test_what_is_no_place_is_said(url: str, says: str) -> None:
    """With the package to install where one is missing."""
    with pytest.raises(ConfigError, match=says):
        open_place(url)


def test_a_file_is_no_place(tmp_path: Path) -> None:
    """A folder is wanted."""
    (tmp_path / "a").touch()
    with pytest.raises(ConfigError, match="is a file"):
        open_place(str(tmp_path / "a"))


def test_without_fsspec_only_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base installation has places of its own, and says what others need."""
    for name in [*(name for name in sys.modules if name.split(".")[0] == "fsspec"), "fsspec", "fsspec.core"]:
        monkeypatch.setitem(sys.modules, name, None)
    open_place(str(tmp_path)).write("a", b"x")
    with pytest.raises(ConfigError, match=r"fsspec.*s3fs"):
        open_place("s3://bucket/x")


def test_no_credentials_are_shown() -> None:
    """Neither in the name of a place nor in its errors."""
    from migrator.files.urls import shown_url

    assert "sftp://host:22/p" == shown_url("sftp://me:a@b:secret@host:22/p/")
    assert "s3://bucket/p" == shown_url("s3://key:secret@bucket/p?token=x")
    assert "abfs://container@account/p" == shown_url("abfs://container@account/p")


def test_a_bucket_that_is_not_there(bucket: str) -> None:
    """It is named, with what to look at, as a target out of reach is."""
    place = open_place(bucket.replace("s3://b", "s3://c"))
    with pytest.raises(EndpointError, match=r"cannot be written.*credentials"):
        place.write("a", b"x")
