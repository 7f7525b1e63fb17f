"""`migrator backups show`: a place at a glance, as a table, as JSON and as a page."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from migrator.backup.format.cipher import open_cipher
from migrator.backup.format.manifest import Manifest
from migrator.backup.format.records import CheckRecord, DrillRecord, record_name, write_record
from migrator.backup.storage.base import Place, open_place
from tests.support.backups import TINY, at, files, simple, write
from tests.support.commands import run_whole
from tests.unit.backup.test_cipher import new_key

NOW = datetime.now(UTC)


def nights(place: Place, database: str, ago: list[int], documents: int = 1_000) -> list[Manifest]:
    """A snapshot on each of some nights, counted back from today; the database grows by 10 documents a night."""
    made: list[Manifest] = []
    for each in ago:
        with at(NOW - timedelta(days=each), documents - 10 * each):
            parent = made[-1] if made else None
            made.append(write(place, [simple(each)], parent, database=database, **TINY))
    return made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Two databases of two weeks; one of them was not backed up for some nights."""
    place = open_place(str(tmp_path / "b"))
    nights(place, "orders", [*range(14, 6, -1), *range(2, 0, -1)])
    nights(place, "users/old", list(range(14, 0, -1)))
    return place


def shown(folder: Path, *words: str) -> Any:
    """The JSON of it."""
    done = run_whole(folder, "backups", "show", "b", "--json", *words)
    assert done.returncode in {0, 4}, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def test_a_place_at_a_glance(place: Place, tmp_path: Path) -> None:
    """Databases, counts, sizes, growth, what was proven when, and gaps; PLACE is an argument, or --from."""
    done = run_whole(tmp_path, "backups", "show", "b")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run_whole(tmp_path, "backups", "show", "--from", "b").stdout
    first, _, head, _, orders, users, _, newest, *rest = done.stdout.splitlines()
    stored = sum(path.stat().st_size for path in files(tmp_path / "b" / "databases"))
    assert first == f"{tmp_path}/b: 2 databases, 24 snapshots, {stored / 1000:.1f} kB"
    names = ["database", "snapshots", "stored", "documents", "newest", "good", "every", "checked", "drilled"]
    assert head.split() == names
    row = orders.split()
    assert (row[:2], row[4:]) == (["orders", "10"], ["990", "1", "d", "old", "1", "d", "never", "never"])
    assert users.split()[:2] == ["users/old", "14"]
    assert newest.split() == ["database", "snapshot", "kind", "documents", "change", "stored"]
    assert [line.split()[2:5] for line in rest if line.startswith("orders")][:2] == [
        ["full", "860", "-"],
        ["incremental", "870", "+10"],
    ]
    (gap,) = [line for line in rest if line.startswith("GAP")]
    assert gap.startswith("GAP orders: no snapshot between ")
    assert gap.endswith(", 5 d, where there is one every 1 d")
    assert max(map(len, done.stdout.splitlines())) < 120


def test_json_has_all(place: Place, tmp_path: Path) -> None:
    """Each snapshot with what `backups list` says of it, and more; gaps with their times."""
    told = shown(tmp_path)
    orders, users = told["databases"]
    assert (told["schema"], told["ok"], told["snapshots"]) == (1, True, 24)
    assert told["size_bytes"] == orders["size_bytes"] + users["size_bytes"]
    listed = json.loads(run_whole(tmp_path, "backups", "list", "--from", "b", "--json").stdout)
    assert listed == [
        {name: row[name] for name in listed[0]} for each in told["databases"] for row in each["snapshots"]
    ]
    assert (orders["documents"], orders["usual_interval_s"]) == (990, 86_400)
    assert orders["age_s"] == pytest.approx(86_400, abs=300)
    assert [row["change"] for row in users["snapshots"]] == [None, *[10] * 13]
    (gap,) = orders["gaps"]
    assert gap["seconds"] == 5 * 86_400
    assert (gap["from"], gap["until"]) == (orders["snapshots"][7]["finished"], orders["snapshots"][8]["finished"])
    assert (users["gaps"], users["check"], users["drill"]) == ([], None, None)
    assert [each["database"] for each in shown(tmp_path, "--database", "users*")["databases"]] == ["users/old"]


def test_what_was_proven_is_shown(place: Place, tmp_path: Path) -> None:
    """The last whole check and restore test with their result; what a check found damaged is not good any more."""
    assert run_whole(tmp_path, "backups", "check", "--from", "b", "-q").returncode == 0
    write_record(place, "orders", DrillRecord("2026-11-22T05:43:00.000Z", ok=False, differences=2))
    out = run_whole(tmp_path, "backups", "show", "b").stdout
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    orders, users = (line.split() for line in out.splitlines()[4:6])
    assert orders[-5:] == [today, "ok", "2026-11-22", "NOT", "OK"]
    assert users[-3:] == [today, "ok", "never"]
    newest = shown(tmp_path)["databases"][0]["newest_good"]
    damaged = next(files(tmp_path / "b" / "databases" / "orders" / newest))
    damaged.write_bytes(damaged.read_bytes()[::-1])
    assert shown(tmp_path)["ok"], "no file is read"
    run_whole(tmp_path, "backups", "check", "--from", "b", "-q")
    done = run_whole(tmp_path, "backups", "show", "b")
    assert done.returncode == 4
    assert f"DAMAGED orders {newest}: the last check found it damaged" in done.stdout
    orders = shown(tmp_path)["databases"][0]
    assert orders["newest_good"] == orders["snapshots"][-2]["snapshot"]
    assert orders["check"]["damaged"] == [newest]


def test_what_is_wrong_is_said(place: Place, tmp_path: Path) -> None:
    """A lost manifest, one from the future, an unreadable record, one that was begun: a line each, and exit 4."""
    folder = tmp_path / "b" / "databases" / "orders"
    lost = max(each.name for each in folder.iterdir())
    for name in ("manifest.json", ".manifest-copy.json"):
        (folder / lost / name).unlink()
    with at(NOW + timedelta(days=400)):
        ahead = write(place, [simple(1)], database="users/old")
    begun = folder.parent / "users%2Fold" / "20271001T000000.000Z-abcdef"
    begun.mkdir()
    place.write(record_name(CheckRecord, "orders"), b"{}")
    done = run_whole(tmp_path, "backups", "show", "b")
    assert done.returncode == 4
    notes = done.stdout.split("\n\n")[-1]
    assert f"DAMAGED orders {lost}: " in notes
    assert f"users/old: {ahead.snapshot} seems to be from the future" in notes
    assert f"users/old: 1 snapshot begun and not finished: {begun.name}" in notes
    assert f"orders: {tmp_path}/b/.checks/orders.json is damaged" in notes
    users = shown(tmp_path)["databases"][1]
    assert users["newest_good"] == users["snapshots"][-2]["snapshot"]
    assert run_whole(tmp_path, "backups", "show", "b", "--html", "page.html").returncode == 4
    page = (tmp_path / "page.html").read_text()
    for text in (lost, ahead.snapshot, begun.name, ".checks/orders.json"):
        assert text in page


def test_encrypted_places_are_shown_without_the_key(tmp_path: Path) -> None:
    """Numbers, times and sizes are in the open; the records hold no id of a document."""
    public, _ = new_key(tmp_path)
    place = open_place(str(tmp_path / "b"))
    with at(NOW - timedelta(hours=2), 7):
        write(place, [simple(1)], cipher=open_cipher([public]))
    run_whole(tmp_path, "backups", "check", "--from", "b", "-q")
    (orders,) = shown(tmp_path)["databases"]
    assert (orders["documents"], orders["check"]["sealed"], orders["snapshots"][0]["encrypted"]) == (7, 1, True)
    assert "doc-" not in (tmp_path / "b" / ".checks" / "orders.json").read_text()


def test_a_large_place_fits_a_screen_or_two(tmp_path: Path) -> None:
    """Of many snapshots the newest are listed, and it is said how many more there are; the page has all."""
    place = open_place(str(tmp_path / "b"))
    nights(place, "orders", list(range(60, 0, -1)))
    lines = run_whole(tmp_path, "backups", "show", "b").stdout.splitlines()
    assert len(lines) < 50
    assert "and 20 older" in lines[-1]


def test_many_databases(tmp_path: Path) -> None:
    """A row for each; the snapshots of so many fill no screen."""
    place = open_place(str(tmp_path / "b"))
    for number in range(25):
        nights(place, f"d{number}", [2, 1])
    lines = run_whole(tmp_path, "backups", "show", "b").stdout.splitlines()
    assert len(lines) == 2 + 2 + 25 + 2
    assert lines[-1].startswith("--database NAME")


def test_a_database_without_a_finished_snapshot_is_shown(tmp_path: Path) -> None:
    """Its first backup was begun, and that is all there is of it."""
    (tmp_path / "b" / "databases" / "orders" / "20261001T000000.000Z-abcdef").mkdir(parents=True)
    done = run_whole(tmp_path, "backups", "show", "b")
    assert done.returncode == 0
    assert "orders: 1 snapshot begun and not finished" in done.stdout
    assert "<title>1 database, 0 snapshots" in run_whole(tmp_path, "backups", "show", "b", "--html", "-").stdout


def test_a_page(place: Place, tmp_path: Path) -> None:
    """Written whole, or printed; it names where it is from, and asks no other host."""
    done = run_whole(tmp_path, "backups", "show", "b", "--html", "page.html")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Wrote page.html.\n")
    page = (tmp_path / "page.html").read_text()
    printed = run_whole(tmp_path, "backups", "show", "b", "--html", "-").stdout
    assert printed.startswith("<!DOCTYPE html>")
    assert "<title>2 databases, 24 snapshots · migrator</title>" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    refused = run_whole(tmp_path, "backups", "show", "b", "--html", "no/such/page.html")
    assert (refused.returncode, "--html FILE" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "There is no place"),
        (["nowhere"], "no backups in"),
        (["b", "--from", "c"], "two places"),
        (["b", "--database", "order"], "Did you mean 'orders'?"),
        (["http://127.0.0.1:1"], "web servers take no files"),
    ],
)
def test_what_is_refused(words: list[str], says: str, place: Place, tmp_path: Path) -> None:
    """Exit code 2, with what to type instead, and nothing made."""
    before = sorted(tmp_path.rglob("*"))
    done = run_whole(tmp_path, "backups", "show", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
