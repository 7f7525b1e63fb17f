"""A snapshot whose manifest is lost stands in no other's way, in a folder and in an object store alike."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migrator.backup.catalog import Catalog
from migrator.backup.check import check
from migrator.backup.format.heads import head_name
from migrator.backup.format.manifest import COPY, FILE
from migrator.backup.listing import snapshot_at
from migrator.backup.prune import Policy, plan_pruning, prune
from migrator.backup.storage.base import Place, open_place
from migrator.errors import DamagedBackup, EndpointError, StorageError
from tests.support.backups import in_memory, read, simple, write

Lose = Callable[[Place, str], None]


@pytest.fixture(params=["a folder", "an object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where backups are."""
    if request.param == "a folder":
        yield open_place(str(tmp_path / "backups"))
        return
    with in_memory() as place:
        yield place


def snapshots(place: Place, kinds: str) -> list[str]:
    """Full (f) and incremental (i) snapshots; their ids."""
    parent = None
    for number, kind in enumerate(kinds, 1):
        parent = write(place, [simple(0, number)], parent if kind == "i" else None)
        # Times are in milliseconds, and each is to have its own.
        time.sleep(0.003)
    return Catalog(place).ids("orders")


def gone(place: Place, id: str) -> None:
    """Manifest and copy are removed."""
    for name in (FILE, COPY):
        place.remove(f"databases/orders/{id}/{name}")


def damaged(place: Place, id: str) -> None:
    """Both are cut off."""
    for name in (FILE, COPY):
        place.write(f"databases/orders/{id}/{name}", place.read(f"databases/orders/{id}/{name}")[:-9])


def all_gone(place: Place, id: str) -> None:
    """The whole folder is removed."""
    place.remove_folder(f"databases/orders/{id}")


each_loss = pytest.mark.parametrize("lose", [gone, damaged, all_gone], ids=lambda lose: lose.__name__)


@each_loss
@pytest.mark.parametrize("at", range(4))
def test_no_other_full_snapshot_is_blocked(place: Place, lose: Lose, at: int) -> None:
    """Each can be read by its time, its id and, where it is the newest, without; the lost one is named."""
    catalog = Catalog(place)
    manifests = {}
    for id in snapshots(place, "ffff"):
        manifests[id] = catalog.read("orders", id)
    ids = list(manifests)
    lose(place, ids[at])
    problems = check(place, catalog.chosen()).problems
    assert {(each.database, each.snapshot) for each in problems} == {("orders", ids[at])}
    for number, id in enumerate(ids):
        manifest = manifests[id]
        assert manifest is not None
        if number == at:
            with pytest.raises(DamagedBackup, match=id):
                snapshot_at(catalog, "orders", id)
            continue
        assert snapshot_at(catalog, "orders", id) == manifest
        assert catalog.at("orders", manifest.finished_at) == manifest
        assert len(read(place, manifest)) == 1
    if at == 3:
        # An older state in place of the newest one would be a loss that nobody is told of.
        with pytest.raises(DamagedBackup, match=f"--at {ids[2]}"):
            snapshot_at(catalog, "orders", "")
    else:
        assert snapshot_at(catalog, "orders", "").snapshot == ids[3]


@each_loss
@pytest.mark.parametrize(
    ("kinds", "at", "keep", "left"),
    [
        ("ffff", 1, 1, "0, 1, 3"),
        ("ffff", 3, 1, "2, 3"),
        ("ffff", 0, 2, "0, 2, 3"),
        ("fifi", 3, 1, "2, 3"),
        ("fifi", 1, 1, "0, 1, 2, 3"),
        ("fiif", 1, 1, "0, 1, 2, 3"),
        ("fiii", 0, 1, "0, 1, 2, 3"),
        ("fiii", 2, 1, "0, 1, 2, 3"),
        ("ffii", 2, 2, "0, 1, 2, 3"),
    ],
)
def test_pruning_goes_on_around_it(place: Place, lose: Lose, kinds: str, at: int, keep: int, left: str) -> None:
    """It stays, with what it may add to; the rule is for what can be restored; nothing else is kept for it."""
    ids = snapshots(place, kinds)
    lose(place, ids[at])
    (plan,) = plan_pruning(place, ["orders"], Policy(last=keep))
    assert ids[at] in plan.damaged
    prune(place, plan)
    catalog = Catalog(place)
    assert [str(ids.index(id)) for id in catalog.ids("orders")] == left.split(", ")
    for manifest in catalog.snapshots("orders"):
        if manifest.snapshot not in plan.damaged:
            assert len(read(place, manifest)) == 1
    # Who has it pruned again finds nothing more to do.
    (again,) = plan_pruning(place, ["orders"], Policy(last=keep))
    assert (again.removed, again.stale) == ([], [])


@each_loss
def test_the_next_snapshot_comes_behind_it(place: Place, lose: Lose) -> None:
    """Its id sorts after the lost one's, and what is left of that one stays for whoever finds its manifest."""
    ids = snapshots(place, "fff")
    lose(place, ids[2])
    write(place, [simple(0, 9)])
    catalog = Catalog(place)
    assert catalog.ids("orders")[:3] == ids
    assert len(catalog.ids("orders")) == 4
    latest = catalog.latest("orders")
    assert latest is not None
    assert len(read(place, latest)) == 1
    assert catalog.unfinished("orders") == []


def test_a_kill_at_each_file_of_the_end_of_a_snapshot(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the manifest there is no snapshot; from then on there is one, and nothing looks damaged."""
    ids = snapshots(place, "f")
    real = type(place).write
    for at, (name, there) in enumerate([(FILE, False), (head_name("orders"), True), (COPY, True)]):

        def cut(self: Place, written: str, data: bytes, *, name: str = name) -> None:
            if f"/{written}".endswith(f"/{name}"):
                raise EndpointError("killed")
            real(self, written, data)

        before = len(Catalog(place).snapshots("orders"))
        with monkeypatch.context() as patch:
            patch.setattr(type(place), "write", cut)
            with pytest.raises(EndpointError, match="killed"):
                write(place, [simple(0, at + 2)])
        assert len(Catalog(place).snapshots("orders")) == before + there
        assert check(place, ["orders"]).ok
    write(place, [simple(0, 9)])
    assert check(place, ["orders"]).ok
    assert set(Catalog(place).head("orders")) < {*Catalog(place).ids("orders"), *ids}


def test_a_pruning_that_is_killed_leaves_nothing_that_looks_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each removal; the next one does the rest."""
    ids = snapshots(place, "fififi")
    kind = type(place)
    removals = [kind.remove, kind.remove_folder]
    for at in range(12):
        number = 0

        def counted(removal: Callable[..., None], at: int = at) -> Callable[..., None]:
            def remove(self: Place, name: str) -> None:
                nonlocal number
                number += 1
                if number > at:
                    raise EndpointError("killed")
                removal(self, name)

            return remove

        (plan,) = plan_pruning(place, ["orders"], Policy(last=1))
        with monkeypatch.context() as patch:
            patch.setattr(kind, "remove", counted(removals[0]))
            patch.setattr(kind, "remove_folder", counted(removals[1]))
            with contextlib.suppress(EndpointError):
                prune(place, plan)
        assert check(place, ["orders"]).ok, at
    assert Catalog(place).ids("orders") == ids[4:]


def test_pruning_makes_room_on_a_full_disk(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be written before one is removed: it goes without the list, which is made again at the end."""
    ids = snapshots(place, "fff")
    kind = type(place)
    full = True
    write_file, remove_folder = kind.write, kind.remove_folder

    def write(self: Place, name: str, data: bytes) -> None:
        if full:
            raise StorageError("no room")
        write_file(self, name, data)

    def remove(self: Place, name: str) -> None:
        nonlocal full
        full = False
        remove_folder(self, name)

    (plan,) = plan_pruning(place, ["orders"], Policy(last=1))
    monkeypatch.setattr(kind, "write", write)
    monkeypatch.setattr(kind, "remove_folder", remove)
    prune(place, plan)
    assert Catalog(place).ids("orders") == list(Catalog(place).head("orders")) == ids[2:]
    assert check(place, ["orders"]).ok
