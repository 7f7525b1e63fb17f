"""Restores: exact revisions, in the right order, only where they may be, and every refusal named."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import CheckpointError, ConfigError, DamagedBackup, EndpointError
from tests import support
from tests.support.backup_world import World
from tests.support.fault_proxy import FaultProxy, Request
from tests.support.leaf_states import leaf, odd_leaves

pytestmark = pytest.mark.usefixtures("no_credentials")

SECURITY = {"admins": {"names": [], "roles": []}, "members": {"names": ["bob"], "roles": []}}
REFUSES = 'function (doc) { if (!doc.good) throw({forbidden: "it is not good"}); }'


@pytest.fixture
def world(server_url: str, database_prefix: str, tmp_path: Path) -> World:
    """Nothing is there yet."""
    return World(server_url, database_prefix, tmp_path)


def ancestry(generations: int) -> list[str]:
    """Revisions, the newest first."""
    return [f"{number}-{number:04x}" for number in range(generations, 0, -1)]


def test_long_ancestry_and_who_is_let_in_come_back(world: World) -> None:
    """Below the usual limit of ancestors."""
    world.make("a", leaf("p:a", *ancestry(900)), leaf("p:b", "1-a"))
    security = {"admins": {"names": ["ann"], "roles": []}, "members": {"names": [], "roles": ["staff"]}}
    assert support.request("PUT", f"{world.server}/{world.name('a')}/_security", security)[0] == 200
    world.backed_up("a")
    assert world.restored("a", "b") == world.state("a")
    assert support.security(f"{world.server}/{world.name('b')}") == security


@pytest.mark.couchdb("the sandbox has no shards, no partitions and no limit of ancestors that could be set")
def test_a_database_comes_back_as_it_was_made(world: World) -> None:
    """Shards, partitioning and limit of ancestors; ancestry beyond the usual limit."""
    url = f"{world.server}/{world.name('a')}"
    assert support.request("PUT", f"{url}?q=3&partitioned=true")[0] == 201
    assert support.request("PUT", f"{url}/_revs_limit", 1_500)[0] == 200
    world.write("a", leaf("p:a", *ancestry(1_200)), leaf("p:b", "1-a"))
    world.backed_up("a")
    assert world.restored("a", "b") == world.state("a")
    info = support.get(f"{world.server}/{world.name('b')}")
    assert (info["cluster"]["q"], info["props"]["partitioned"]) == (3, True)
    assert support.get(f"{world.server}/{world.name('b')}/_revs_limit") == 1_500


def test_validation_functions_judge_nothing_that_is_restored(world: World) -> None:
    """They come last: documents from before them come back too."""
    world.make("a", leaf("x", "1-a"), leaf("y", "2-b", "1-a", deleted=True))
    world.write("a", leaf("_design/v", "1-a", validate_doc_update=REFUSES), leaf("_design/w", "1-a"))
    world.backed_up("a")
    assert world.restored("a", "b", job={"batch_docs": 1}) == world.state("a")


def test_what_a_target_refuses_is_named_and_the_rest_restored(world: World) -> None:
    """The reject file has each revision with the server's reason; the exit code is 3."""
    world.make(
        "a", leaf("bad", "1-a"), leaf("good", "1-a", good=1), leaf("large", "1-a", files={"f": b"x" * 99_999})
    )
    world.backed_up("a")
    world.make("b", leaf("_design/v", "1-a", validate_doc_update=REFUSES))
    result = world.restore("a", "b", into_existing=True)
    assert (result.exit_code, result.databases[0].rejected) == (3, 2)
    numbers = result.databases[0].numbers
    assert (numbers["leaves"], numbers["written"], numbers["unchanged"], numbers["rejected"]) == (3, 1, 0, 2)
    rejects = [json.loads(line) for line in world.rejects.read_text().splitlines()]
    assert {reject["id"] for reject in rejects} == {"bad", "large"}
    assert {(reject["stage"], reject["error"], reject["reason"]) for reject in rejects} == {
        ("load", "forbidden", "it is not good")
    }
    assert {reject["document"]["_rev"] for reject in rejects} == {"1-a"}
    assert {id for id, _ in world.state("b")} == {"_design/v", "good"}


def test_a_database_that_holds_documents_is_refused(world: World, is_couchdb: bool) -> None:
    """Before anything is written anywhere; a word lets it through, and nothing is removed.

    Tombstones count; the sandbox does not say that it has some.
    """
    world.make("a", leaf("x", "2-b", "1-a"), leaf("y", "1-a"))
    world.backed_up("a")
    gone = leaf("gone", "2-b", "1-a", deleted=is_couchdb)
    for short, other in (("b", leaf("other", "1-a")), ("c", gone)):
        world.make(short, other)
        with pytest.raises(ConfigError, match="holds"):
            world.restore("a", short)
        assert len(world.state(short)) == 1
    world.write("b", leaf("x", "2-c", "1-a"))
    result = world.restore("a", "b", into_existing=True)
    assert result.exit_code == 0
    assert set(world.state("b")) == {("other", "1-a"), ("x", "2-b"), ("x", "2-c"), ("y", "1-a")}
    # The sandbox has an empty one, of which there is nothing to say.
    assert ("security object was left" in "".join(result.databases[0].notes)) is is_couchdb


def test_an_empty_database_is_filled(world: World) -> None:
    """One that somebody made in advance is as good as none; who was let in by name there stays so."""
    world.make("a", *odd_leaves())
    assert support.request("PUT", f"{world.server}/{world.name('a')}/_security", SECURITY)[0] == 200
    world.backed_up("a")
    own = {"admins": {"names": ["eve"], "roles": []}, "members": {"names": [], "roles": []}}
    for short, before, after in (("b", None, SECURITY), ("c", own, own)):
        world.make(short)
        url = f"{world.server}/{world.name(short)}/_security"
        if before:
            assert support.request("PUT", url, before)[0] == 200
        for _ in range(2):
            assert world.restored("a", short) == world.state("a")
            assert support.get(url) == after


@pytest.mark.parametrize("at", ["/_bulk_docs", "/_local/migrator-restore"])
@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("existing", [True, False])
def test_a_database_that_is_replaced_meanwhile_is_told(world: World, at: str, again: bool, existing: bool) -> None:
    """What was written before is gone then: that is not a restore, whoever may make a new one of that name."""
    world.make("a", *(leaf(f"d{n}", "1-a") for n in range(20)), leaf("_design/v", "1-a", views={}))
    assert support.request("PUT", f"{world.server}/{world.name('a')}/_security", SECURITY)[0] == 200
    world.backed_up("a")
    url = f"{world.server}/{world.name('b')}"
    if existing:
        world.make("b", leaf("other", "1-a"))
    seen: list[str] = []

    def replaced(request: Request) -> None:
        seen.append(request.path)
        writes = sum("/_bulk_docs" in path for path in seen)
        if at in request.path and writes == (3 if at == "/_bulk_docs" else 6) and "replaced" not in seen:
            seen.append("replaced")
            support.request("DELETE", url)
            if again:
                world.make("b")

    options: dict[str, Any] = {"into_existing": True, "security": True} if existing else {}
    job = {"batch_docs": 4, "in_flight": 1, "max_attempts": 2}
    with FaultProxy(world.server, replaced) as proxy:
        (result,) = world.restore("a", "b", url=proxy.url, job=job, **options).databases
    assert "replaced" in seen
    assert isinstance(result.error, CheckpointError if again else EndpointError | CheckpointError)
    assert support.request("GET", f"{url}/_security")[1] != SECURITY
    if again:
        assert "same command again" in str(result.error)
        # What came after it was made again is documents that nobody claims.
        assert world.restored("a", "b", into_existing=True, security=True) == world.state("a")
        support.request("DELETE", url)
    assert world.restored("a", "b") == world.state("a")


def broken_off(world: World, to: str) -> None:
    """A restore of which a few batches were written."""
    writes = itertools.count()

    def down(request: Request) -> str | None:
        return "down_503" if "_bulk_docs" in request.path and next(writes) > 2 else None

    with FaultProxy(world.server, down) as proxy:
        job = {"batch_docs": 4, "in_flight": 1, "max_attempts": 1}
        assert world.restore("a", to, url=proxy.url, job=job).exit_code == 5
    assert 0 < len(world.state(to)) < 20


def test_an_older_snapshot_that_a_kill_left_is_completed(world: World) -> None:
    """A backup came in between: the newest is restored, and what was begun of the one before is part of it."""
    world.make("a", *(leaf(f"d{n:02}", "1-a") for n in range(30)))
    world.backed_up("a")
    broken_off(world, "b")
    world.write("a", leaf("d00", "2-b", "1-a"), leaf("later", "1-a"))
    world.backed_up("a")
    assert world.restored("a", "b") == world.state("a")
    # Another chain is another story.
    broken_off(world, "c")
    world.backed_up("a", full=True)
    with pytest.raises(ConfigError, match=r"holds .*begun and not completed"):
        world.restore("a", "c")


def test_the_same_command_again_writes_nothing(world: World) -> None:
    """Whose restore a database belongs to is known, so a run after an interruption needs no other words."""
    world.make("a", *odd_leaves())
    world.backed_up("a")
    world.restored("a", "b")
    (again,) = world.restore("a", "b").databases
    assert (again.numbers["written"], again.numbers["unchanged"]) == (0, len(odd_leaves()))
    world.write("a", leaf("later", "1-a"))
    world.backed_up("a")
    with pytest.raises(ConfigError, match="holds"):
        world.restore("a", "b")


def test_single_documents_come_with_all_their_leaves(world: World) -> None:
    """From any time; what the backup does not hold is named."""
    world.make("a", *odd_leaves())
    first = world.backed_up("a").snapshot
    assert first is not None
    world.write("a", leaf("gone", "3-c", "2-b", "1-a", n=1), leaf("new", "1-a"))
    world.backed_up("a")
    result = world.restore("a", "b", ids=("conflict", "new", "gone", "_design/view"), at=first.snapshot)
    assert result.exit_code == 3
    (line,) = world.rejects.read_text().splitlines()
    assert (json.loads(line)["id"], json.loads(line)["error"]) == ("new", "not_found")
    assert set(world.state("b")) == {
        ("conflict", "2-b"),
        ("conflict", "2-c"),
        ("conflict", "3-e"),
        ("gone", "2-b"),
        ("_design/view", "1-a"),
    }
    result = world.restore("a", "b", ids=("gone",), into_existing=True)
    assert (result.exit_code, ("gone", "3-c") in world.state("b")) == (0, True)


def test_times_are_read_as_people_write_them(world: World) -> None:
    """With a zone, as an id, and as a day; and an error says what there is."""
    world.make("a", leaf("x", "1-a"))
    first = world.backed_up("a").snapshot
    assert first is not None
    time.sleep(0.01)
    world.write("a", leaf("y", "1-a"))
    second = world.backed_up("a").snapshot
    assert second is not None
    one, two = {("x", "1-a")}, {("x", "1-a"), ("y", "1-a")}
    local = first.finished_at.astimezone().replace(tzinfo=None).isoformat(sep=" ")
    day = f"{second.finished_at.astimezone():%Y-%m-%d}"
    for number, (at, there) in enumerate(
        [(first.snapshot, one), (first.finished, one), (local, one), (day, two), ("", two), (second.snapshot, two)]
    ):
        assert set(world.restored("a", f"r{number}", at=at)) == there, at
    with pytest.raises(ConfigError, match=f"oldest is from {first.finished}, the newest from {second.finished}"):
        world.restore("a", "z", at="2001-01-01T00:00:00Z")
    with pytest.raises(ConfigError, match="is not a time"):
        world.restore("a", "z", at="yesterday")
    with pytest.raises(ConfigError, match="no snapshot"):
        world.restore("a", "z", at="20010101T000000.000Z-abcdef")


def test_names_that_cannot_be_are_told_before_anything_is_written(world: World) -> None:
    """Two databases for one target, a name in the map that is not restored, a place without a backup."""
    for short in "ab":
        world.make(short, leaf("x", "1-a"))
    world.backup()
    from migrator.backup.options import RestoreOptions
    from migrator.backup.restore import run_restore
    from migrator.config import JobConfig

    def restore(target: str = world.server, **options: Any) -> None:
        wanted = {"place": world.place, "databases": (f"{world.prefix}*",), **options}
        run_restore(JobConfig(target=target, rejects=str(world.rejects)), RestoreOptions(**wanted))

    with pytest.raises(ConfigError, match="but 2 are to be restored"):
        restore(f"{world.server}/{world.name('c')}")
    with pytest.raises(ConfigError, match="would go to"):
        restore(map={world.name("a"): world.name("b")})
    with pytest.raises(ConfigError, match="not restored"):
        restore(map={"z": "y"})
    with pytest.raises(ConfigError, match="has no database"):
        restore(databases=("z*",))
    with pytest.raises(ConfigError, match="no backup"):
        restore(databases=(), place=str(world.folder / "empty"))
    with pytest.raises(ConfigError, match="starts every replication"):
        restore(databases=(world.name("a"),), map={world.name("a"): "_replicator"})
    restore(f"{world.server}/{world.name('c')}", databases=(world.name("b"),))
    assert set(world.state("c")) == {("x", "1-a")}


def test_users_come_back_and_can_log_in(world: World, is_couchdb: bool) -> None:
    """Into `_users` itself, whose own design document stays as the server made it; only CouchDB has passwords."""
    name = f"{world.prefix}ann"
    url = f"{world.server}/_users/org.couchdb.user:{name}"
    user = {"name": name, "type": "user", "roles": [], "password": "apples"}
    assert support.request("PUT", url, user)[0] in {201, 202}
    stored = support.get(url)
    from migrator.backup.create import run_backup
    from migrator.backup.options import BackupOptions, RestoreOptions
    from migrator.backup.restore import run_restore
    from migrator.config import JobConfig

    try:
        options = BackupOptions(place=world.place, databases=("_users",))
        result = run_backup(JobConfig(source=world.server, rejects=str(world.rejects)), options)
        assert (result.exit_code, result.databases[0].error) == (0, None)
        if is_couchdb:
            support.settle(world.server, "_users")
            purge = {stored["_id"]: [stored["_rev"]]}
            # A copy of a cluster that was purged late can give the document back to the others once.
            while support.request("GET", url)[0] != 404:
                assert support.request("POST", f"{world.server}/_users/_purge", purge)[0] in {201, 202}
        wanted = RestoreOptions(place=world.place, databases=("_users",), ids=(stored["_id"],), into_existing=True)
        restored = run_restore(JobConfig(target=world.server, rejects=str(world.rejects)), wanted)
        assert (restored.exit_code, restored.databases[0].error) == (0, None)
        assert support.get(url) == stored
        if is_couchdb:
            login = f"http://{name}:apples@{world.server.partition('://')[2].rpartition('@')[2]}"
            assert support.get(f"{login}/_session")["userCtx"]["name"] == name
    finally:
        support.request("DELETE", f"{url}?rev={stored['_rev']}")


def test_a_damaged_place_gives_nothing_of_what_is_damaged(world: World) -> None:
    """The error names the file and the exit code is that of differences."""
    world.make("a", *(leaf(f"d{n:03}", "1-a") for n in range(50)))
    world.backed_up("a")
    (segment,) = Path(world.place).rglob("segment-*")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    result = world.restore("a", "b")
    assert isinstance(result.databases[0].error, DamagedBackup)
    assert (result.exit_code, segment.name in str(result.databases[0].error)) == (4, True)
    assert world.state("b") == {}


def test_each_thing_comes_in_its_turn(world: World, is_couchdb: bool) -> None:
    """The limit of ancestors first, then documents, then design documents, and who is let in at the very end."""
    world.make("a", *(leaf(f"d{n:03}", "1-a") for n in range(60)), leaf("_design/v", "1-a", views={}))
    limit = {"_revs_limit": 7} if is_couchdb else {}
    for name, value in {**limit, "_security": SECURITY}.items():
        assert support.request("PUT", f"{world.server}/{world.name('a')}/{name}", value)[0] == 200
    world.backed_up("a")
    order: list[str] = []
    there: dict[str, int] = {}

    def recorded(request: Request) -> None:
        kind = request.path.partition("?")[0].rpartition("/")[2]
        if kind == "_bulk_docs":
            ids = {each["_id"] for each in json.loads(request.body)["docs"]}
            kind = "documents" if "_design/v" not in ids else "designs" if len(ids) == 1 else "both at once"
        elif request.method != "PUT":
            return
        if kind in {"designs", "_security"}:
            there[kind] = support.counts(world.server, world.name("b"))[0]
        order.append(kind)

    with FaultProxy(world.server, recorded) as proxy:
        assert world.restore("a", "b", url=proxy.url, job={"batch_docs": 7, "in_flight": 3}).exit_code == 0
    # A database is new before all of it, and its mark says at the end that it is whole.
    kinds = [kind for kind, _ in itertools.groupby(order)]
    first, last = [world.name("b"), "migrator-restore", *limit], ["_security", "migrator-restore"]
    assert kinds == [*first, "documents", "designs", *last]
    assert there == {"designs": 60, "_security": 61}
    # Who is not an admin may not ask that.
    assert not any("_all_dbs" in request for request in proxy.requests)
    assert world.state("b") == world.state("a")
    assert support.security(f"{world.server}/{world.name('b')}") == SECURITY


def test_a_restore_that_fails_lets_nobody_in(world: World) -> None:
    """The server goes away in the middle: what is there is not given to those who may see the whole."""
    world.make("a", *(leaf(f"d{n:03}", "1-a") for n in range(60)))
    assert support.request("PUT", f"{world.server}/{world.name('a')}/_security", SECURITY)[0] == 200
    world.backed_up("a")
    writes = itertools.count()

    def down(request: Request) -> str | None:
        return "down_503" if "_bulk_docs" in request.path and next(writes) > 2 else None

    with FaultProxy(world.server, down) as proxy:
        result = world.restore("a", "b", url=proxy.url, job={"batch_docs": 7, "in_flight": 1, "max_attempts": 2})
    assert result.exit_code == 5
    assert 0 < len(world.state("b")) < 60
    assert support.security(f"{world.server}/{world.name('b')}") != SECURITY
    assert world.restored("a", "b") == world.state("a")
    assert support.security(f"{world.server}/{world.name('b')}") == SECURITY


def test_security_is_given_as_asked(world: World) -> None:
    """Not at all when that is said, and to a database that was there when that is said."""
    world.make("a", *odd_leaves())
    assert support.request("PUT", f"{world.server}/{world.name('a')}/_security", SECURITY)[0] == 200
    world.backed_up("a")
    world.restored("a", "b", security=False)
    assert support.security(f"{world.server}/{world.name('b')}") != SECURITY
    world.make("e", leaf("other", "1-a"))
    world.restored("a", "e", security=True, into_existing=True)
    assert support.security(f"{world.server}/{world.name('e')}") == SECURITY
