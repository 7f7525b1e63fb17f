"""The commands of backups from beginning to end: at each kind of place, sealed, and what goes wrong."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.backup.catalog import Catalog, snapshot_folder
from migrator.backup.format.cipher import PLAIN
from migrator.backup.format.manifest import Manifest
from migrator.backup.options import RestoreOptions
from migrator.backup.restore import run_restore
from migrator.backup.storage.base import Place, open_place
from migrator.config import JobConfig
from migrator.errors import DamagedBackup
from tests import support
from tests.support.backup_world import World
from tests.support.commands import Ran, run
from tests.support.leaf_states import leaf, odd_leaves
from tests.unit.backup.test_cipher import new_key

pytestmark = pytest.mark.usefixtures("no_credentials")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files of rejects go that nobody named."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["folder", "memory", "s3"])
def world(
    request: pytest.FixtureRequest, server_url: str, database_prefix: str, tmp_path: Path
) -> Iterator[World]:
    """A database of all kinds of documents, and a place of each kind."""
    at = ""
    if request.param == "memory":
        at = f"memory://{uuid.uuid4().hex}"
    elif request.param == "s3":
        at = str(request.getfixturevalue("bucket"))
    world = World(server_url, database_prefix, tmp_path, at=at)
    world.make("a", *odd_leaves(), leaf("x", "1-a", files={"f": b"y" * 99_999}))
    yield world
    open_place(world.place).remove_folder("databases")


class Keys:
    """A pair of keys, as words of commands."""

    def __init__(self, folder: Path) -> None:
        public, self.file = new_key(folder)
        self.recipient = ("--recipient", public)
        self.identity = ("--identity", str(self.file))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Somebody's."""
    return Keys(tmp_path)


def backup(world: World, *more: str) -> Ran:
    """Back up the one database."""
    source = f"{world.server}/{world.name('a')}"
    return run("backup", "-q", "--json", "--from", source, "--to", world.place, *more)


def restore(world: World, short: str, *more: str) -> Ran:
    """Restore it to another name."""
    target = f"{world.server}/{world.name(short)}"
    return run("restore", "-q", "--json", "--from", world.place, "--to", target, *more)


def check(world: World, *more: str) -> Ran:
    """Look at the place."""
    return run("backups", "check", "-q", "--from", world.place, *more)


def manifests(world: World) -> list[Manifest]:
    """What is there, for who has no key."""
    return Catalog(open_place(world.place), PLAIN).snapshots(world.name("a"))


def segment(world: World) -> tuple[Place, str]:
    """The first segment of the full snapshot."""
    full = manifests(world)[0]
    return open_place(world.place), f"{snapshot_folder(full.database, full.snapshot)}/{full.segments[0].name}"


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_a_life_of_backups(world: World, keys: Keys, sealed: bool) -> None:
    """Full, incremental, listed, checked, drilled, restored to both points, pruned, and restored again."""
    to, key = ((*keys.recipient, *keys.identity), keys.identity) if sealed else ((), ())
    before = world.state("a")
    first = backup(world, *to)
    assert (first.code, first.value["databases"][world.name("a")]["kind"]) == (0, "full")
    world.write("a", leaf("x", "2-b", "1-a", files={"f": b"y" * 99_999}), leaf("new", "1-a"))
    second = backup(world, *to)
    (result,) = second.value["databases"].values()
    assert (second.code, result["kind"], result["documents"]) == (0, "incremental", 2)
    rows = run("backups", "list", "--from", world.place, "--json").value
    assert [row["kind"] for row in rows] == ["full", "incremental"]
    assert all(each.encryption == ("age" if sealed else "") for each in manifests(world))
    checked = check(world, "--json", *key)
    assert (checked.code, checked.value["ok"], checked.value["snapshots"]) == (0, True, 2)
    drilled = check(world, "--json", "--drill", "--to", world.server, *key)
    (drill,) = drilled.value["drills"]
    assert (drilled.code, drill["ok"], drill["leaves"]) == (0, True, len(world.state("a")))
    young = check(world, "--json", "--max-age", "1h", "--manifests-only")
    assert (young.code, young.value["overdue"], young.value["recorded"]) == (0, [], None)
    (shown,) = run("backups", "show", world.place, "--json").value["databases"]
    assert (shown["check"]["ok"], shown["check"]["snapshots"]) == (True, 2)
    assert (shown["drill"]["ok"], shown["drill"]["leaves"]) == (True, drill["leaves"])
    assert [row["change"] for row in shown["snapshots"]] == [None, 1]
    assert restore(world, "b", *key).code == 0
    assert world.state("b") == world.state("a")
    assert restore(world, "c", "--at", manifests(world)[0].snapshot, *key).code == 0
    assert world.state("c") == before
    assert backup(world, "--full", *to).code == 0
    assert run("backups", "prune", "--from", world.place, "--keep-last", "1").code == 0
    assert [each.kind for each in manifests(world)] == ["full"]
    assert check(world, *key).code == 0
    assert restore(world, "d", *key).code == 0
    assert world.state("d") == world.state("a")


def test_who_makes_backups_need_not_read_them(world: World, keys: Keys) -> None:
    """With the public key alone a chain grows; the secret one restores it, and says who is let in."""
    security = {"admins": {"names": [], "roles": []}, "members": {"names": ["bob"], "roles": []}}
    assert support.request("PUT", f"{world.server}/{world.name('a')}/_security", security)[0] == 200
    assert backup(world, *keys.recipient).code == 0
    world.write("a", leaf("x", "2-b", "1-a"))
    assert backup(world, *keys.recipient).code == 0
    assert [each.kind for each in manifests(world)] == ["full", "incremental"]
    checked = check(world, "--json")
    assert (checked.code, checked.value["sealed"]) == (0, 2)
    assert restore(world, "b", *keys.identity).code == 0
    assert world.state("b") == world.state("a")
    assert support.security(f"{world.server}/{world.name('b')}") == security


def test_a_missing_and_a_wrong_key_are_said(world: World, keys: Keys, tmp_path: Path) -> None:
    """Exit 2, what is encrypted, and which key does not fit; no word of the key itself."""
    other = tmp_path / "other"
    other.mkdir()
    wrong = Keys(other)
    assert backup(world, *keys.recipient).code == 0
    for said in (restore(world, "b"), check(world, "--drill", "--to", world.server)):
        assert (said.code, "is encrypted" in said.output, "--identity FILE" in said.output) == (2, True, True)
    for said in (
        restore(world, "b", *wrong.identity),
        check(world, *wrong.identity),
        backup(world, *keys.recipient, *wrong.identity),
        run("convert", "--from", world.place, "--to", "x", "--format", "ndjson", *wrong.identity),
    ):
        assert said.code == 2, said
        assert "cannot be decrypted with the key in" in said.output
        assert (str(wrong.file) in said.output, "SECRET" in said.output) == (True, False)
    gone = restore(world, "b", "--identity", "nowhere.txt")
    assert (gone.code, "nowhere.txt cannot be read" in gone.output) == (2, True)
    assert support.request("GET", f"{world.server}/{world.name('b')}")[0] == 404
    assert [each.kind for each in manifests(world)] == ["full"]


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_a_segment_that_somebody_changed_is_named(world: World, keys: Keys, sealed: bool) -> None:
    """Exit 4 with the file's name from everything that reads it; not a document of it is written."""
    to, key = (keys.recipient, keys.identity) if sealed else ((), ())
    assert backup(world, *to).code == 0
    place, name = segment(world)
    data = bytearray(place.read(name))
    data[len(data) // 2] ^= 1
    place.write(name, bytes(data))
    for said in (check(world), check(world, *key), check(world, "--drill", "--to", world.server, *key)):
        assert (said.code, name in said.output) == (4, True)
    damaged = restore(world, "b", *key)
    assert damaged.code == 4
    assert name in json.loads(damaged.output)["databases"][world.name("a")]["error"]
    assert world.state("b") == {}
    converted = run("convert", "-q", "--from", world.place, "--to", "x", "--format", "ndjson", *key)
    assert (converted.code, name in converted.output, Path("x").exists()) == (4, True, False)


def test_a_lost_file_is_missed_without_reading_any(world: World) -> None:
    """Whatever the storage: the quick check names it, and the snapshot does not count as young any more."""
    backup(world)
    place, name = segment(world)
    assert check(world, "--max-age", "1h", "--manifests-only").code == 0
    place.remove(name)
    said = check(world, "--max-age", "1h", "--manifests-only")
    assert said.code == 4
    assert f"{name} is missing." in said.output
    assert f"OVERDUE {world.name('a')}: no snapshot of it can be restored" in said.output


def test_a_lost_manifest_is_said_and_blocks_nothing_else(world: World) -> None:
    """By check, list and prune; the next backup goes on, and each other point in time can be restored."""
    world.make("l", leaf("x", "1-a"))
    states, ids = [], []
    for number in range(3):
        world.write("l", leaf(f"d{number}", "1-a"))
        world.backed_up("l", full=True)
        ids.append(world.snapshots("l")[-1].snapshot)
        states.append(world.state("l"))
    for name in ("manifest.json", ".manifest-copy.json"):
        open_place(world.place).remove(f"{snapshot_folder(world.name('l'), ids[2])}/{name}")
    where = ("--from", world.place)
    for command in (("check", "-q"), ("list",), ("prune", "--keep-last", "5")):
        ran = run("backups", *command, *where)
        assert (ran.code, f"{ids[2]}/manifest.json is missing" in ran.output) == (4, True), ran.output
    with pytest.raises(DamagedBackup, match=f"--at {ids[1]}"):
        world.restore("l", "l2")
    assert world.restored("l", "l3", at=ids[1]) == states[1]
    assert world.restored("l", "l4", at=ids[0]) == states[0]
    # Nor is another database kept from its restore.
    world.make("m", leaf("y", "1-a"))
    world.backed_up("m")
    config = JobConfig(target=world.server, rejects=str(world.rejects))
    names = {world.name(each): world.name(f"new-{each}") for each in ("l", "m")}
    both = run_restore(config, RestoreOptions(place=world.place, databases=tuple(names), map=names))
    assert [isinstance(each.error, DamagedBackup) for each in both.databases] == [True, False]
    assert both.exit_code == 4
    assert world.state("new-m") == world.state("m")
    (taken,) = world.backup("l").databases
    assert (taken.error, [note for note in taken.notes if ids[2] in note]) == (None, taken.notes)
    assert world.restored("l", "l5") == states[2]
    assert run("backups", "check", "-q", *where).code == 4


def test_a_sealed_chain_does_not_go_on_in_the_open_unsaid(world: World, keys: Keys) -> None:
    """Who forgets the key in one of two scripts reads it in the result."""
    assert backup(world, *keys.recipient).code == 0
    (result,) = backup(world).value["databases"].values()
    assert result["notes"] == ["not encrypted, as no --recipient was given; the snapshot before it is"]
    assert "notes" not in next(iter(backup(world).value["databases"].values()))
