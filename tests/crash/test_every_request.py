"""A command is cut off at each of its requests in turn, before and after the server did it: the same one goes on.

Cut off means that from then on the server hears nothing of it any more, which is what a kill leaves there.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from migrator.checkpoint.file import CheckpointFile
from migrator.config import JobConfig
from migrator.convert.job import convert_leaves
from migrator.convert.options import ConvertJob
from migrator.couch.endpoint import parse_endpoint
from migrator.errors import ConfigError, MigratorError
from migrator.fixtures.folder import read_fixtures
from migrator.fixtures.options import SeedOptions
from migrator.fixtures.seeder import Seeder
from migrator.fixtures.values import parse_now
from migrator.server.admin.connection import open_server
from migrator.server.admin.replications import set_up
from migrator.server.move.apply import apply_plan
from migrator.server.move.make_plan import plan_server
from migrator.server.move.options import ApplyOptions, PlanOptions
from migrator.server.move.plan import ServerPlan
from tests import support
from tests.support.backup_world import World
from tests.support.fault_proxy import FaultProxy, Request
from tests.support.leaf_states import leaf

pytestmark = pytest.mark.usefixtures("no_credentials")

SECURITY = {"admins": {"names": ["ann"], "roles": []}, "members": {"names": ["bob"], "roles": ["staff"]}}
READS = frozenset({"_all_docs", "_bulk_get", "_find", "_revs_diff", "_sync_shards"})
SIDES = (("a", "source"), ("b", "target"))
# Variants of a command have most of their requests in common: one is cut off at all of them, the others at some.
SAMPLE = 4
LEAVES = [
    *(leaf(f"d{n:02}", "2-b", "1-a", n=n) for n in range(7)),
    leaf("d00", "2-c", "1-a", conflict=True),
    leaf("gone", "2-b", "1-a", deleted=True),
    leaf("photo", "1-a", files={"f": b"x" * 300}),
    leaf("_design/v", "1-a", validate_doc_update='function (doc) { if (doc.n) throw({forbidden: "no"}); }'),
]


def is_write(request: Request) -> bool:
    """True for what can leave something at the server."""
    return request.method != "GET" and urlsplit(request.path).path.rpartition("/")[2] not in READS


def cut_off(
    at: int, cut: list[str], counted: Callable[[Request], bool], *, done: bool
) -> Callable[[Request], str | None]:
    """A plan of a proxy: request number `at` is the last one that anybody learns of, if `done` at all."""
    number = itertools.count()

    def plan(request: Request) -> str | None:
        if not cut and not counted(request):
            return None
        now = next(number)
        if now >= at:
            cut.append(f"{request.method} {request.path}")
        return None if now < at else "lost_reply" if now == at and done else "reset_before"

    return plan


def cut_off_everywhere(
    server: str,
    run: Callable[[str], Any],
    clean: Callable[[], None],
    cut: list[str] | None = None,
    *,
    every: int = 1,
    remembers: bool = False,
) -> Iterator[str]:
    """Do a command once for each place where it can be cut off, and yield what the place was.

    Args:
        server: its URL.
        run: does the command against a URL; an error for people is what it ends with.
        clean: makes the server as it was before.
        cut: is given something from the moment when the command is cut off, until it is run again.
        every: where most requests are those of another test, only each nth one is cut off.
        remembers: the command writes down for the next one what it has heard. One that does not leaves the same
            when it is cut off before a request as after the one before it, so that few are cut off before it.
    """
    cut = [] if cut is None else cut
    # A cluster's copies are waited for with as many requests as it takes, and each run takes seconds. A read
    # leaves the server as the write before it did, so only writes are counted there; one node has all tried.
    clustered = support.is_cluster(server)
    counted = is_write if clustered else lambda _: True
    for done in (False, True):
        # Before and after are taken at different requests where not all are.
        step = every if done or remembers else every * SAMPLE
        for at in itertools.count(every // 2 if done else 0, step):
            clean()
            with FaultProxy(server, cut_off(at, cut, counted, done=done)) as proxy:
                try:
                    run(proxy.url)
                except MigratorError as error:
                    assert error.exit_code == 5, (cut, error)  # noqa: PT017 it may also end well
            place = f"cut off {'after' if done else 'before'} request {at}, {cut[:1]}"
            cut.clear()
            if not proxy.injected:
                # It had no more requests than these.
                assert at > (0 if clustered else 3)
                break
            yield place


@pytest.fixture
def world(server_url: str, database_prefix: str, tmp_path: Path) -> World:
    """A backup of one database with all that a database can have."""
    world = World(server_url, database_prefix, tmp_path)
    world.make("a", *LEAVES)
    assert support.request("PUT", f"{server_url}/{world.name('a')}/_security", SECURITY)[0] == 200
    world.backed_up("a")
    return world


@pytest.mark.parametrize("before", ["missing", "empty", "empty, another limit", "existing"])
def test_a_restore(world: World, before: str, is_couchdb: bool) -> None:
    """Into a database that it makes, into one that an administrator made, and into one with other documents."""
    job = {"batch_docs": 4, "in_flight": 1, "max_attempts": 1}
    wanted = world.state("a")
    options = {"into_existing": True, "security": True} if before == "existing" else {}

    def clean() -> None:
        world.renew("b")
        if before != "missing":
            world.make("b", *([leaf("other", "1-a")] if before == "existing" else []))
        if before == "empty, another limit" and is_couchdb:
            assert support.request("PUT", f"{world.url('b')}/_revs_limit", 77)[0] == 200

    def run(server: str) -> None:
        result = world.restore("a", "b", url=server, job=job, **options)
        for each in result.databases:
            if each.error:
                raise each.error

    for where in cut_off_everywhere(world.server, run, clean, every=1 if before == "missing" else SAMPLE):
        run(world.server)
        assert {key: value for key, value in world.state("b").items() if key[0] != "other"} == wanted, where
        assert support.security(world.url("b")) == SECURITY, where
        assert support.get(f"{world.url('b')}/_local/migrator-restore")["finished"], where
        if is_couchdb:
            limit = support.get(f"{world.server}/{world.name('a')}/_revs_limit")
            assert support.get(f"{world.url('b')}/_revs_limit") == limit, where


@pytest.mark.parametrize("before", ["missing", "empty", "existing"])
@pytest.mark.parametrize("source", ["a file", "a backup", "a database"])
def test_a_conversion(world: World, before: str, source: str) -> None:
    """Into a database: an unfinished one is known as its own."""
    path = world.folder / "a.ndjson"
    database = f"{world.server}/{world.name('a')}"
    sources = {"a file": str(path), "a backup": world.place, "a database": database}
    if source == "a file":
        job = JobConfig(source=database, target=str(path), rejects=str(world.rejects))
        convert_leaves(ConvertJob(config=job, format="ndjson"))
    wanted = world.state("a")

    def clean() -> None:
        world.renew("b")
        if before != "missing":
            world.make("b", *([leaf("other", "1-a")] if before == "existing" else []))

    def run(server: str) -> None:
        config = JobConfig(
            source=sources[source],
            target=f"{server}/{world.name('b')}",
            rejects=str(world.rejects),
            max_attempts=1,
        )
        convert_leaves(ConvertJob(config=config, into_existing=before == "existing"))

    every = 1 if (before, source) == ("missing", "a file") else SAMPLE
    for where in cut_off_everywhere(world.server, run, clean, every=every):
        run(world.server)
        assert {key: value for key, value in world.state("b").items() if key[0] != "other"} == wanted, where


def test_another_conversion_is_refused(world: World) -> None:
    """What another file has begun to fill is not gone on with, nor what it has filled."""
    file, other = world.folder / "a.ndjson", world.folder / "b.ndjson"
    file.write_text('{"_id":"a","_rev":"1-a"}\n')
    other.write_text('{"_id":"b","_rev":"1-b"}\n')
    target = f"{world.server}/{world.name('b')}"

    def converted(path: Path) -> int:
        config = JobConfig(source=str(path), target=target, rejects=str(world.rejects))
        return convert_leaves(ConvertJob(config=config, source_format="ndjson"))[0].written

    assert converted(file) == 1
    assert converted(file) == 0
    with pytest.raises(ConfigError, match="holds 1 document"):
        converted(other)
    file.write_text('{"_id":"a","_rev":"1-a"}\n{"_id":"c","_rev":"1-c"}\n')
    with pytest.raises(ConfigError, match="--into-existing"):
        converted(file)


def test_a_seeding(world: World, tmp_path: Path) -> None:
    """Databases that are made and not filled, filled and not indexed, indexed and not secured."""
    folder = tmp_path / "fixtures"
    files = {
        "b.ndjson": '{"_id":"1","n":1}\n{"_id":"2","n":2}\n',
        "b/_security.json": json.dumps(SECURITY),
        "b/_design/by/views/n/map.js": "function (doc) { emit(doc.n); }",
        "b/_index/by-n.json": '{"index": {"fields": ["n"]}}',
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    prefixes: list[str] = []

    def clean() -> None:
        # Another name each time, as `World.renew` says.
        prefixes.append(f"{world.prefix}{len(prefixes)}_")

    def seeder(server: str) -> Seeder:
        fixtures = read_fixtures(folder, environ={}, now=parse_now("2024-01-01"), prefix=prefixes[-1])
        return Seeder(parse_endpoint(server, environ={}, role="target")[0], fixtures, SeedOptions(max_attempts=1))

    def run(server: str) -> None:
        seeder(server).seed()

    for where in cut_off_everywhere(world.server, run, clean):
        run(world.server)
        assert seeder(world.server).differences() == [], where
        assert support.security(f"{world.server}/{prefixes[-1]}b") == SECURITY, where


@pytest.mark.parametrize("before", ["missing", "empty"])
def test_a_move(world: World, before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a whole server by its plan: what was saved last before the cut is all that the next run knows."""
    plans: list[ServerPlan] = []
    cut: list[str] = []

    def clean() -> None:
        world.renew("b")
        (tmp_path / "checkpoint").unlink(missing_ok=True)
        if before == "empty":
            world.make("b")
        options = PlanOptions(
            patterns=(world.name("a"),), map={world.name("a"): world.name("b")}, users=False, probe=False
        )
        plans.append(plan_server(world.server, world.server, options))

    def run(server: str) -> None:
        options = ApplyOptions(
            checkpoint=tmp_path / "checkpoint", resume=True, source=world.server, target=server, verify="no"
        )
        applied = apply_plan(plans[-1], options, config=JobConfig(batch_docs=4, max_attempts=1))
        assert applied.ok
        assert applied.totals.read == len(LEAVES)

    save, remove = CheckpointFile.save, CheckpointFile.remove
    monkeypatch.setattr(CheckpointFile, "save", lambda *words: None if cut else save(*words))
    monkeypatch.setattr(CheckpointFile, "remove", lambda *words: None if cut else remove(*words))
    every = 1 if before == "missing" else SAMPLE
    for where in cut_off_everywhere(world.server, run, clean, cut, every=every, remembers=True):
        run(world.server)
        assert world.state("b") == world.state("a"), where
        assert support.security(world.url("b")) == SECURITY, where
        assert not (tmp_path / "checkpoint").exists(), where


def test_a_move_that_was_killed_after_its_last_word(world: World, tmp_path: Path) -> None:
    """All is done and noted, and the checkpoint is still there: the same command ends well, and removes it."""
    checkpoint = tmp_path / "checkpoint"
    options = PlanOptions(
        patterns=(world.name("a"),), map={world.name("a"): world.name("b")}, users=False, probe=False
    )
    plan = plan_server(world.server, world.server, options)
    for keep in (True, False):
        wanted = ApplyOptions(
            checkpoint=checkpoint, keep_checkpoint=keep, resume=True, source=world.server, target=world.server
        )
        applied = apply_plan(plan, wanted)
        assert (applied.ok, applied.totals.read, checkpoint.exists()) == (True, len(LEAVES), keep)
    assert support.security(f"{world.server}/{world.name('b')}") == SECURITY


@pytest.mark.parametrize("name", ["", "named"])
def test_a_replication_that_the_server_runs(world: World, name: str) -> None:
    """It is set up once, whatever was cut off, also where nobody gave it a name."""
    name = name and f"{world.prefix}{name}"
    sides = [parse_endpoint(f"{world.server}/{world.name(each)}", environ={}, role=role) for each, role in SIDES]
    source, target = ((endpoint, str(database)) for endpoint, database in sides)
    world.make("b")

    def ours() -> list[str]:
        found = support.documents(world.server, "_replicator")
        return [id for id, document in found.items() if world.prefix in json.dumps(document)]

    def clean() -> None:
        for id in ours():
            rev = support.get(f"{world.server}/_replicator/{id}")["_rev"]
            support.request("DELETE", f"{world.server}/_replicator/{id}?rev={rev}")

    def run(server: str) -> None:
        opened, _ = open_server(server, config=JobConfig(max_attempts=1), environ={})
        try:
            set_up(opened, source, target, name=name, continuous=True, paused=True)
        finally:
            opened.close()

    support.request("PUT", f"{world.server}/_replicator")
    try:
        for where in cut_off_everywhere(world.server, run, clean, every=SAMPLE if name else 1):
            run(world.server)
            assert len(ours()) == 1, where
    finally:
        clean()
