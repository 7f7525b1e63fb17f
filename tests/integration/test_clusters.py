"""Whoever says that a list is whole brings a cluster's copies together first, or says that it could not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.jobs.run import make_plan
from migrator.loaders.couchdb import CouchLoader
from migrator.server.admin.connection import Server
from migrator.server.move.plan import OCCUPIED
from migrator.server.move.survey import survey
from tests import support
from tests.support.commands import run
from tests.support.late_copies import LateCopies

pytestmark = pytest.mark.usefixtures("no_credentials")

DOCUMENTS = 30


@dataclass
class World:
    """A database of so many documents at a server whose lists of it are late."""

    server: str
    name: str
    folder: Path
    late: LateCopies

    @property
    def url(self) -> str:
        """The database at the late server."""
        return f"{self.late.url}/{self.name}"

    def path(self, name: str) -> str:
        """A file or folder of this test."""
        return str(self.folder / name)


@pytest.fixture(params=[0, 11], ids=["empty", "short"])
def late(request: pytest.FixtureRequest, server_url: str, database_prefix: str) -> Iterator[LateCopies]:
    """What stands before the server; tells lists of so many rows until the copies are together."""
    with LateCopies(server_url, database_prefix, keeps=request.param) as late:
        yield late


@pytest.fixture
def without_rights(late: LateCopies) -> None:
    """The copies are for admins, and stay apart."""
    late.rights = False


@pytest.fixture
def world(
    late: LateCopies, server_url: str, database_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    """The database, and what stands before its server."""
    monkeypatch.chdir(tmp_path)
    name = f"{database_prefix}tickets"
    support.request("PUT", f"{server_url}/{name}")
    docs = [{"_id": f"d{n:03}", "n": n} for n in range(DOCUMENTS)]
    support.request("POST", f"{server_url}/{name}/_bulk_docs", {"docs": docs})
    # What stands after is a cluster itself in some runs.
    support.settle(server_url, name)
    return World(server_url, name, tmp_path, late)


def written(world: World, folder: str, documents: int) -> str:
    """A folder with so many of the documents."""
    path = world.folder / folder
    path.mkdir()
    lines = "".join(f'{{"_id":"d{n:03}","n":{n}}}\n' for n in range(documents))
    (path / f"{world.name}.ndjson").write_text(lines)
    return str(path)


def copied(world: World) -> Any:
    """By `run` into a folder."""
    ran = run("run", "--from", world.url, "--to", world.path("out"), "--report", "-", "-q")
    return ran.value["totals"]["written"], ran.value


def backed_up(world: World) -> Any:
    """By `backup`."""
    ran = run("backup", "--from", world.url, "--to", world.path("backup"), "-q", "--json")
    value = ran.value["databases"][world.name]
    return value["leaves"], value


def converted(world: World) -> Any:
    """By `convert`."""
    ran = run("convert", "--from", world.url, "--to", world.path("x.json"), "--format", "all-docs", "--json")
    return ran.value["written"], ran.value


def since_last(world: World) -> Any:
    """By a first round that copies all."""
    target = f"{world.server}/{world.name.replace('tickets', 'copy')}"
    ran = run(
        *("run", "--since-last", "--from", world.url, "--to", target, "--report", "-", "-q"),
        *("--checkpoint", world.path("c.json")),
    )
    return ran.value["totals"]["written"], ran.value


def snapshot(world: World) -> Any:
    """By `snapshot`."""
    ran = run("snapshot", world.url, world.path("taken"), "--report", "-")
    return ran.value["databases"][world.name]["documents"], ran.value


def planned(world: World) -> Any:
    """By what `plan` counts."""
    value = make_plan(JobConfig(source=world.url, target=world.path("out")), environ={})
    return value["collections"][world.name]["documents"], value


def verified(world: World) -> Any:
    """By `verify`, against what a folder holds."""
    folder = written(world, "source", DOCUMENTS)
    ran = run("verify", "--from", folder, "--to", world.late.url, "--report", "-", "-q")
    return ran.value["totals"]["equal"], ran.value


def verified_as_source(world: World) -> Any:
    """By `verify`, of what the database holds."""
    folder = written(world, "target", DOCUMENTS)
    ran = run("verify", "--from", world.url, "--to", folder, "--report", "-", "-q")
    return ran.value["totals"]["equal"], ran.value


def drilled(world: World) -> Any:
    """By a restore test, whose database is as late as the others."""
    where = world.path("drill")
    assert run("backup", "--from", f"{world.server}/{world.name}", "--to", where, "-q").code == 0
    world.late.prefix = "migrator-drill-"
    ran = run("backups", "check", "--from", where, "--drill", "--to", world.late.url, "--json", "-q")
    [drill] = ran.value["drills"]
    assert drill["ok"], drill
    return drill["leaves"], drill


READERS = [copied, backed_up, converted, since_last, snapshot, planned, verified, verified_as_source]


@pytest.mark.parametrize("read", [*READERS, drilled])
def test_a_reading_is_whole(read: Callable[[World], Any], world: World) -> None:
    """Although lists were short when it began."""
    count, value = read(world)
    assert count == DOCUMENTS
    assert not value.get("unconfirmed")


@pytest.mark.parametrize("read", READERS)
def test_without_rights_the_result_says_so(
    read: Callable[[World], Any], world: World, without_rights: None
) -> None:
    """Only an admin may compare the copies: the reading is as whole as its list, and nobody says more."""
    _, value = read(world)
    assert world.late.short
    [text] = value["unconfirmed"]
    assert world.name in text
    assert "only a server admin may compare them" in text


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--from", "{url}", "--to", "out"),
        ("backup", "--from", "{url}", "--to", "backup"),
        ("convert", "--from", "{url}", "--to", "x.json", "--format", "all-docs"),
        ("snapshot", "{url}", "taken"),
        ("verify", "--from", "{url}", "--to", "taken"),
        ("plan", "--from", "{url}", "--to", "out"),
    ],
    ids=lambda command: command[0],
)
def test_people_are_told_in_one_line(command: tuple[str, ...], world: World, without_rights: None) -> None:
    """Not only machines."""
    written(world, "taken", DOCUMENTS)
    ran = run(*(word.format(url=world.url) for word in command), with_errors=True)
    [line] = [line for line in ran.output.splitlines() if line.startswith("not confirmed: ")]
    assert "only a server admin" in line


def test_what_seems_missing_is_asked_for_by_its_id(world: World, without_rights: None) -> None:
    """Verification calls no document missing that most copies hold."""
    count, value = verified(world)
    assert (count, value["totals"]["missing"]) == (DOCUMENTS, 0)


@pytest.mark.parametrize("held", [1, DOCUMENTS - 5])
def test_exact_seeding_removes_what_a_late_list_lacks(world: World, held: int) -> None:
    """And nothing else."""
    folder = written(world, "fixtures", held)
    ran = run("seed", folder, "--to", world.late.url, "--exact", "--report", "-", "-q")
    done = ran.value["databases"][world.name]
    assert (done["removed"], done["unchanged"], done["written"]) == (DOCUMENTS - held, held, 0)
    assert sorted(support.revisions(world.server, world.name)) == [f"d{n:03}" for n in range(held)]


def test_exact_seeding_without_rights_loses_nothing(world: World, without_rights: None) -> None:
    """What the fixtures hold stays, whatever the list lacks; and it says that it could not make sure."""
    folder = written(world, "fixtures", DOCUMENTS)
    before = support.revisions(world.server, world.name)
    ran = run("seed", folder, "--to", world.late.url, "--exact", "--report", "-", "-q")
    assert ran.value["databases"][world.name]["removed"] == 0
    assert ran.value["unconfirmed"]
    assert support.revisions(world.server, world.name) == before


@pytest.mark.parametrize("command", ["restore", "convert"])
def test_a_late_database_is_not_taken_for_an_empty_one(world: World, command: str) -> None:
    """Nothing is written into one that holds documents."""
    if command == "restore":
        assert run("backup", "--from", f"{world.server}/{world.name}", "--to", "backup", "-q").code == 0
        ran = run("restore", "--from", "backup", "--to", world.late.url, "-q")
    else:
        backed = run("convert", "--from", f"{world.server}/{world.name}", "--to", "x.json", "--format", "all-docs")
        assert backed.code == 0
        ran = run("convert", "--from", "x.json", "--to", world.url, "-q")
    assert ran.code == 2
    assert f"holds {DOCUMENTS} documents" in ran.output


def test_a_target_is_not_said_to_have_lost_what_one_copy_lacks(world: World) -> None:
    """A resumed run asks whether its target is empty."""
    with contextlib.closing(CouchLoader(client_of(world), names={"x": world.name})) as loader:
        assert not loader.is_empty("x")


def test_a_target_of_which_nobody_knows_is_not_called_empty(world: World, without_rights: None) -> None:
    """Without rights too."""
    with contextlib.closing(CouchLoader(client_of(world), names={"x": world.name})) as loader:
        assert not loader.is_empty("x")


def test_a_plan_of_a_server_knows_an_occupied_target(world: World) -> None:
    """And counts what goes."""
    source, target = (Server(parse_endpoint(world.late.url, environ={})[0]) for _ in range(2))
    with contextlib.closing(source), contextlib.closing(target):
        [surveyed] = survey(source, target, {world.name: world.name})
    assert (surveyed.plan.documents, surveyed.plan.target_state) == (DOCUMENTS, OCCUPIED)


def client_of(world: World) -> CouchClient:
    """A client of the late server."""
    return CouchClient(parse_endpoint(world.late.url, environ={})[0])
