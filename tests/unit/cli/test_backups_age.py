"""`migrator backups check --max-age`: the watchdog of a timer that has died; and what checks leave in a place."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from migrator.backup.age import parse_age
from migrator.backup.catalog import Catalog
from migrator.backup.check import check as check_place
from migrator.backup.format.cipher import open_cipher
from migrator.backup.format.manifest import Manifest
from migrator.backup.format.records import CheckRecord, DrillRecord, read_record, write_record
from migrator.backup.record import Recorder
from migrator.backup.restore_test import Drill
from migrator.backup.storage.base import LocalPlace, Place, open_place
from migrator.errors import ConfigError, DamagedBackup
from migrator.naming import span_text
from tests.support.backups import TINY, at, begin, files, in_memory, leaf, simple, write
from tests.support.commands import run_whole
from tests.unit.backup.test_cipher import new_key

NOW = datetime.now(UTC)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place in the test's folder."""
    return open_place(str(tmp_path / "b"))


def made(place: Place, hours_ago: float, database: str = "orders", parent: Manifest | None = None) -> Manifest:
    """A snapshot that was made so long ago."""
    with at(NOW - timedelta(hours=hours_ago)):
        return write(place, [simple(n) for n in range(3)], parent, database=database, **TINY)


def begun(place: Place, hours_ago: float, database: str) -> None:
    """A snapshot that was begun so long ago, and whose run was killed."""
    with at(NOW - timedelta(hours=hours_ago)):
        writer = begin(place, database=database, **TINY)
        writer.add(leaf(simple(1)))
        writer.save()


def check(folder: Path, *words: str) -> tuple[int, Any]:
    """Exit code and JSON of a check with a day's limit."""
    done = run_whole(folder, "backups", "check", "--from", "b", "--max-age", "26h", "--json", "-q", *words)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


@pytest.mark.parametrize("words", [(), ("--manifests-only",)])
def test_a_timer_that_has_died_is_found(place: Place, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Which database, how old, when one was due, and the whole commands; others that are fresh are not named."""
    old = made(place, 75.5)
    made(place, 3, "users/old")
    sides = ("--from", "b", "--max-age", "26h")
    done = run_whole(tmp_path, "backups", "check", *sides, "--database", "*", "-q", *words)
    assert (done.returncode, done.stderr) == (4, "")
    (late,) = [line for line in done.stdout.splitlines() if line.startswith("OVERDUE")]
    due = f"{old.finished_at + timedelta(hours=26):%Y-%m-%dT%H:%M:%SZ}"
    assert late == (
        f"OVERDUE orders: its newest good snapshot {old.snapshot} is 3 d 3 h old, and a newer one was due {due}; "
        "at most 1 d 2 h is allowed. Make one: migrator backup --from http://localhost:5984/orders --to b"
    )
    again = ["backups", "check", *sides, "-q", *words, "--database", "users/old"]
    assert done.stdout.endswith(f"on purpose, watch the others: migrator {' '.join(again)}\n")
    assert run_whole(tmp_path, *again).returncode == 0
    code, told = check(tmp_path, *words)
    assert (code, told["ok"], [each["database"] for each in told["overdue"]]) == (4, False, ["orders"])
    assert told["overdue"][0] | {"what": "", "next": ""} == {
        "database": "orders",
        "snapshot": old.snapshot,
        "finished": old.finished,
        "age_s": pytest.approx(75.5 * 3600, abs=300),
        "due": due,
        "what": "",
        "next": "",
    }
    made(place, 2, parent=old)
    assert check(tmp_path, *words)[0] == 0
    assert check(tmp_path, "--database", "users*", *words)[0] == 0


@pytest.mark.parametrize("words", [(), ("--manifests-only",)])
def test_what_is_damaged_does_not_count(place: Place, tmp_path: Path, words: tuple[str, ...]) -> None:
    """The newest that can be restored counts: not one without its manifest or files, nor one that adds to such."""
    first = made(place, 80)
    full = made(place, 30)
    child = made(place, 1, parent=full)
    folder = tmp_path / "b" / "databases" / "orders"
    shutil.copytree(folder, tmp_path / "kept")
    assert check(tmp_path, *words)[0] == 0
    next(files(folder / full.snapshot)).unlink()
    code, told = check(tmp_path, *words)
    assert (code, told["by_database"][0]["newest_good"]) == (4, first.snapshot)
    assert told["overdue"][0]["snapshot"] == first.snapshot
    assert "2 newer ones cannot be restored" in told["overdue"][0]["what"]
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "kept", folder)
    for name in ("manifest.json", ".manifest-copy.json"):
        (folder / child.snapshot / name).unlink()
    code, told = check(tmp_path, *words)
    assert (code, told["overdue"][0]["snapshot"]) == (4, full.snapshot)


def test_files_are_read_only_where_that_is_asked(place: Place, tmp_path: Path) -> None:
    """A file of other bytes is found by a whole check; the quick one says that it read none, and notes nothing."""
    made(place, 1)
    damaged = next(files(tmp_path / "b"))
    damaged.write_bytes(damaged.read_bytes()[::-1])
    done = run_whole(tmp_path, "backups", "check", "--from", "b", "--max-age", "2h", "--manifests-only")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("All files are there; none was read.\n")
    assert read_record(place, CheckRecord, "orders") is None
    code, told = check(tmp_path)
    assert (code, told["overdue"][0]["what"].split(";")[0]) == (4, "no snapshot of it can be restored")


def test_a_clock_that_is_wrong(place: Place, tmp_path: Path) -> None:
    """What seems to be from the future does not keep the watchdog quiet; one that was made since does."""
    ahead = made(place, -24 * 400)
    code, told = check(tmp_path)
    assert code == 4
    assert "of no good snapshot the age can be told" in told["overdue"][0]["what"]
    assert f"{ahead.snapshot} says that it was finished {ahead.finished}" in told["overdue"][0]["what"]
    # Its id sorts after the one of the future, by which it goes on; its end is the clock's.
    assert made(place, 1, parent=ahead).snapshot > ahead.snapshot
    assert check(tmp_path)[0] == 0


def test_minutes_ahead_are_no_matter(place: Place, tmp_path: Path) -> None:
    """Two machines never agree to the second."""
    made(place, -0.1)
    assert check(tmp_path)[0] == 0


def test_what_was_never_finished(place: Place, tmp_path: Path) -> None:
    """A first backup may still go on; after the time it is overdue, which without --max-age nobody would see."""
    made(place, 1)
    begun(place, 3, "large")
    assert check(tmp_path)[0] == 0
    begun(place, 30, "never")
    (tmp_path / "b" / "databases" / "somebody else's").mkdir()
    code, told = check(tmp_path)
    assert (code, [each["database"] for each in told["overdue"]]) == (4, ["never"])
    assert "no backup of it was ever finished" in told["overdue"][0]["what"]
    assert run_whole(tmp_path, "backups", "check", "--from", "b", "-q").returncode == 0


def test_an_encrypted_chain_is_not_continued_in_the_open(place: Place, tmp_path: Path) -> None:
    """The command that makes a newer backup says that it needs the public key."""
    public, _ = new_key(tmp_path)
    with at(NOW - timedelta(hours=30)):
        write(place, [simple(1)], cipher=open_cipher([public]))
    code, told = check(tmp_path)
    assert code == 4
    again = "migrator backup --from http://localhost:5984/orders --to b --recipient KEY"
    assert told["overdue"][0]["next"] == again


def test_who_watches_over_the_watchdog_is_told(place: Place, tmp_path: Path) -> None:
    """The metrics file says 4 and keeps the time of the last success; a web hook is told of the database."""
    made(place, 30)
    words = ("backups", "check", "--from", "b", "-q", "--metrics", "watchdog.prom", "--max-age")
    assert run_whole(tmp_path, *words, "31h").returncode == 0
    assert 'migrator_exit_code{job="watchdog"} 0.0' in (tmp_path / "watchdog.prom").read_text()
    assert run_whole(tmp_path, *words, "29h").returncode == 4
    told = (tmp_path / "watchdog.prom").read_text()
    assert 'migrator_exit_code{job="watchdog"} 4.0' in told
    assert "migrator_last_success_timestamp_seconds" in told
    with patch("migrator.monitoring.timed.Webhook") as hook:
        run_whole(tmp_path, *words[:5], "--webhook", "http://127.0.0.1:1", "--max-age", "29h")
    (small,) = hook.return_value.send.call_args.args
    assert small["exit_code"] == 4
    assert "orders: its newest good snapshot " in small["text"]


def test_nothing_to_watch_is_not_green(tmp_path: Path) -> None:
    """A place without backups, or a name that means none, is the user's mistake, as without the flag."""
    assert check(tmp_path)[0] == 2
    (tmp_path / "b" / "databases" / "empty").mkdir(parents=True)
    assert check(tmp_path)[0] == 2
    made(open_place(str(tmp_path / "b")), 1)
    assert check(tmp_path, "--database", "orders", "--database", "empty")[0] == 2
    code, said = check(tmp_path, "--database", "order")
    assert (code, "Did you mean 'orders'?" in said) == (2, True)


@pytest.mark.parametrize("text", ["90m", "1y", "0h", "", "26", "26 hours", "-1h", "99999999999d"])
def test_ages_that_are_refused(text: str, place: Place, tmp_path: Path) -> None:
    """Months are not minutes, and without a unit nobody knows; nothing is read or noted."""
    made(place, 1)
    done = run_whole(tmp_path, "backups", "check", "--from", "b", f"--max-age={text}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "26h" in done.stderr or "36h" in done.stderr
    assert not (tmp_path / "b" / ".checks").exists()


@pytest.mark.parametrize(
    ("text", "hours", "spelled"),
    [("26h", 26, "1 d 2 h"), ("1w1d", 192, "8 d"), ("36h", 36, "1 d 12 h"), ("1h", 1, "1 h")],
)
def test_ages(text: str, hours: int, spelled: str) -> None:
    """As the flags of prune have them."""
    assert parse_age(text) == timedelta(hours=hours)
    assert span_text(parse_age(text).total_seconds()) == spelled


def test_short_spans() -> None:
    """In the two largest units, and never below 0."""
    assert [span_text(each) for each in (-5, 59.9, 3661, 3599)] == ["0 s", "59 s", "1 h 1 min", "59 min"]


def test_a_check_is_recorded(place: Place, tmp_path: Path) -> None:
    """Of each database what came of it; nothing of this is in the way of other commands, or of the next check."""
    full = made(place, 5)
    child = made(place, 4, parent=full)
    made(place, 4, "users/old")
    assert check(tmp_path)[1]["recorded"] is True
    found = read_record(place, CheckRecord, "orders")
    assert found
    assert datetime.fromisoformat(found.finished) > NOW
    assert (found.ok, found.snapshots, found.newest_good, found.damaged) == (True, 2, child.snapshot, ())
    next(files(tmp_path / "b" / "databases" / "orders" / full.snapshot)).write_bytes(b"")
    check(tmp_path, "--database", "orders")
    found = read_record(place, CheckRecord, "orders")
    assert found
    assert (found.ok, found.newest_good, found.damaged) == (False, "", (full.snapshot, child.snapshot))
    other = read_record(place, CheckRecord, "users/old")
    assert other
    assert other.ok
    assert place.names() == [name for name in place.names() if name.startswith("databases/")]
    assert Catalog(place).databases() == ["orders", "users/old"]
    for words in (["list", "--database", "users*"], ["prune", "--keep-last", "1", "--database", "users*"]):
        assert run_whole(tmp_path, "backups", words[0], "--from", "b", *words[1:]).returncode == 0


def test_a_place_that_cannot_be_written_to_is_checked_all_the_same(place: Place, tmp_path: Path) -> None:
    """The result stands, with its exit code, and it is said that nobody will find it in the place."""
    made(place, 1)
    made(place, 1, "users")
    (tmp_path / "b" / ".checks").write_text("in the way")
    done = run_whole(tmp_path, "backups", "check", "--from", "b", "-q", "--json")
    assert done.returncode == 0
    assert done.stderr.count("The result stands") == 1
    assert ".checks/orders.json cannot be written: Not a directory." in done.stderr
    assert json.loads(done.stdout)["recorded"] is False


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_takes_no_record(place: Place, code: int) -> None:
    """Full, read-only, closed or failing: it is said once, and what was recorded before stays."""
    made(place, 1)
    before = DrillRecord("2026-11-25T03:00:00.000Z", ok=True)
    write_record(place, "orders", before)
    said: list[str] = []
    recorder = Recorder(place, said.append)
    with patch.object(LocalPlace, "_write", side_effect=OSError(code, os.strerror(code))):
        recorder.checked(check_place(place, ["orders", "users"]))
        recorder.drilled(Drill("orders", "x", differences=["a"]))
    assert (recorder.ok, len(said)) == (False, 1)
    assert os.strerror(code) in said[0]
    assert (read_record(place, CheckRecord, "orders"), read_record(place, DrillRecord, "orders")) == (None, before)


def test_a_bucket_that_may_only_be_read() -> None:
    """What a driver raises is said as well, and changes no result."""
    said: list[str] = []
    with in_memory() as remote:
        made(remote, 1)
        recorder = Recorder(remote, said.append)
        with patch.object(type(remote), "_write", side_effect=PermissionError("AccessDenied")):
            recorder.checked(check_place(remote, ["orders"]))
        assert read_record(remote, CheckRecord, "orders") is None
    assert "AccessDenied" in said[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20],
        lambda text: text.replace(b'"ok":true', b'"ok":null'),
        lambda _: b"",
        lambda _: b"{}",
    ],
)
def test_a_damaged_record_is_named(place: Place, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """It is never taken for a result; the next check writes it again."""
    write_record(place, "a/b", DrillRecord("2026-11-25T03:00:00.000Z", ok=True, leaves=3))
    path = tmp_path / "b" / ".drills" / "a%2Fb.json"
    found = read_record(place, DrillRecord, "a/b")
    assert found
    assert found.leaves == 3
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DamagedBackup, match=r"\.drills/a%2Fb\.json is damaged"):
        read_record(place, DrillRecord, "a/b")


def test_an_age_says_what_is_wrong_with_it() -> None:
    """Minutes above all, which m does not mean."""
    with pytest.raises(ConfigError, match="m does not stand for minutes"):
        parse_age("90m")
