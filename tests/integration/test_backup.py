"""Backups: every leaf of every snapshot, whatever the database, the server and the run go through meanwhile."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from migrator.backup.catalog import database_folder
from migrator.backup.format.snapshot_writer import SnapshotWriter
from migrator.backup.storage.base import open_place
from migrator.errors import ConfigError, Interrupted, LockedError
from migrator.model.events import BatchLoaded, CollectionStarted
from tests import support
from tests.support.backup_world import World
from tests.support.fault_proxy import FaultProxy, at_random
from tests.support.leaf_states import BYTES, leaf, make, odd_leaves, random_leaves
from tests.support.processes import joined, started
from tests.support.stub_server import Asked, Reply, StubServer

pytestmark = pytest.mark.usefixtures("no_credentials")

READ_FAULTS = ("reset_before", "lost_reply", "torn_reply", "torn_json", "busy_429", "error_500", "down_503")


@pytest.fixture
def world(server_url: str, database_prefix: str, tmp_path: Path) -> World:
    """Nothing is there yet."""
    return World(server_url, database_prefix, tmp_path)


def changed(rng: random.Random, states: dict[tuple[str, str], Any], step: int) -> list[Any]:
    """Leaves that change some documents: children, deletions, new conflicts, new documents."""
    leaves: list[Any] = []
    for (id, rev), (document, files) in states.items():
        start = rev.partition("-")[0]
        revs = [rev, *(f"{int(start) - n}-{id_}" for n, id_ in enumerate(document["_revisions"]["ids"]) if n)]
        child = f"{int(start) + 1}-{rng.randrange(16**8):08x}"
        kept = {name: data for name, (_, data) in files.items()} if rng.random() < 0.5 else {}
        match rng.randrange(6):
            case 0:
                leaves.append(leaf(id, child, *revs, files=kept, step=step))
            case 1:
                leaves.append(leaf(id, child, *revs, deleted=True, step=step))
            case 2:
                leaves.append(leaf(id, f"{start}-{rng.randrange(16**8):08x}", *revs[1:], step=step))
            case _:
                pass
    return [*leaves, *(leaf(f"n{step}-{n}", "1-a", files={"f": BYTES}, step=step) for n in range(3))]


@pytest.mark.parametrize("seed", range(3))
def test_every_point_in_time_comes_back(world: World, seed: int) -> None:
    """A database changes from backup to backup; each of them restores to exactly what it was then."""
    rng = random.Random(seed)
    world.make("a", *odd_leaves(), *random_leaves(seed))
    states = []
    for step in range(4):
        if step:
            before = world.state("a")
            world.write("a", *changed(rng, before, step))
        result = world.backed_up("a", segment_bytes=rng.choice([2_000, 16_000_000]))
        assert result.snapshot is not None
        states.append((result.snapshot, world.state("a")))
        expected = "full" if step == 0 else "incremental"
        assert (result.snapshot.kind, result.numbers["leaves"] < len(states[-1][1])) == (expected, step > 0)
    for number, (snapshot, before) in enumerate(states):
        at = snapshot.snapshot if number % 2 else snapshot.finished
        assert world.restored("a", f"r{number}", at=at) == before


def test_a_run_without_changes_is_a_point_in_time(world: World) -> None:
    """It makes a snapshot that holds nothing, and restores as the one before."""
    world.make("a", *odd_leaves())
    world.backed_up("a")
    again = world.backed_up("a")
    assert (again.numbers["leaves"], again.numbers["stored_bytes"], again.notes) == (0, 0, [])
    assert [each.kind for each in world.snapshots("a")] == ["full", "incremental"]
    assert world.restored("a", "b") == world.state("a")


def test_unchanged_attachments_are_stored_once(world: World) -> None:
    """A document changes and its attachment does not: the next snapshot refers to the one before."""
    files = {"f": random.Random(1).randbytes(200_000)}
    world.make("a", leaf("x", "1-a", files=files))
    world.backed_up("a")
    support.request(
        "PUT",
        f"{world.server}/{world.name('a')}/x",
        {**support.get(f"{world.server}/{world.name('a')}/x"), "n": 1},
    )
    again = world.backed_up("a")
    assert (again.numbers["attachments"], again.numbers["attachment_bytes"]) == (1, 0)
    assert again.numbers["stored_bytes"] < 10_000
    assert world.restored("a", "b") == world.state("a")


def test_large_and_empty_attachments(world: World, is_couchdb: bool) -> None:
    """From nothing to 64 MB; the sandbox holds them in memory, so there it is less."""
    large = random.Random(1).randbytes(1 << 20) * (64 if is_couchdb else 3)
    world.make("a", leaf("x", "1-a", files={"empty": b"", "large": large}), leaf("y", "1-a"))
    result = world.backed_up("a")
    assert result.numbers["attachment_bytes"] == len(large)
    assert world.restored("a", "b") == world.state("a")


def test_thousands_of_conflicts(world: World, is_couchdb: bool) -> None:
    """One document with thousands of leaves; the sandbox is slow with them."""
    count, step = (3_000, 500) if is_couchdb else (150, 50)
    world.make("a", leaf("b", "1-a"))
    for begin in range(0, count, step):
        world.write("a", *(leaf("a", f"2-{n:032x}", "1-a", n=n) for n in range(begin, begin + step)))
    result = world.backed_up("a", segment_bytes=20_000)
    assert (result.numbers["documents"], result.numbers["leaves"]) == (2, count + 1)
    config = {"batch_docs": 200 if is_couchdb else 20}
    assert world.restored("a", "b", job=config) == world.state("a")


# -- what a server does ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_backs_up_and_restores_through_faults(world: World, seed: int) -> None:
    """Whatever breaks on the way, both copies are equal to the source."""
    world.make("a", *odd_leaves(), *random_leaves(seed))
    job = {"max_attempts": 30}
    faults = (*READ_FAULTS, "reset_during", "odd_500")
    with FaultProxy(world.server, at_random(seed, 0.15, faults=faults)) as proxy:
        world.backed_up("a", url=proxy.url, job=job, segment_bytes=5_000)
        assert world.restored("a", "b", url=proxy.url, job={**job, "batch_docs": 5}) == world.state("a")
        assert proxy.injected


def test_a_rewound_list_of_changes_doubles_nothing(world: World) -> None:
    """The server lists everything again: only what has changed is stored, and nothing is missing."""
    world.make("a", *(each for each in [*odd_leaves(), *random_leaves(7)] if "_attachments" not in each))
    count = len({id for id, _ in world.state("a")})

    def rewound(asked: Asked) -> Reply:
        path = asked.path
        if "_changes" in path and "limit=1&" not in path + "&":
            head, _, tail = path.partition("since=")
            path = f"{head}since=0&{tail.partition('&')[2]}"
        return Reply(*support.request(asked.method, world.server + path, asked.json if asked.body else None))

    with StubServer(rewound) as stub:
        world.backed_up("a", url=stub.url)
        world.write("a", leaf("new", "1-a"), leaf("stemmed", "10-j", "9-i", "8-h"))
        result = world.backed_up("a", url=stub.url)
    started = [event for event in world.events if isinstance(event, CollectionStarted)]
    assert started[-1].total == count + 1
    assert (result.numbers["documents"], result.numbers["leaves"]) == (2, 2)
    assert world.restored("a", "b") == world.state("a")


def test_a_database_that_was_created_again_starts_over(world: World, is_couchdb: bool) -> None:
    """Its changes since a sequence of the old one would be anything; on the sandbox its count tells it."""
    world.make("a", *(leaf(f"old{n}", "1-a") for n in range(9)))
    world.backed_up("a")
    support.request("DELETE", f"{world.server}/{world.name('a')}")
    if is_couchdb:
        # The server tells the second in which a database was made.
        threading.Event().wait(1.1)
    world.make("a", leaf("new", "1-a"))
    result = world.backed_up("a")
    why = "deleted and created again" if is_couchdb else "does not know how far"
    assert why in result.notes[0]
    assert [each.kind for each in world.snapshots("a")] == ["full", "full"]
    assert world.restored("a", "b") == world.state("a")


def test_a_sequence_that_the_server_refuses_starts_over(world: World) -> None:
    """So does a database that has not come as far as the last backup: somebody put an older one in its place."""
    world.make("a", leaf("x", "1-a"))
    last = world.backed_up("a").snapshot
    assert last is not None
    place = open_place(world.place)
    SnapshotWriter.begin(
        place,
        database=last.database,
        parent=last,
        source=last.source,
        facts=last.facts,
        last_seq="999999999",
    ).finish()
    result = world.backed_up("a")
    assert "does not know how far" in result.notes[0]
    assert world.snapshots("a")[-1].kind == "full"


def test_chains_end(world: World) -> None:
    """By number, and when asked."""
    world.make("a", leaf("x", "1-a"))
    for _ in range(5):
        world.backed_up("a", full_every=2)
    kinds = [each.kind for each in world.snapshots("a")]
    assert kinds == ["full", "incremental", "full", "incremental", "full"]
    assert world.backed_up("a", full=True).notes == ["full: asked for"]
    assert world.snapshots("a")[-1].kind == "full"


def test_a_damaged_chain_is_not_built_on(world: World) -> None:
    """A snapshot that nobody could restore is none; a new chain begins, and says why."""
    world.make("a", leaf("x", "1-a"))
    world.backed_up("a")
    world.backed_up("a")
    first = world.snapshots("a")[0]
    folder = Path(world.place) / database_folder(world.name("a")) / first.snapshot
    # Its copy alone would do.
    for name in ("manifest.json", ".manifest-copy.json"):
        (folder / name).unlink()
    result = world.backed_up("a")
    assert result.notes[0].startswith("full: ")
    assert first.snapshot in result.notes[0]
    assert world.restored("a", "b") == world.state("a")


def test_a_database_that_is_written_to_meanwhile(world: World) -> None:
    """Whatever a run has not seen, the next one sees; in the end nothing is missing."""
    world.make("a", *(leaf(f"d{n:03}", "1-a") for n in range(300)))
    stop = threading.Event()
    written: list[int] = []

    def keep_writing() -> None:
        while not stop.is_set():
            number = len(written) + 1
            id = f"d{random.Random(number).randrange(400):03}"
            world.write("a", leaf(id, f"2-{number:08x}", "1-a", n=number))
            written.append(number)

    thread = started(keep_writing)
    try:
        for _ in range(4):
            world.backed_up("a", segment_bytes=3_000)
    finally:
        stop.set()
        joined(thread)
    assert len(written) > 5
    world.backed_up("a")
    assert world.restored("a", "b") == world.state("a")


# -- what a run goes through -------------------------------------------------------------------------------------


def test_an_interrupted_run_goes_on_with_its_own_beginning(world: World) -> None:
    """What changed meanwhile, before and after the position, comes with it or with the next run."""
    world.make("a", *(leaf(f"d{n:04}", "1-a", text="x" * 100) for n in range(3_000)))
    stopping = threading.Event()

    def listen(event: Any) -> None:
        if isinstance(event, BatchLoaded):
            stopping.set()

    world.events = type("Listening", (list,), {"append": lambda _self, event: listen(event)})()
    with pytest.raises(Interrupted):
        world.backup("a", stopping=stopping, segment_bytes=2_000)
    assert world.snapshots("a") == []
    world.events = []
    world.write("a", leaf("d0000", "2-b", "1-a"), leaf("d2999", "2-b", "1-a", deleted=True), leaf("a", "1-a"))
    result = world.backed_up("a", segment_bytes=2_000)
    assert (result.numbers["resumed"], result.numbers["leaves"]) == (True, 3_000)
    copied = sum(event.counts.read for event in world.events if isinstance(event, BatchLoaded))
    assert copied < 3_000
    world.backed_up("a")
    assert world.restored("a", "b") == world.state("a")


def test_what_an_interrupted_run_left_is_removed_when_nobody_goes_on_with_it(world: World) -> None:
    """A full one was asked for, interrupted, and is not asked for again."""
    world.make("a", *(leaf(f"d{n:04}", "1-a") for n in range(2_500)))
    world.backed_up("a")
    stopping = threading.Event()
    world.events = type("Listening", (list,), {"append": lambda _self, _event: stopping.set()})()
    with pytest.raises(Interrupted):
        world.backup("a", stopping=stopping, full=True)
    world.events = []
    assert world.backed_up("a").numbers["leaves"] == 0
    place = open_place(world.place)
    folders = place.folders(database_folder(world.name("a")))
    assert folders == [each.snapshot for each in world.snapshots("a")]


def test_a_revision_that_cannot_be_read_is_named_and_tried_again(world: World) -> None:
    """The rest is kept, the exit code is 3, the snapshot says so; the next run reads it though nothing changed."""
    world.make("a", *(leaf(id, "1-a") for id in "abc"), leaf("b", "1-b"))

    spoil = True

    def spoiled(asked: Asked) -> Reply:
        status, value = support.request(
            asked.method, world.server + asked.path, asked.json if asked.body else None
        )
        if spoil and "_bulk_get" in asked.path:
            for result in value["results"]:
                for row in result["docs"]:
                    if row.get("ok", {}).get("_id") == "b" and row["ok"]["_rev"] == "1-a":
                        row.clear()
                        row["error"] = {"id": "b", "rev": "1-a", "error": "unknown_error", "reason": "eaten"}
        return Reply(status, value)

    with StubServer(spoiled) as stub:
        result = world.backup("a", url=stub.url)
        again = world.backup("a", url=stub.url)
        spoil = False
        # Another document changes, after it in the order of ids.
        world.write("a", leaf("z", "1-a"))
        fixed = world.backed_up("a", url=stub.url)
    for each in (result, again):
        assert (each.exit_code, each.databases[0].rejected, each.rejects) == (3, 1, world.rejects)
    (line,) = world.rejects.read_text().splitlines()
    reject = json.loads(line)
    assert (reject["collection"], reject["id"], reject["stage"]) == (world.name("a"), "b", "extract")
    assert (reject["error"], reject["reason"], reject["document"]["_rev"]) == ("unknown_error", "eaten", "1-a")
    assert [(each.kind, each.counts.faults) for each in world.snapshots("a")] == [
        ("full", 1),
        ("incremental", 1),
        ("incremental", 0),
    ]
    assert fixed.numbers["leaves"] == 3
    restored = world.restore("a", "x", at=world.snapshots("a")[1].snapshot)
    assert (restored.exit_code, len(world.state("x"))) == (3, 3)
    assert world.restored("a", "b") == world.state("a")


def test_a_database_that_fails_stops_no_other(world: World) -> None:
    """It has no snapshot and its error is told; the others have theirs."""
    for short in "abc":
        world.make(short, leaf("x", "1-a"))

    def failing(asked: Asked) -> Reply:
        if f"{world.name('b')}/_bulk_get" in asked.path:
            return Reply(500, {"error": "unknown_error", "reason": "eaten"})
        return Reply(*support.request(asked.method, world.server + asked.path, asked.json if asked.body else None))

    with StubServer(failing) as stub:
        result = world.backup(url=stub.url, job={"max_attempts": 1})
    assert result.exit_code == 5
    assert [each.error is None for each in result.databases] == [True, False, True]
    assert [len(world.snapshots(short)) for short in "abc"] == [1, 0, 1]
    assert "eaten" in result.to_dict()["databases"][world.name("b")]["error"]


def test_two_runs_do_not_write_to_one_place(world: World) -> None:
    """The second says so at once."""
    world.make("a", leaf("x", "1-a"))
    with open_place(world.place).lock(), pytest.raises(LockedError):
        world.backup("a")


def test_databases_are_chosen_by_name(world: World) -> None:
    """Patterns, one in the URL, and a hint for none at all."""
    for short in ("ab", "ac", "b"):
        make(world.server, world.name(short))
    assert [each.database for each in world.backup("a*").databases] == [world.name("ab"), world.name("ac")]
    with pytest.raises(ConfigError, match="has no database"):
        world.backup("z*")
    with pytest.raises(ConfigError, match="names one database"):
        world.backup("a*", url=f"{world.server}/{world.name('b')}")


def test_settings_that_change_alone_are_noticed(world: World, is_couchdb: bool) -> None:
    """Who is let in and how many ancestors are kept, without a document's change, at each point in time."""
    world.make("a", leaf("x", "1-a"))
    url = f"{world.server}/{world.name('a')}"
    settings = [
        {"_security": {"admins": {"names": [], "roles": []}, "members": {"names": [name], "roles": []}}}
        | ({"_revs_limit": limit} if is_couchdb else {})
        for name, limit in (("ann", 77), ("bob", 55))
    ]
    for each in settings:
        for name, value in each.items():
            assert support.request("PUT", f"{url}/{name}", value)[0] == 200
        world.backed_up("a")
    assert [each.kind for each in world.snapshots("a")] == ["full", "incremental"]
    for short, snapshot, each in zip("bc", world.snapshots("a"), settings, strict=True):
        world.restored("a", short, at=snapshot.snapshot)
        for name, value in each.items():
            assert support.get(f"{world.server}/{world.name(short)}/{name}") == value


def test_databases_come_and_go(world: World) -> None:
    """A pattern takes what is new; what is gone stays restorable, and a name that means none stops no other."""
    world.make("a", leaf("x", "1-a"))
    world.make("b", leaf("y", "1-a"))
    gone = world.state("b")
    assert [each.database for each in world.backup().databases] == [world.name("a"), world.name("b")]
    time = world.snapshots("b")[-1].finished
    support.request("DELETE", f"{world.server}/{world.name('b')}")
    world.make("c", leaf("z", "1-a"))
    later = world.backup()
    assert (later.exit_code, [each.database for each in later.databases]) == (
        0,
        [world.name("a"), world.name("c")],
    )
    assert [each.kind for each in world.snapshots("c")] == ["full"]
    named = world.backup("a", "b", "c")
    assert named.exit_code == 2
    assert [each.error is None for each in named.databases] == [True, True, False]
    assert f"has no database '{world.name('b')}'" in str(named.databases[-1].error)
    assert [len(world.snapshots(short)) for short in "abc"] == [3, 1, 2]
    assert world.restored("b", "d") == gone
    assert world.restored("b", "e", at=time) == gone
    with pytest.raises(ConfigError, match="has no database"):
        world.backup("b")
