"""`migrator backups`: what it prints, what it ends with, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from migrator.backup.catalog import HINT
from migrator.backup.storage.base import open_place
from migrator.cli.backup_options import readable
from migrator.cli.rendering import with_place
from migrator.errors import ConfigError
from tests.support.backups import TINY, files, simple, write
from tests.support.commands import run_whole
from tests.unit.backup.test_cipher import new_key


def backups(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return run_whole(folder, "backups", *args)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two databases: a chain of two and a lone snapshot."""
    place = open_place(str(tmp_path / "b"))
    full = write(place, [simple(n) for n in range(10)], **TINY)
    write(place, [simple(1, 2)], full)
    write(place, [simple(1)], database="users/old")
    return tmp_path


def test_list(folder: Path) -> None:
    """A row for each snapshot, with what a restore reads; as JSON the same."""
    done = backups(folder, "list", "--from", "b")
    assert (0, "") == (done.returncode, done.stderr)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["database", "snapshot", "kind", "finished", "documents", "size", "chain"] == rows[0]
    assert [
        ("orders", "full", "10", "1"),
        ("orders", "incremental", "1", "2"),
        ("users/old", "full", "1", "1"),
    ] == [(row[0], row[2], row[4], row[-1]) for row in rows[2:]]
    told = json.loads(backups(folder, "list", "--from", "b", "--database", "ord*", "--json").stdout)
    assert [("orders", 10, 1), ("orders", 1, 2)] == [
        (row["database"], row["documents"], row["chain"]) for row in told
    ]
    stored = sum(path.stat().st_size for path in files(folder / "b" / "databases" / "orders"))
    assert stored == sum(row["size_bytes"] for row in told)


def test_an_empty_place(tmp_path: Path) -> None:
    """It is an error: who watches a wrong path watches nothing."""
    for command in ("list", "check"):
        done = backups(tmp_path, command, "--from", "b")
        assert (2, "", True) == (done.returncode, done.stdout, "no backups" in done.stderr)
    assert not (tmp_path / "b").exists()


def test_check(folder: Path) -> None:
    """All is well, and says of how much; then a file is damaged, and is named."""
    done = backups(folder, "check", "--from", "b")
    assert (0, 3) == (done.returncode, done.stderr.count("reading "))
    assert "All is as it was written." in done.stdout
    damaged = next(files(folder))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    done = backups(folder, "check", "--from", "b", "-q")
    assert (4, "") == (done.returncode, done.stderr)
    assert f"DAMAGED orders {damaged.parent.name}: {damaged} is damaged" in done.stdout
    told = json.loads(backups(folder, "check", "--from", "b", "-q", "--json").stdout)
    assert (False, 3, 1) == (told["ok"], told["snapshots"], len(told["problems"]))
    assert 0 == backups(folder, "check", "--from", "b", "--database", "users*").returncode


def test_a_broken_chain_is_listed_as_such(folder: Path) -> None:
    """The child of what is gone cannot be restored; exit 4."""
    first = min((folder / "b" / "databases" / "orders").iterdir())
    (first / "manifest.json").unlink()
    done = backups(folder, "list", "--from", "b")
    assert 4 == done.returncode
    assert "broken" in done.stdout
    assert first.name in done.stdout.splitlines()[-1]
    second = max((folder / "b" / "databases" / "orders").iterdir())
    (second / "manifest.json").write_text("{}")
    done = backups(folder, "list", "--from", "b")
    assert (4, True) == (done.returncode, "damaged" in done.stdout)


def test_prune(folder: Path) -> None:
    """Dry, it removes nothing and says what and why; then it does so, of each database by itself."""
    place = open_place(str(folder / "b"))
    write(place, [simple(1)])
    dry = backups(folder, "prune", "--from", "b", "--keep-last", "1", "--dry-run")
    assert 0 == dry.returncode, dry.stderr
    assert (2, 2) == (dry.stdout.count("would be removed  "), dry.stdout.count("kept: last"))
    assert 3 == len(place.folders("databases/orders"))
    done = backups(folder, "prune", "--from", "b", "--keep-last", "1")
    assert 0 == done.returncode
    assert dry.stdout.replace("would be removed", "removed").split() == done.stdout.split()
    assert (1, 1) == tuple(len(place.folders(f"databases/{name}")) for name in ("orders", "users%2Fold"))
    told = json.loads(backups(folder, "prune", "--from", "b", "--keep-within", "1d", "--json").stdout)
    assert [["within"], ["within"]] == [each["reasons"] for plan in told for each in plan["snapshots"]]


def test_what_others_keep_there_stays(folder: Path) -> None:
    """Files and folders that are not backups are looked over, whatever is listed, checked and pruned."""
    root = folder / "b" / "databases"
    strange = [root.parent / "README", root / "notes.txt", root / "other" / "f", root / "%ZZ" / "x" / "f"]
    strange += [root / "orders" / "20260101T000000.000Z-nosnap" / "f"]
    for path in strange:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    (root / "empty").mkdir()
    for words in (["list"], ["check", "-q"], ["prune", "--keep-last", "1"]):
        done = backups(folder, words[0], "--from", "b", *words[1:])
        assert (done.returncode, done.stderr) == (0, ""), words
    assert [path.read_text() for path in strange] == ["mine"] * 5
    assert (root / "empty").is_dir()


def test_a_place_that_cannot_be_made_is_said() -> None:
    """Where no folder can be made, whatever the system says to that."""
    with (
        pytest.raises(ConfigError, match="/proc/nothing/x cannot be written"),
        open_place("/proc/nothing/x").lock(),
    ):
        pytest.fail("held")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["prune", "--from", "b"], "--keep-daily 7"),
        (["prune", "--from", "b", "--keep-within", "soon"], "36h"),
        (["prune", "--from", "b", "--keep-last", "0"], "--keep-last"),
        (["list", "--from", "b", "--database", "nothing"], "It has: orders, users/old."),
        (["check", "--from", "b", "--identity", "gone.txt"], "gone.txt"),
        (["list", "--from", "ftp3://x"], "s3, gcs"),
        (["prune", "--from", "nowhere", "--keep-last", "1"], "no backups in"),
        (["check", "--from", "nowhere"], "no backups in"),
        (["check", "--from", "b", "--to", "http://127.0.0.1:1"], "--drill"),
        (["check", "--from", "b", "--drill", "--to", "elsewhere", "-q"], "http://localhost:5984"),
        (["list"], "--from"),
    ],
)
def test_what_is_refused(args: list[str], says: str, folder: Path) -> None:
    """Exit 2, with what to type instead, and nothing done."""
    before = sorted(folder.rglob("*"))
    done = backups(folder, *args)
    assert (2, "") == (done.returncode, done.stdout)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert before == sorted(folder.rglob("*"))


def test_a_damaged_manifest_is_told_by_pruning(folder: Path) -> None:
    """With and without a copy of it; where nobody knows what stands on what, nothing is removed."""
    first = min((folder / "b" / "databases" / "orders").iterdir())
    for name in ("manifest.json", ".manifest-copy.json"):
        (first / name).write_bytes(b"{}")
        done = backups(folder, "prune", "--from", "b", "--keep-last", "1")
        assert 4 == done.returncode
        assert "manifest.json is damaged" in done.stdout
        assert first.exists()


def test_encrypted_backups_are_checked_with_and_without_the_key(tmp_path: Path) -> None:
    """Without, digests are compared and that is said."""
    from migrator.backup.format.cipher import open_cipher

    public, key = new_key(tmp_path)
    write(open_place(str(tmp_path / "b")), [simple(1)], cipher=open_cipher([public]))
    without = backups(tmp_path, "check", "--from", "b")
    assert (0, True) == (without.returncode, "only digests" in without.stdout)
    inside = backups(tmp_path, "check", "--from", "b", "-q", "--identity", str(key), "--json")
    assert (0, 1) == (inside.returncode, json.loads(inside.stdout)["leaves"])


def test_sizes_are_readable() -> None:
    """In the unit that suits them."""
    assert ["0 B", "999 B", "1.0 kB", "16.0 MB", "2.5 GB", "3,000.0 TB"] == [
        readable(size) for size in (0, 999, 1_000, 16_000_000, 2_500_000_000, 3_000_000_000_000_000)
    ]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--from", "b"], "--from b"),
        (["--from=my b"], "--from 'my b'"),
        (["--to", "x", "--from", "s3://k:geh3im@bucket/b"], "--from s3://bucket/b"),
        (["--from", "abfs://container@account/b"], "--from abfs://container@account/b"),
        (["--to", "x"], "--from PLACE"),
        (["--from"], "--from PLACE"),
    ],
)
def test_a_hint_names_the_place_that_was_typed(words: list[str], wanted: str) -> None:
    """It can be pasted as it is, and shows no password."""
    assert with_place(HINT, ["restore", *words]) == HINT.replace("--from PLACE", wanted)


def test_the_hint_of_a_missing_snapshot_can_be_pasted(folder: Path) -> None:
    """The whole command, as the shell needs it."""
    shutil.move(folder / "b", folder / "my b")
    words = ["--from", "my b", "--to", "http://127.0.0.1:1", "--at", "20010101T000000.000Z-000000"]
    done = run_whole(folder, "restore", *words, "--max-outage", "1")
    assert "migrator backups list --from 'my b'" in done.stderr
