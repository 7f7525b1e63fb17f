"""A feed that names a change twice: each document and revision arrives once, by every way that reads one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.support.commands import run
from tests.support.leaf_states import leaf, make, state, write
from tests.support.stub_server import Asked, Reply, StubServer

pytestmark = pytest.mark.usefixtures("no_credentials")

Rows = list[dict[str, Any]]
DOUBLED: dict[str, Callable[[Rows], Rows]] = {
    "side by side": lambda rows: [row for row in rows for _ in range(2)],
    "all once more": lambda rows: rows + rows,
    "the first again": lambda rows: rows + rows[:1] * 3,
}


class DoubledFeed:
    """Stands before a real server, and names changes more than once."""

    def __init__(self, server: str, doubled: Callable[[Rows], Rows]) -> None:
        # The client's own credentials are passed on.
        self._server = "http://" + server.rpartition("//")[2].rpartition("@")[2]
        self._doubled = doubled
        self.rows = 0
        self.stub = StubServer(self._answer)
        userinfo = server.rpartition("@")[0].rpartition("//")[2]
        self.url = self.stub.url.replace("//", f"//{userinfo}@") if userinfo else self.stub.url

    def _answer(self, asked: Asked) -> Reply:
        headers = {name: text for name, text in asked.headers.items() if name != "Content-Encoding"}
        status, answered, data = support.forward(asked.method, self._server + asked.path, headers, asked.body)
        if status == 200 and "/_changes" in asked.path:
            value = json.loads(data)
            rows = self._doubled(value["results"])
            self.rows += len(rows) - len(value["results"])
            return Reply(200, {**value, "results": rows})
        return Reply(status, data, headers={k: v for k, v in answered.items() if k.lower() != "content-length"})


@pytest.fixture(params=DOUBLED)
def feed(
    request: pytest.FixtureRequest, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DoubledFeed]:
    """In a folder of its own."""
    monkeypatch.chdir(tmp_path)
    made = DoubledFeed(server_url, DOUBLED[request.param])
    yield made
    made.stub.close()


@pytest.fixture
def names(server_url: str, database_prefix: str) -> Iterator[tuple[str, str]]:
    """A database of documents with conflicts and a deletion, and the name of another one."""
    source, target = f"{database_prefix}a", f"{database_prefix}b"
    make(server_url, source)
    write(server_url, source, *(leaf(f"d{n}", "1-a", n=n) for n in range(20)))
    write(server_url, source, leaf("d1", "1-b", n="other"), leaf("d2", "2-c", "1-a", n="newer"))
    write(server_url, source, leaf("gone", "2-d", "1-a", _deleted=True))
    yield source, target
    support.request("DELETE", f"{server_url}/{target}")


def ended(*arguments: str) -> None:
    """A command that must end well."""
    ran = run(*arguments, with_errors=True)
    assert ran.code == 0, ran.output


def restore(feed: DoubledFeed, server: str, source: str, target: str) -> None:
    """Out of a backup that was taken by such a feed, and one that goes on from it."""
    ended("backup", "-q", "--from", f"{feed.url}/{source}", "--to", "backups")
    write(server, source, leaf("d3", "2-e", "1-a", n="later"), leaf("new", "1-a"))
    ended("backup", "-q", "--from", f"{feed.url}/{source}", "--to", "backups")
    ended("restore", "-q", "--from", "backups", "--database", source, "--to", f"{server}/{target}")


def apply(feed: DoubledFeed, server: str, source: str, target: str) -> None:
    """As a whole server goes."""
    chosen = ("--database", source, "--map", f"{source}={target}", "--no-users", "--no-probe")
    ended("plan-server", "-q", "--from", feed.url, "--to", server, *chosen, "--output", "plan.json")
    ended("apply", "-q", "plan.json", "--from", feed.url, "--to", server)


def convert(feed: DoubledFeed, server: str, source: str, target: str) -> None:
    """From server to server, with all revisions."""
    ended("convert", "-q", "--from", f"{feed.url}/{source}", "--to", f"{server}/{target}")


def by_a_file(feed: DoubledFeed, server: str, source: str, target: str) -> None:
    """By a file that holds each revision once."""
    ended("convert", "-q", "--from", f"{feed.url}/{source}", "--to", "leaves.ndjson", "--format", "ndjson")
    lines = [json.loads(line) for line in Path("leaves.ndjson").read_text(encoding="utf-8").splitlines()]
    assert len({(line["_id"], line["_rev"]) for line in lines}) == len(lines)
    ended("convert", "-q", "--from", "leaves.ndjson", "--to", f"{server}/{target}")


@pytest.mark.parametrize("way", [restore, apply, convert, by_a_file])
def test_every_revision_once(feed: DoubledFeed, names: tuple[str, str], server_url: str, way: Any) -> None:
    """The target has what the source has, leaf by leaf, and nothing was rejected."""
    source, target = names
    way(feed, server_url, source, target)
    assert state(server_url, target) == state(server_url, source)
    assert feed.rows > 0


def test_every_document_once_round_by_round(feed: DoubledFeed, names: tuple[str, str], server_url: str) -> None:
    """`--since-last`: what is named twice is written once, and two of the three over what was there."""
    source, target = names
    job = ("run", "-q", "--since-last", "--from", f"{feed.url}/{source}", "--to", f"{server_url}/{target}")
    report = ("--checkpoint", "c.json", "--report", "report.json")
    ended(*job, *report)
    for number in range(2):
        changed = support.get(f"{server_url}/{source}/d5")
        write_one(server_url, source, {**changed, "round": number})
        write_one(server_url, source, {"_id": f"new{number}"})
        gone = support.get(f"{server_url}/{source}/d{number + 6}")
        write_one(server_url, source, {"_id": gone["_id"], "_rev": gone["_rev"], "_deleted": True})
        ended(*job, *report)
        totals = json.loads(Path("report.json").read_text(encoding="utf-8"))["totals"]
        assert (totals["written"], totals["rejected"], totals["conflicts"]) == (3, 0, 2)
        assert totals["read"] == totals["written"] + totals["unchanged"]
        found = support.plain(support.documents(server_url, target))
        assert found == support.plain(support.documents(server_url, source))
    assert feed.rows > 0


def write_one(server: str, database: str, document: dict[str, Any]) -> None:
    """Write a document as an application does."""
    (row,) = support.request("POST", f"{server}/{database}/_bulk_docs", {"docs": [document]})[1]
    assert "rev" in row, row
