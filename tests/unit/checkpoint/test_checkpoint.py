"""The checkpoint file: written whole or not at all, refused where it cannot be trusted, one run's at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.checkpoint import file as module
from migrator.checkpoint.file import VERSION, Checkpoint, CheckpointFile, CollectionState, open_checkpoint
from migrator.errors import CheckpointError, ConfigError, LockedError, StorageError
from migrator.model import Counts
from tests.support.processes import SOON_S, ended

JOB = {"source": "memory:app:db", "target": "http://h:5984", "collections": {"a": "a", "b": "b"}, "transform": []}


def full() -> Checkpoint:
    """A checkpoint that uses every field."""
    return Checkpoint(
        job=JOB,
        collections={
            "a": CollectionState("key:zoë", True, "10-ab", None, Counts(3, 1, 1, 0, 0, 1, 1)),
            "b": CollectionState(2**40, False, "", -7, Counts(read=2, written=2)),
            "c": CollectionState(),
        },
        seed="00ff",
        started_ms=1_700_000_000_000,
        rejects_bytes=77,
        run="12ab",
        details={"spooled": {"a": True}},
    )


@pytest.fixture
def file(tmp_path: Path) -> CheckpointFile:
    """A file that is not there yet."""
    return CheckpointFile(tmp_path / "nightly.json")


def path_of(file: CheckpointFile) -> Path:
    """Its path."""
    assert file.path is not None
    return file.path


def without_checksum(file: CheckpointFile) -> dict[str, Any]:
    """What it holds, as a version before wrote it: after a checksum any change is refused by that alone."""
    value: dict[str, Any] = json.loads(path_of(file).read_text())
    del value["checksum"], value["rejects_digest"], value["run"]
    return value


def refused(file: CheckpointFile) -> CheckpointError:
    """The error of loading it, which always says what to do next."""
    with pytest.raises(CheckpointError) as caught:
        file.load()
    assert str(file.path) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 6
    return caught.value


def test_reads_what_it_wrote(file: CheckpointFile) -> None:
    """Every field comes back."""
    file.save(full())
    assert full() == file.load()
    assert Counts(5, 3, 1, 0, 0, 1, 1) == file.load().totals


names = st.text(max_size=20)


@given(
    st.dictionaries(
        names,
        st.builds(
            CollectionState,
            st.none() | st.text(max_size=30) | st.integers(),
            st.booleans(),
            st.text(max_size=20),
            st.none() | st.integers(),
            st.builds(Counts, *[st.integers(0, 2**60)] * 7),
        ),
        max_size=3,
    ),
    st.dictionaries(names, names | st.lists(names, max_size=2), max_size=3),
)
def test_reads_any_state_it_wrote(
    tmp_path_factory: pytest.TempPathFactory, collections: dict[str, CollectionState], job: dict[str, Any]
) -> None:
    """Names, positions and marks of any kind, lone surrogates included, survive the file."""
    file = CheckpointFile(tmp_path_factory.mktemp("c") / "c.json")
    made = Checkpoint(job=job, collections=collections)
    file.save(made)
    assert made == file.load()


def test_is_kept_from_others(file: CheckpointFile) -> None:
    """File and lock are for the owner alone, also while they are written, whatever the umask."""
    before = os.umask(0)
    try:
        with file.lock():
            file.save(full())
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path_of(file).parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"nightly.json": 0o600, "nightly.json.lock": 0o600}


def test_replaces_the_old_one_only_when_the_new_one_is_whole(
    file: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a write fails the old state stays, and the error names the file and what to do."""
    file.save(Checkpoint(job={"old": True}))

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"nightly\.json cannot be written: No space left") as caught:
        file.save(full())
    assert "--checkpoint" in caught.value.hint
    assert [path.name for path in path_of(file).parent.iterdir()] == ["nightly.json"]
    assert file.load().job == {"old": True}


def test_is_on_disk_before_it_gets_its_name(file: CheckpointFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, then name, then folder: in this order a loss of power leaves the old or the new one."""
    order: list[str] = []
    replace = Path.replace

    def fsync(descriptor: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def renamed(self: Path, target: Path) -> Path:
        order.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    file.save(full())
    assert order == ["file", "name", "folder"]


def test_follows_no_link_of_another(tmp_path: Path) -> None:
    """A link laid in the way of the temporary file or the lock is not written through."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file = CheckpointFile(tmp_path / "c.json")
    (tmp_path / ".c.json.tmp").symlink_to(victim)
    (tmp_path / "c.json.lock").symlink_to(victim)
    with pytest.raises(ConfigError):
        file.save(full())
    with pytest.raises(ConfigError), file.lock():
        pytest.fail("the link was followed")
    assert victim.read_text() == "precious"


def test_any_flipped_bit_is_refused(file: CheckpointFile) -> None:
    """In any byte of the file; tests/unit/files/test_sealed.py tries each bit."""
    file.save(full())
    text = path_of(file).read_bytes()
    for place in range(len(text)):
        flipped = bytearray(text)
        flipped[place] ^= 1 << place % 8
        path_of(file).write_bytes(flipped)
        refused(file)
    path_of(file).write_bytes(text)
    assert full() == file.load()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + b"\n",
        lambda text: text + b" ",
        lambda text: b" " + text,
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"77", b"78"),
        lambda text: text.replace(b"zo", b"Zo"),
        lambda text: text.replace(b'"checksum"', b'"Checksum"'),
        lambda text: text.replace(b'"checksum": "', b'"checksum": "0', 1),
        lambda text: json.dumps(json.loads(text)).encode(),
        lambda text: text[: len(text) // 2],
        lambda text: text[:40] + text[110:],
        lambda text: text[:200] + b"\0" * 100 + text[300:],
        lambda text: text * 2,
        lambda text: b"",
    ],
)
def test_any_other_change_is_refused(file: CheckpointFile, change: Any) -> None:
    """Cut, longer, edited, laid out again, or with line breaks of another system: it is not what was written."""
    file.save(full())
    path_of(file).write_bytes(change(path_of(file).read_bytes()))
    assert "damaged" in refused(file).message


def test_one_without_a_checksum_is_read(file: CheckpointFile) -> None:
    """As versions before wrote it, and edited by hand; but no key of a younger one stands in it."""
    file.save(full())
    value = without_checksum(file)
    path_of(file).write_text(json.dumps(value, indent=1))
    assert replace(full(), run="") == file.load()
    path_of(file).write_text(json.dumps({**value, "chEcksum": "ab"}, indent=1))
    refused(file)


def linked(folder: Path) -> tuple[CheckpointFile, Path]:
    """A checkpoint that is a link to a file elsewhere."""
    (folder / "elsewhere").mkdir()
    real = folder / "elsewhere" / "real.json"
    (folder / "link.json").symlink_to(real)
    return CheckpointFile(folder / "link.json"), real


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    """Whether the file is there already or not; removing it leaves the link for the next run."""
    file, real = linked(tmp_path)
    assert not file.exists()
    for job in ({"n": 1}, {"n": 2}):
        file.save(Checkpoint(job=job))
        assert path_of(file).is_symlink()
        assert CheckpointFile(real).load().job == file.load().job == job
    file.remove()
    assert (path_of(file).is_symlink(), real.exists()) == (True, False)
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["elsewhere", "link.json"]


@pytest.mark.parametrize("through", ["link", "link to a link", "folder", "relative", "dots"])
def test_two_names_of_one_checkpoint_exclude_each_other(
    tmp_path: Path, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is that of the file itself, whichever way leads to it."""
    file, real = linked(tmp_path)
    (tmp_path / "again.json").symlink_to("link.json")
    (tmp_path / "folder").symlink_to("elsewhere")
    monkeypatch.chdir(tmp_path)
    other = {
        "link": path_of(file),
        "link to a link": tmp_path / "again.json",
        "folder": tmp_path / "folder" / "real.json",
        "relative": Path("elsewhere/real.json"),
        "dots": tmp_path / "elsewhere" / ".." / "elsewhere" / "real.json",
    }[through]
    with CheckpointFile(real).lock(), pytest.raises(LockedError), CheckpointFile(other).lock():
        pytest.fail("both hold it")
    with CheckpointFile(other).lock(), pytest.raises(LockedError), CheckpointFile(real).lock():
        pytest.fail("both hold it")


def test_a_link_that_leads_nowhere_is_said(tmp_path: Path) -> None:
    """To itself, or into a folder that is not there."""
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "none.json").symlink_to("none/c.json")
    for name in ("loop.json", "none.json"):
        with pytest.raises(ConfigError, match=f"{name}"):
            CheckpointFile(tmp_path / name).save(full())


def test_kept_nowhere() -> None:
    """Without a path nothing is written, and everything else works."""
    file = CheckpointFile(None)
    with file.lock():
        file.save(full())
    file.remove()
    assert not file.exists()
    assert open_checkpoint(file, JOB, resume=True, restart=False)[1] is False


def test_every_truncation_is_refused(file: CheckpointFile) -> None:
    """Cut at whichever byte, it is said to be damaged; never taken for less progress than there was."""
    file.save(full())
    whole = path_of(file).read_bytes()
    for length in range(len(whole)):
        path_of(file).write_bytes(whole[:length])
        assert "damaged" in refused(file).message
        assert "--restart" in refused(file).hint


@pytest.mark.parametrize("version", [VERSION + 1, 99, 10**30])
def test_a_newer_version_is_refused(file: CheckpointFile, version: int) -> None:
    """What this version does not know is left alone, whatever else is in the file."""
    path_of(file).write_text(json.dumps({"version": version}))
    assert "written by a newer migrator" in refused(file).message


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))


def changed(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """A copy with another value at a place."""
    if not path:
        return other
    return {**value, path[0]: changed(value[path[0]], path[1:], other)}


OTHERS = [None, True, 0, -1, 1.5, "", "text", [], [["a", 1]], {}, {"a": 1}, {"a": {"a": 1}}]


def test_wrong_types_are_refused_everywhere(file: CheckpointFile) -> None:
    """Any value replaced by one of any other type is either a state in itself or refused, never another error."""
    file.save(full())
    value = without_checksum(file)
    accepted = []
    for path in places(value):
        for other in OTHERS:
            path_of(file).write_text(json.dumps(changed(value, path, other)))
            try:
                loaded = file.load()
            except CheckpointError:
                continue
            accepted.append(path)
            assert loaded.totals.read >= 0
            file.save(loaded)
            assert loaded == file.load()
    # A position can be any text or whole number, and a job can say anything.
    assert ("collections", "b", "position") in accepted
    assert {("version",), ("finished",)} & set(accepted) == {("finished",)}


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ((), []),
        ((), "text"),
        (("version",), True),
        (("version",), 0),
        (("version",), "1"),
        (("job",), []),
        (("job",), ""),
        (("details",), []),
        (("finished",), 1),
        (("seed",), "xyz"),
        (("seed",), 7),
        (("started_ms",), -1),
        (("rejects_bytes",), "77"),
        (("collections",), [["a", {}]]),
        (("collections", "a"), []),
        (("collections", "a"), None),
        (("collections", "a", "position"), True),
        (("collections", "a", "position"), 1.5),
        (("collections", "a", "position"), ["x"]),
        (("collections", "a", "mark"), "1"),
        (("collections", "a", "mark"), False),
        (("collections", "a", "identity"), None),
        (("collections", "a", "counts"), []),
        (("collections", "a", "counts"), {"unknown": 1}),
        (("collections", "a", "counts"), {"read": -1}),
        (("collections", "a", "counts"), {"read": True}),
    ],
)
def test_a_wrong_type_is_damage(file: CheckpointFile, path: tuple[str, ...], other: Any) -> None:
    """Each of these would be taken for something that it is not."""
    file.save(full())
    path_of(file).write_text(json.dumps(changed(without_checksum(file), path, other)))
    assert "damaged" in refused(file).message


@pytest.mark.parametrize(
    "name", ["version", "job", "collections", "finished", "seed", "started_ms", "rejects_bytes"]
)
def test_a_missing_field_is_damage(file: CheckpointFile, name: str) -> None:
    """Nothing is filled in."""
    file.save(full())
    value = without_checksum(file)
    del value[name]
    path_of(file).write_text(json.dumps(value))
    refused(file)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 100, b"\xff\xfe", b"[" * 100_000, b'{"version": 1' + b"0" * 5000 + b"}", b"null", b"{}"],
    ids=["empty", "NUL", "no text", "deep", "huge number", "null", "no fields"],
)
def test_other_files_are_no_checkpoints(file: CheckpointFile, content: bytes) -> None:
    """Whatever else the name holds is refused, not an unexpected error."""
    path_of(file).write_bytes(content)
    refused(file)


def test_a_file_of_any_size_is_read_in_bounded_memory(
    file: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too large for a checkpoint is not read."""
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 1000)
    path_of(file).write_bytes(b" " * 1001)
    assert "too large" in refused(file).message


def test_a_folder_is_no_checkpoint(file: CheckpointFile) -> None:
    """A folder of that name is said to be one."""
    path_of(file).mkdir()
    assert "Is a directory" in refused(file).message


def test_starts_fresh_where_there_is_none(file: CheckpointFile) -> None:
    """With or without --resume: a first run is a first run."""
    for resume in (False, True):
        made, resumed = open_checkpoint(file, JOB, resume=resume, restart=False)
        assert (made.job, made.collections, resumed) == (JOB, {}, False)


def test_two_fresh_starts_have_two_seeds(file: CheckpointFile) -> None:
    """Made-up ids of one job are not those of another."""
    seeds = {open_checkpoint(file, JOB, resume=False, restart=False)[0].seed for _ in range(2)}
    assert len(seeds) == 2


def test_an_existing_one_is_not_overwritten(file: CheckpointFile) -> None:
    """Without --resume or --restart it is refused, and both are named."""
    file.save(full())
    with pytest.raises(CheckpointError, match="interrupted") as caught:
        open_checkpoint(file, JOB, resume=False, restart=False)
    assert "--resume" in caught.value.hint
    assert "--restart" in caught.value.hint


def test_one_that_settled_nothing_is_no_loss(file: CheckpointFile) -> None:
    """A run that failed at its start is started over by the same command, whosever it was."""
    file.save(Checkpoint(job=JOB, collections={"a": CollectionState(identity="10-ab", mark=0)}))
    found, resumed = open_checkpoint(file, {"source": "x"}, resume=False, restart=False)
    assert (found.job, resumed) == ({"source": "x"}, False)


def test_goes_on(file: CheckpointFile) -> None:
    """With --resume the state is taken up as it is."""
    file.save(full())
    assert (full(), True) == open_checkpoint(file, JOB, resume=True, restart=False)


def test_starts_over(file: CheckpointFile) -> None:
    """With --restart not even a damaged one is looked at."""
    path_of(file).write_bytes(b"{")
    made, resumed = open_checkpoint(file, JOB, resume=False, restart=True)
    assert (made.collections, resumed) == ({}, False)


def test_a_finished_one_starts_over(file: CheckpointFile) -> None:
    """With --resume or without: a whole run follows, with the same seed, if the job is the same."""
    done = full()
    done.finished = True
    file.save(done)
    for resume in (True, False):
        made, resumed = open_checkpoint(file, JOB, resume=resume, restart=False)
        assert (made.collections, resumed, made.seed, made.started_ms) == ({}, False, "00ff", 1_700_000_000_000)
    with pytest.raises(CheckpointError, match="another job"):
        open_checkpoint(file, {"source": "x"}, resume=False, restart=False)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"source": "other"}, ["its source was", "memory:app:db", "other"]),
        ({"target": "http://else:5984"}, ["its target was", "http://else:5984"]),
        ({"transform": ["drop:a"]}, ["its transform was not given", 'now it is ["drop:a"]']),
        ({"collections": {"a": "a"}}, ['its collections b was "b", now it is not given']),
        ({"collections": {"a": "a", "b": "z"}}, ['its collections b was "b", now it is "z"']),
        ({"codec": "strict"}, ["its codec was not given"]),
        ({"source": None}, ["its source was", "now it is not given"]),
    ],
)
def test_another_jobs_is_refused(file: CheckpointFile, change: dict[str, Any], named: list[str]) -> None:
    """It says which part of the job differs, what it was and what it is."""
    file.save(full())
    with pytest.raises(CheckpointError, match="belongs to another job") as caught:
        open_checkpoint(file, {**JOB, **change}, resume=True, restart=False)
    assert [text for text in named if text not in caught.value.message] == []
    assert "--restart" in caught.value.hint


def test_a_job_with_a_part_less_is_another(file: CheckpointFile) -> None:
    """What the file has and the job has not counts too."""
    file.save(full())
    job = {name: value for name, value in JOB.items() if name != "transform"}
    file.save(Checkpoint(job={**JOB, "transform": ["drop:a"]}))
    with pytest.raises(CheckpointError, match="its transform was"):
        open_checkpoint(file, job, resume=True, restart=False)


def test_a_message_stays_readable(file: CheckpointFile) -> None:
    """Thousands of collections are not all listed."""
    file.save(Checkpoint(job={"transform": ["drop:x"] * 5000}))
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(file, {"transform": []}, resume=True, restart=False)
    assert len(str(caught.value)) < 2000


HOLDER = """
import sys, time
from pathlib import Path
from migrator.checkpoint.file import CheckpointFile
with CheckpointFile(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(file: CheckpointFile) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLDER, str(file.path)]
    with ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_one_run_at_a_time(file: CheckpointFile, holder: subprocess.Popen[str]) -> None:
    """The second is told who holds it, again and again; a kill -9 of the first frees it at once."""
    for _ in range(3):
        with pytest.raises(LockedError, match=f"process {holder.pid}") as caught, file.lock():
            pytest.fail("two at a time")
        assert caught.value.exit_code == 7
        assert caught.value.hint
    holder.send_signal(signal.SIGKILL)
    holder.wait(SOON_S)
    with file.lock():
        assert path_of(file).with_name("nightly.json.lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_leaves_nothing(file: CheckpointFile) -> None:
    """When a run ends, well or not, its lock is gone and free."""
    with pytest.raises(ZeroDivisionError), file.lock():
        raise ZeroDivisionError
    assert list(path_of(file).parent.iterdir()) == []
    with file.lock():
        pass


def test_the_lock_of_one_who_left_meanwhile_is_no_lock(
    file: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock file that was opened before its holder removed it is not trusted: a new one is made."""
    flock = fcntl.flock
    lock = path_of(file).with_name("nightly.json.lock")
    removed: list[int] = []

    def late(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(descriptor)
            lock.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with file.lock():
        assert lock.exists()
        with pytest.raises(LockedError), CheckpointFile(file.path).lock():
            pytest.fail("two at a time")


def test_a_place_without_locks_is_named(file: CheckpointFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows no locks is not another run."""

    def fail(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(ConfigError, match="No locks available"), file.lock():
        pytest.fail("not locked")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The lock is the first thing that is made, so it says that the place is wrong."""
    with (
        pytest.raises(ConfigError, match="No such file or directory"),
        CheckpointFile(tmp_path / "no" / "c").lock(),
    ):
        pytest.fail("locked nothing")


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """Opening one would wait for a writer who never comes."""
    pipe = tmp_path / "c"
    os.mkfifo(pipe)
    with pytest.raises(CheckpointError, match="is a pipe or a device"):
        CheckpointFile(pipe).load()


def test_holds_no_password_of_a_transformer(tmp_path: Path) -> None:
    """A transformer can set a URL; a file of a version before, which had it, is gone on from."""
    job = {"source": "s", "transform": ["set:at=http://joe:geh3im@h/x"], "collections": {"c": "d"}}
    file = CheckpointFile(tmp_path / "c")
    started = {"c": CollectionState(position="1")}
    file.save(Checkpoint(job=job, collections=started))
    found, resumed = open_checkpoint(file, job, resume=True, restart=False)
    assert resumed
    file.save(found)
    assert b"geh3im" not in (tmp_path / "c").read_bytes()
    assert open_checkpoint(file, job, resume=True, restart=False)[1]
    assert "geh3im" not in str(open_checkpoint(file, job, resume=False, restart=True)[0].job)
    with pytest.raises(CheckpointError, match="another job"):
        open_checkpoint(file, job | {"transform": ["set:at=http://joe:geh3im@h/y"]}, resume=True, restart=False)
