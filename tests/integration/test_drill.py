"""The drill restores into a database of its own, finds every difference, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.backup import restore_test
from migrator.backup.format.snapshot_writer import SnapshotWriter
from migrator.backup.options import RestoreOptions
from migrator.backup.restore import run_restore
from migrator.backup.restore_test import Drill, drill
from migrator.config import JobConfig
from migrator.errors import EndpointError, Interrupted
from migrator.model.revisions import LeafFault
from tests import support
from tests.support.backup_world import World
from tests.support.leaf_states import leaf, odd_leaves, write
from tests.support.processes import LIMIT_S

pytestmark = pytest.mark.usefixtures("no_credentials")


@pytest.fixture
def world(server_url: str, database_prefix: str, tmp_path: Path) -> World:
    """A database with conflicts, tombstones and attachments, backed up twice."""
    world = World(server_url, database_prefix, tmp_path)
    world.make("a", *odd_leaves())
    world.write("a", leaf("x", "1-a", files={"f.txt": b"text" * 99, "g": bytes(range(256))}, n=1))
    world.backed_up("a")
    world.write("a", leaf("x", "2-b", "1-a", n=2), leaf("y", "1-a", n=1), leaf("y", "1-b", n=2))
    world.write("a", leaf("z", "2-b", "1-a", deleted=True, n=3))
    world.backed_up("a")
    return world


@pytest.fixture
def scratch(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name that the next drills use."""
    suffix = world.prefix[1:13]
    monkeypatch.setattr(restore_test, "scratch_name", lambda: f"migrator-drill-{suffix}")
    return f"migrator-drill-{suffix}"


def drilled(world: World, **more: Any) -> Drill:
    """The drill of the one database."""
    config = JobConfig(target=world.server, max_attempts=2)
    [result] = drill(config, RestoreOptions(place=world.place), [world.name("a")], **more)
    return result


def is_gone(world: World, scratch: str) -> bool:
    """True when the server has no such database."""
    return support.request("GET", f"{world.server}/{scratch}")[0] == 404


def test_what_can_be_restored_is_proven(world: World, scratch: str) -> None:
    """Every leaf of the newest snapshot's chain, and its attachments; the database is gone afterwards."""
    seen = []
    result = drilled(world, told=lambda _: seen.append(is_gone(world, scratch)))
    assert [] == result.differences
    state = world.state("a")
    assert len(state) == result.leaves > 5
    assert 0 == result.faults
    assert [True] == seen
    assert is_gone(world, scratch)


def test_the_command_says_so(world: World) -> None:
    """One line for each database, the numbers as JSON, a watchdog's file, exit 0; nothing is left."""
    command = [sys.executable, "-m", "migrator", "backups", "check", "--from", world.place, "--drill"]
    command += ["--to", world.server, "--metrics", str(world.folder / "drill.prom")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "was restored and is equal" in done.stdout
    assert "migrator_" in (world.folder / "drill.prom").read_text()
    told = json.loads(
        subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, timeout=LIMIT_S).stdout
    )
    assert [(True, world.name("a"), len(world.state("a")))] == [
        (each["ok"], each["database"], each["leaves"]) for each in told["drills"]
    ]


def change(server: str, name: str) -> None:
    """Put other content under a revision that is there: the database is made again."""
    rewrite(server, name, lambda doc: {**doc, "n": 99} if doc["_id"] == "y" and doc["_rev"] == "1-b" else doc)


def lose(server: str, name: str) -> None:
    """Leave one document out."""
    rewrite(server, name, lambda doc: None if doc["_id"] == "y" else doc)


def lose_leaf(server: str, name: str) -> None:
    """Leave one of two conflicting revisions out."""
    rewrite(server, name, lambda doc: None if doc["_rev"] == "1-a" and doc["_id"] == "y" else doc)


def add(server: str, name: str) -> None:
    """Write a document that the backup does not hold."""
    write(server, name, leaf("yy", "1-a"))


def cut_ancestry(server: str, name: str) -> None:
    """Give one revision another parent."""

    def cut(doc: Any) -> Any:
        if doc["_id"] == "z":
            doc["_revisions"]["ids"][1] = "cc"
        return doc

    rewrite(server, name, cut)


def forget_ancestry(server: str, name: str) -> None:
    """Give one revision no parents at all."""

    def forget(doc: Any) -> Any:
        if doc["_id"] == "stemmed":
            del doc["_revisions"]["ids"][1:]
        return doc

    rewrite(server, name, forget)


def spoil_attachment(server: str, name: str) -> None:
    """Put another byte into one attachment, which is as long as before."""

    def spoil(doc: Any) -> Any:
        if doc["_id"] == "large":
            doc["_attachments"]["é"] = {"content_type": "application/octet-stream", "revpos": 1, "data": "eQ=="}
        return doc

    rewrite(server, name, spoil)


def rewrite(server: str, name: str, how: Callable[[Any], Any]) -> None:
    """Make a database again from what is in it, changed."""
    rows = support.feed(server, name)
    asked = [{"id": row["id"], "rev": each["rev"]} for row in rows for each in row["changes"]]
    answer = support.request("POST", f"{server}/{name}/_bulk_get?revs=true&attachments=true", {"docs": asked})[1]
    found = [how(each["ok"]) for result in answer["results"] for each in result["docs"]]
    assert support.request("DELETE", f"{server}/{name}")[0] == 200
    assert support.request("PUT", f"{server}/{name}")[0] == 201
    write(server, name, *(doc for doc in found if doc is not None))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (change, ["'y' 1-b has another content"]),
        (lose, ["'y' is missing"]),
        (lose_leaf, ["'y' 1-a is missing"]),
        (add, ["'yy' is not in the backup"]),
        (cut_ancestry, ["'z' 2-b has another ancestry"]),
        (forget_ancestry, ["'stemmed' 9-i has another ancestry"]),
        (spoil_attachment, ["'large' 1-a has other attachments"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_difference_is_named(
    damage: Callable[[str, str], None],
    says: list[str],
    world: World,
    scratch: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever a restore did wrong; the database is gone afterwards all the same."""

    def wrongly(*args: Any, **more: Any) -> Any:
        result = run_restore(*args, **more)
        damage(world.server, scratch)
        return result

    monkeypatch.setattr(restore_test, "run_restore", wrongly)
    assert says == drilled(world).differences
    assert is_gone(world, scratch)


def test_a_backup_that_cannot_be_read_fails_the_drill(world: World, scratch: str) -> None:
    """The damage is named, not raised, so that the other databases get their drill."""
    segment = next(path for path in sorted(Path(world.place).rglob("segment-*")))
    segment.write_bytes(segment.read_bytes()[:-1])
    [difference] = drilled(world).differences
    assert segment.name in difference
    assert is_gone(world, scratch)


@pytest.mark.parametrize("error", [EndpointError("gone"), Interrupted("stopped"), KeyboardInterrupt()])
def test_nothing_is_left_after_a_failure(
    error: BaseException, world: World, scratch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the restore ended, and though the run was asked to stop."""
    stopping = threading.Event()

    def failing(*args: Any, **more: Any) -> Any:
        run_restore(*args, **more)
        assert not is_gone(world, scratch)
        stopping.set()
        raise error

    monkeypatch.setattr(restore_test, "run_restore", failing)
    with pytest.raises(type(error)):
        drilled(world, stopping=stopping)
    assert is_gone(world, scratch)


def test_what_the_backup_could_not_read_is_counted(
    world: World, scratch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the backup is not a difference of the restore, and is told."""
    add_leaf = SnapshotWriter.add

    def adding(self: SnapshotWriter, each: Any) -> None:
        if each.id == "w":
            self.fault(LeafFault("w", each.rev, "not_found", "missing"))
        else:
            add_leaf(self, each)

    monkeypatch.setattr(SnapshotWriter, "add", adding)
    world.write("a", leaf("w", "1-a"))
    world.backup("a")
    result = drilled(world)
    assert ([], 1) == (result.differences, result.faults)
