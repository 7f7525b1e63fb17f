"""Writers and prunings are killed before random effects on files: what is listed is whole, nothing is left."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from migrator.backup.catalog import Catalog
from migrator.backup.check import check
from migrator.backup.format import snapshot_writer
from migrator.backup.prune import Policy, plan_pruning
from migrator.backup.storage.base import open_place
from tests.support.backups import PlainAttachment, PlainLeaf, Sizes, begin, leaf, read, simple, write
from tests.support.processes import LIMIT_S

WRITER = """
import sys
from migrator.backup.catalog import Catalog
from migrator.backup.storage.base import open_place
from migrator.backup.format.snapshot_writer import SnapshotSizes, SnapshotWriter
from tests.support.backups import FACTS, begin, leaf
from tests.crash.self_kill import kill_before_effect
from tests.crash.test_kill_backups import SIZES, documents

kill_before_effect(int(sys.argv[2]), sys.argv[1])
place = open_place(sys.argv[1])
with place.lock():
    parent = Catalog(place).latest("orders")
    generation = len(Catalog(place).snapshots("orders")) + 1
    writer = SnapshotWriter.resume(place, "orders", parent=parent, facts=FACTS, sizes=SnapshotSizes(**SIZES))
    resumed = writer is not None
    writer = writer or begin(place, parent, **SIZES)
    print("resumed" if resumed else "begun", flush=True)
    for each in documents(generation):
        if writer.position is None or each.id > writer.position:
            writer.add(leaf(each))
    writer.finish()
"""
PRUNING = """
import sys
from migrator.cli import main
from tests.crash.self_kill import kill_before_effect

kill_before_effect(int(sys.argv.pop(1)), sys.argv[4])
main()
"""
SIZES = Sizes(max_segment_bytes=3_000, frame_bytes=1_000, piece_bytes=700)
COUNT = 240


def documents(generation: int) -> list[PlainLeaf]:
    """Those of one generation: all, then every second, every third; some with an attachment over many segments."""
    photo = PlainAttachment("photo", random.Random(7).randbytes(9_000))
    return [simple(n, generation, *([photo] if n % 50 == 0 else [])) for n in range(0, COUNT, generation)]


def state(generations: int) -> list[PlainLeaf]:
    """What they come to."""
    merged = {each.id: each for n in range(1, generations + 1) for each in documents(n)}
    return [merged[id] for id in sorted(merged)]


def test_a_writer_that_is_killed_and_run_again(tmp_path: Path) -> None:
    """Three snapshots, killed wherever: each run goes on, unfinished ones are not backups, the chain is right."""
    rng = random.Random(3)
    place = open_place(str(tmp_path))
    catalog = Catalog(place)
    kills = resumed = 0
    for generation in (1, 2, 3):
        for attempt in range(40):
            effect = str(rng.randrange(12, 40) if attempt < 8 else 0)
            command = [sys.executable, "-c", WRITER, str(tmp_path), effect]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=LIMIT_S)
            resumed += done.stdout == "resumed\n"
            code = done.returncode
            kills += code == -9
            assert code in {0, -9}
            assert generation - 1 + (code == 0) == len(catalog.snapshots("orders")) or code == -9
            if len(catalog.snapshots("orders")) == generation:
                break
        latest = catalog.latest("orders")
        assert latest is not None
        assert state(generation) == read(place, latest)
        assert len(documents(generation)) == latest.counts.documents
    assert kills >= 6
    assert resumed >= 3
    assert check(place, ["orders"]).ok


def test_a_pruning_that_is_killed_and_run_again(tmp_path: Path) -> None:
    """At every moment each listed snapshot is whole, the newest is there, and in the end only what is kept."""
    rng = random.Random(4)
    place = open_place(str(tmp_path))
    for day in range(1, 9):
        parent = None
        for hour in range(3):
            stamp = datetime(2026, 11, day, hour, tzinfo=UTC).isoformat
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(snapshot_writer, "now", stamp)
                parent = write(place, [simple(n, hour + 1) for n in range(100)], parent, **SIZES)
    assert 24 == len(Catalog(place).snapshots("orders"))
    kills = 0
    words = ["backups", "prune", "--from", str(tmp_path), "--keep-daily", "2"]
    for attempt in range(60):
        effect = str(rng.randrange(2, 60) if attempt < 12 else 0)
        command = [sys.executable, "-c", PRUNING, effect, *words]
        process = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, timeout=LIMIT_S
        )
        kills += process.returncode == -9
        assert process.returncode in {0, -9}, process.stderr
        checked = check(place, ["orders"])
        assert checked.ok, checked.problems
        assert read(place, Catalog(place).snapshots("orders")[-1]) == [simple(n, 3) for n in range(100)]
        if process.returncode == 0:
            break
    assert kills >= 4
    assert 6 == len(Catalog(place).snapshots("orders"))
    assert 6 == len(place.folders("databases/orders"))
    # Dotted files that belong there: the list of snapshots, and each manifest's copy.
    dotted = {path.name for path in tmp_path.rglob(".*")}
    assert dotted <= {".snapshots", ".manifest-copy.json"}


def test_what_killed_runs_left_goes(tmp_path: Path) -> None:
    """But not what the next run goes on with, and nothing that a live run holds."""
    place = open_place(str(tmp_path))
    full = write(place, documents(1)[:10])
    early = begin(place, full, **SIZES)
    for each in documents(1)[10:20]:
        early.add(leaf(each))
    early.save()
    [plan] = plan_pruning(place, ["orders"], Policy(last=1))
    assert ([], []) == (plan.removed, plan.stale)
    second = write(place, documents(2)[:10], full)
    going = begin(place, second, **SIZES)
    going.add(leaf(documents(1)[11]))
    going.save()
    unsaved = begin(place, second, **SIZES)
    place.write(f"databases/orders/{unsaved.snapshot}/segment-000001.ndjson.zst", b"x")
    [plan] = plan_pruning(place, ["orders"], Policy(last=1))
    assert [early.snapshot, unsaved.snapshot] == plan.stale
    command = [sys.executable, "-m", "migrator", "backups", "prune", "--from", str(tmp_path), "--keep-last", "9"]
    with place.lock():
        refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert 7 == refused.returncode
    assert "Another run" in refused.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S)
    assert done.stdout.count("unfinished") == 2
    assert [full.snapshot, second.snapshot, going.snapshot] == place.folders("databases/orders")
    old = f"{datetime.now(UTC) - timedelta(days=8):%Y%m%dT%H%M%S}.000Z-abcdef"
    place.write(f"databases/users/{old}/progress.json", b"{}")
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S)
    assert ["orders"] == place.folders("databases")
