"""The external sort: order, memory, files, and what is left after a kill or damage."""

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import MigratorError
from migrator.files import sorted_runs
from migrator.files.own_json import seal
from migrator.files.sorting import MANIFEST, ExternalSorter
from tests.support.processes import LIMIT_S

LETTERS = ["a", "b", "ab", "é", "\uffff", "\U0001f600", "", "z" * 200]


def records(count: int, *, size: int = 50, seed: int = 1) -> list[tuple[str, bytes]]:
    """Records in random order; one in ten has the id of another."""
    rng = random.Random(seed)
    ids = [f"{rng.randrange(count * 5):08}{rng.choice(LETTERS)}" for _ in range(count)]
    return [(rng.choice(ids) if rng.random() < 0.1 else id, rng.randbytes(rng.randrange(size * 2))) for id in ids]


def in_order(items: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return sorted(items, key=lambda item: item[0].encode())


def fill(sorter: ExternalSorter, items: list[tuple[str, bytes]]) -> ExternalSorter:
    for id, body in items:
        sorter.add(id, body)
    return sorter


def run_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("run-*"))


def open_files(folder: Path) -> int:
    """How many files below a folder this process has open."""
    opened = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            opened += descriptor.readlink().is_relative_to(folder)
        except FileNotFoundError:  # the descriptor of this very listing
            continue
    return opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sorted"


@pytest.fixture
def kept(folder: Path) -> list[tuple[str, bytes]]:
    """What lies sorted and kept in `folder`, in several runs."""
    items = records(2_000)
    with ExternalSorter(folder, max_memory_bytes=100_000, keep=True, label="job") as sorter:
        fill(sorter, items).finish()
    assert len(run_files(folder)) > 2
    return in_order(items)


def test_a_small_sort_stays_in_memory(folder: Path) -> None:
    """Ascending by the ids' bytes, equal ids in the order in which they came, and no file."""
    items = [("b", b"1"), ("a", b"2"), ("\U0001f600", b"3"), ("\uffff", b"4"), ("a", b"1"), ("", b"5")]
    with fill(ExternalSorter(folder), items) as sorter:
        assert list(sorter.sorted_items()) == [
            ("", b"5"),
            ("a", b"2"),
            ("a", b"1"),
            ("b", b"1"),
            ("\uffff", b"4"),
            ("\U0001f600", b"3"),
        ]
        assert list(folder.iterdir()) == []
        assert len(items) == len(sorter)


@pytest.mark.parametrize("max_memory_bytes", [1, 10_000, 200_000])
@pytest.mark.parametrize("max_open_runs", [2, 5, 64])
def test_runs_are_merged_in_order(folder: Path, max_memory_bytes: int, max_open_runs: int) -> None:
    """However small the memory and however few the runs that may be open, the order is that of `sorted`."""
    items = records(300 if max_memory_bytes == 1 else 3_000)
    sorter = ExternalSorter(folder, max_memory_bytes=max_memory_bytes, max_open_runs=max_open_runs)
    with fill(sorter, items):
        assert run_files(folder)
        assert in_order(items) == list(sorter.sorted_items())
        assert len(run_files(folder)) <= max_open_runs


def test_no_more_is_merged_than_needed(folder: Path) -> None:
    """One run too many costs the rewriting of two, not of all."""
    sorter = ExternalSorter(folder, max_memory_bytes=1, max_open_runs=10)
    with fill(sorter, records(11)):
        before = run_files(folder)
        sorter.finish()
        assert len(set(before) - set(run_files(folder))) == 2


def test_reading_again_gives_the_same(folder: Path) -> None:
    """Two readings at once do not disturb each other."""
    items = records(500)
    with fill(ExternalSorter(folder, max_memory_bytes=10_000), items) as sorter:
        assert [(item, item) for item in in_order(items)] == list(
            zip(sorter.sorted_items(), sorter.sorted_items(), strict=True)
        )


@pytest.mark.parametrize("max_memory_bytes", [20_000, 64_000_000], ids=["on disk", "in memory"])
@pytest.mark.parametrize("prefix", ["", "p" * 127, "p" * 128, "p" * 500])
def test_reading_goes_on_behind_any_id(folder: Path, max_memory_bytes: int, prefix: str) -> None:
    """What is yielded is above the id, whether it is there or not, and however long the ids begin alike."""
    items = [(prefix + id, body) for id, body in records(400)]
    expected = in_order(items)
    rng = random.Random(2)
    starts = [id for id, _ in rng.sample(items, 20)] + [prefix + "0", "", prefix + "00001000x", "\U0010ffff"]
    with fill(ExternalSorter(folder, max_memory_bytes=max_memory_bytes), items) as sorter:
        for start in starts:
            behind = [item for item in expected if item[0].encode() > start.encode()]
            assert behind == list(sorter.sorted_items(start))


def test_few_blocks_are_read_to_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going on near the end reads a small part of the runs."""
    items = records(20_000)
    with fill(ExternalSorter(folder, max_memory_bytes=2_000_000), items) as sorter:
        read: list[int] = []
        entries_of = sorted_runs._entries_of

        def counted(block: bytes) -> list[sorted_runs.Entry]:
            read.append(len(block))
            return entries_of(block)

        monkeypatch.setattr(sorted_runs, "_entries_of", counted)
        list(sorter.sorted_items())
        all_blocks = len(read)
        read.clear()
        assert next(sorter.sorted_items(in_order(items)[-100][0]))
        assert len(read) < all_blocks / 10


def test_half_surrogate_pairs_are_sorted_too(folder: Path) -> None:
    """Such an id is refused by who writes it; the sort loses nothing."""
    items = [("\ud800", b"1"), ("a", b"2")]
    with fill(ExternalSorter(folder, max_memory_bytes=1), items) as sorter:
        assert list(sorter.sorted_items()) == [("a", b"2"), ("\ud800", b"1")]


def test_memory_is_bounded(folder: Path) -> None:
    """Twenty megabytes are sorted in less than three, adding, merging and reading."""
    rng = random.Random(3)
    tracemalloc.start()
    try:
        with ExternalSorter(folder, max_memory_bytes=1_000_000, max_open_runs=8) as sorter:
            for _ in range(20_000):
                sorter.add(f"{rng.getrandbits(64):016x}", rng.randbytes(1_000))
            assert sum(1 for _ in sorter.sorted_items()) == 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


def test_memory_does_not_grow_with_the_documents(folder: Path) -> None:
    """Fifty documents of a megabyte each are merged with few of them in memory."""
    rng = random.Random(4)
    tracemalloc.start()
    try:
        with ExternalSorter(folder, max_memory_bytes=1_000_000) as sorter:
            for number in range(50):
                sorter.add(f"{number * 7 % 50:02}", rng.randbytes(1_000_000))
            tracemalloc.reset_peak()
            assert [f"{number:02}" for number in range(50)] == [id for id, _ in sorter.sorted_items()]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_few_files_are_open_at_once(folder: Path) -> None:
    """No more runs than allowed are read together, and all are closed when reading is broken off."""
    sorter = fill(ExternalSorter(folder, max_memory_bytes=1, max_open_runs=3), records(20))
    with sorter:
        reading = sorter.sorted_items()
        next(reading)
        assert open_files(folder) == 3
        assert isinstance(reading, Iterator)
        reading.close()  # type: ignore[attr-defined]
        assert open_files(folder) == 0


def test_only_the_owner_may_read_the_files(folder: Path, kept: list[tuple[str, bytes]]) -> None:
    """Documents are nobody else's business."""
    del kept
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert {0o600} == set(modes.values())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_files_are_removed_at_the_end(folder: Path) -> None:
    """Closing leaves nothing, neither files nor the folder."""
    with fill(ExternalSorter(folder, max_memory_bytes=1), records(5)):
        assert len(run_files(folder)) == 5
    assert not folder.exists()


def test_what_others_put_there_stays(folder: Path) -> None:
    """Only the sorter's own files are removed."""
    folder.mkdir()
    (folder / "run-notes.txt").write_text("mine")
    with fill(ExternalSorter(folder, max_memory_bytes=1), records(5)):
        pass
    assert [path.name for path in folder.iterdir()] == ["run-notes.txt"]


def test_an_unfinished_sort_is_not_kept(folder: Path) -> None:
    """A reading that failed half-way leaves nothing behind, kept or not."""
    fill(ExternalSorter(folder, max_memory_bytes=1, keep=True), records(5)).close()
    assert not folder.exists()


def test_leftovers_of_an_earlier_sort_are_removed(folder: Path, kept: list[tuple[str, bytes]]) -> None:
    """A new sort in the same folder holds nothing of the old one."""
    assert kept
    with fill(ExternalSorter(folder, max_memory_bytes=1, keep=True, label="job"), [("a", b"1")]) as sorter:
        assert len(run_files(folder)) == 1
        assert list(sorter.sorted_items()) == [("a", b"1")]
    again = ExternalSorter.reopen(folder, label="job")
    assert again is not None
    assert list(again.sorted_items()) == [("a", b"1")]


def test_a_kept_sort_is_taken_up_again(folder: Path, kept: list[tuple[str, bytes]]) -> None:
    """Another process reads it as it was, from any id, as often as it likes, until it is removed."""
    for _ in range(2):
        sorter = ExternalSorter.reopen(folder, label="job")
        assert sorter is not None
        assert len(kept) == len(sorter)
        assert kept == list(sorter.sorted_items())
        assert [item for item in kept if item[0] > kept[1_000][0]] == list(sorter.sorted_items(kept[1_000][0]))
        sorter.close()
    ExternalSorter(folder).remove()
    assert not folder.exists()
    assert ExternalSorter.reopen(folder, label="job") is None


def test_an_empty_sort_can_be_kept(folder: Path) -> None:
    """Nothing was read, and that is known."""
    ExternalSorter(folder, keep=True).finish()
    sorter = ExternalSorter.reopen(folder)
    assert sorter is not None
    assert list(sorter.sorted_items()) == []


def test_a_sort_of_something_else_is_not_taken_up(folder: Path, kept: list[tuple[str, bytes]]) -> None:
    """The label tells the jobs apart."""
    assert kept
    assert ExternalSorter.reopen(folder, label="another") is None


@pytest.mark.parametrize("place", [0, 1, 9, 100, -1, -10])
def test_a_changed_byte_is_found(folder: Path, kept: list[tuple[str, bytes]], place: int) -> None:
    """Wherever it is in a run, the sort is not taken up."""
    assert kept
    path = run_files(folder)[1]
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    assert ExternalSorter.reopen(folder, label="job") is None


def test_a_run_that_is_not_whole_is_found(folder: Path, kept: list[tuple[str, bytes]]) -> None:
    """Shorter, longer, empty or gone: the sort is not taken up."""
    assert kept
    path = run_files(folder)[-1]
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"\0", b""):
        path.write_bytes(content)
        assert ExternalSorter.reopen(folder, label="job") is None
    path.unlink()
    assert ExternalSorter.reopen(folder, label="job") is None


def test_damage_while_reading_is_an_error(folder: Path, kept: list[tuple[str, bytes]]) -> None:
    """No record comes out other than it went in."""
    assert kept
    sorter = ExternalSorter.reopen(folder, label="job")
    assert sorter is not None
    path = run_files(folder)[0]
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(MigratorError, match="is damaged"):
        list(sorter.sorted_items())
    for length in (100, 0):
        path.write_bytes(damaged[:length])
        with pytest.raises(MigratorError, match="is damaged"):
            list(sorter.sorted_items())
    path.unlink()
    with pytest.raises(MigratorError, match="No such file"):
        list(sorter.sorted_items())


RUN = {"name": "run-000001.sorted", "records": 1, "size_bytes": 1, "checksum": 1}
MANIFEST_OF_ONE = {"version": 2, "label": "job", "runs": [RUN]}


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 100_000,
        json.dumps(MANIFEST_OF_ONE).encode(),
        {},
        {**MANIFEST_OF_ONE, "version": 1},
        {"version": 2, "label": "job"},
        {**MANIFEST_OF_ONE, "runs": 1},
        {**MANIFEST_OF_ONE, "runs": [["run-000001.sorted", 1, 1, 1]]},
        {**MANIFEST_OF_ONE, "runs": [{"name": "run-000001.sorted", "records": 1, "size_bytes": 1}]},
        {**MANIFEST_OF_ONE, "runs": [{**RUN, "name": "../run-000001.sorted"}]},
        {**MANIFEST_OF_ONE, "runs": [{**RUN, "name": "/etc/passwd"}]},
        {**MANIFEST_OF_ONE, "runs": [{**RUN, "name": 1}]},
        {**MANIFEST_OF_ONE, "runs": [{**RUN, "records": "1"}]},
        {**MANIFEST_OF_ONE, "runs": [{**RUN, "records": True}]},
    ],
)
def test_a_manifest_that_is_none_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, manifest: bytes | dict[str, Any]
) -> None:
    """Whatever lies there, nothing outside is read and nothing is raised."""
    folder.mkdir()
    (folder / MANIFEST).write_bytes(seal(manifest) if isinstance(manifest, dict) else manifest)
    # Were a run of it looked for, it would be found whole.
    monkeypatch.setattr("migrator.files.sorting.is_whole", lambda folder, run: True)
    assert ExternalSorter.reopen(folder, label="job") is None


def test_a_manifest_that_fits_is_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the ones above are refused for what is wrong with them."""
    folder.mkdir()
    (folder / MANIFEST).write_bytes(seal(MANIFEST_OF_ONE))
    monkeypatch.setattr("migrator.files.sorting.is_whole", lambda folder, run: True)
    assert ExternalSorter.reopen(folder, label="job") is not None


def test_a_changed_manifest_is_found(folder: Path, kept: list[tuple[str, bytes]]) -> None:
    """A number that is another one could hide records."""
    assert kept
    path = folder / MANIFEST
    whole = path.read_bytes()
    first, *others = json.loads(whole)["runs"]
    for name in first:
        for value in ("x", True, 0):
            changed = json.dumps({**json.loads(whole), "runs": [{**first, name: value}, *others]}, indent=1)
            path.write_text(f"{changed}\n")
            assert ExternalSorter.reopen(folder, label="job") is None
    path.write_text(json.dumps({**json.loads(whole), "runs": others}, indent=1) + "\n")
    assert ExternalSorter.reopen(folder, label="job") is None
    path.write_bytes(whole)
    assert ExternalSorter.reopen(folder, label="job") is not None


def test_a_huge_manifest_is_not_read(folder: Path) -> None:
    """A file from elsewhere cannot fill the memory."""
    folder.mkdir()
    with (folder / MANIFEST).open("wb") as file:
        file.truncate(10**12)
    assert ExternalSorter.reopen(folder) is None


def test_a_closed_sorter_yields_nothing_silently(folder: Path) -> None:
    """Reading or adding too late is an error of the caller, not an empty result."""
    sorter = fill(ExternalSorter(folder), records(5))
    sorter.finish()
    with pytest.raises(ValueError, match="finished"):
        sorter.add("late", b"")
    sorter.close()
    with pytest.raises(ValueError, match="closed"):
        sorter.sorted_items()


def test_a_full_disk_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says where room is needed, and what can be done."""

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sorter = ExternalSorter(folder, max_memory_bytes=1)
    monkeypatch.setattr(os, "open", full)
    with pytest.raises(MigratorError) as raised:
        sorter.add("a", b"1")
    monkeypatch.undo()
    sorter.close()
    assert str(raised.value) == (
        f"{folder} cannot be written: No space left on device. Make room, or name another folder for temporary "
        "files with TMPDIR; then run the same command again."
    )


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file stands where the folder should."""
    (tmp_path / "file").touch()
    with pytest.raises(MigratorError, match="cannot be written: "):
        ExternalSorter(tmp_path / "file" / "folder")


CHILD = """
import os, signal, sys
from pathlib import Path
from migrator.files.own_json import seal
from migrator.files.sorting import ExternalSorter
calls = 0
def counted(function):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call
os.open, os.fsync, os.fdopen = counted(os.open), counted(os.fsync), counted(os.fdopen)
Path.replace, Path.unlink = counted(Path.replace), counted(Path.unlink)
sorter = ExternalSorter(Path(sys.argv[1]), max_memory_bytes=1, max_open_runs=2, keep=True)
for number in (3, 1, 2):
    sorter.add(str(number), b"body")
sorter.finish()
print(calls, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(folder: Path, at_call: int) -> bytes:
    """Sort in a process that kills itself at its nth call to the disk, or else when it has finished."""
    command = [sys.executable, "-c", CHILD, str(folder), str(at_call)]
    process = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=LIMIT_S)
    assert process.returncode == -signal.SIGKILL
    return process.stdout


def test_a_killed_sort_is_whole_or_nothing(folder: Path) -> None:
    """Whenever the process is killed, there is the finished sort or none; a new one starts clean."""
    expected = [("1", b"body"), ("2", b"body"), ("3", b"body")]
    found = []
    calls = 1
    while not killed(folder, calls):
        sorter = ExternalSorter.reopen(folder)
        found.append(sorter is not None)
        assert sorter is None or expected == list(sorter.sorted_items())
        calls += 1
    reopened = ExternalSorter.reopen(folder)
    assert reopened is not None
    assert expected == list(reopened.sorted_items())
    # The manifest is made last: at no kill before it was there a sort.
    assert calls > 20
    assert False in found
    assert sorted(found) == found
