"""`apply` carries `_users` into one `_users`: one that is replaced meanwhile is told, with exit code 6."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.checkpoint import target_guard
from migrator.checkpoint.file import CheckpointFile, open_checkpoint
from migrator.checkpoint.reject_file import RejectFile
from migrator.couch.endpoint import Endpoint
from migrator.couch.settings import MARK
from migrator.errors import TargetReplaced
from migrator.model.revisions import Leaf
from migrator.server.admin.connection import Server
from migrator.server.admin.secure import ID_PREFIX, USERS
from migrator.server.move import users
from migrator.server.move.copy import Journal
from tests.support.fakes import Crash
from tests.support.stub_server import Asked, Reply, StubServer

COUNT = 250
MISSING = {"error": "not_found", "reason": "missing"}


class Target:
    """A server that has `_users` and nothing else; something can happen before the nth write."""

    def __init__(self) -> None:
        self.there = True
        self.users: dict[str, str] = {}
        self.mark: bytes | None = None
        self.writes = 0
        self.happens: dict[int, Callable[[Target], None]] = {}
        self.stub = StubServer(self._answer)

    def delete(self) -> None:
        """It is gone, with all users."""
        self.there, self.mark = False, None
        self.users.clear()

    def replace(self) -> None:
        """It is made again within the second."""
        self.delete()
        self.there = True

    def _answer(self, asked: Asked) -> Reply | None:
        path = asked.path.partition("?")[0].strip("/").split("/")
        if path == [USERS, "_bulk_docs"]:
            self.writes += 1
            if event := self.happens.pop(self.writes, None):
                event(self)
        if path == [USERS] and asked.method == "PUT":
            self.there = True
            return Reply(201, {"ok": True})
        if path[0] == USERS and not self.there:
            return Reply(404, {"error": "not_found", "reason": "Database does not exist."})
        if path == [USERS]:
            return Reply(
                200, {"db_name": USERS, "doc_count": len(self.users), "instance_start_time": "1700000000"}
            )
        if path == [USERS, "_local", MARK]:
            self.mark = asked.body if asked.method == "PUT" else self.mark
            return Reply(201 if asked.method == "PUT" else 200, self.mark) if self.mark else Reply(404, MISSING)
        if path == [USERS, "_bulk_docs"]:
            self.users |= {doc["_id"]: doc["_rev"] for doc in asked.json["docs"]}
            return Reply(201, [])
        if path == [USERS, "_revs_diff"]:
            gone = {id: revs for id, revs in asked.json.items() if self.users.get(id) not in revs}
            return Reply(200, {id: {"missing": revs} for id, revs in gone.items()})
        if path == [USERS, "_all_docs"]:
            return Reply(200, {"rows": [self._row(id) for id in asked.json["keys"]]})
        return Reply(404, MISSING)

    def _row(self, id: str) -> dict[str, Any]:
        rev = self.users.get(id)
        return {"key": id, "error": "not_found"} if rev is None else {"id": id, "key": id, "value": {"rev": rev}}


class Users:
    """The source's users, in the order of their ids."""

    def leaves(self, *, after: str) -> Iterator[Leaf]:
        """What comes after an id."""
        for number in range(COUNT):
            id = f"{ID_PREFIX}u{number:03}"
            body = {"_id": id, "_rev": "1-a", "_revisions": {"start": 1, "ids": ["a"]}}
            if id > after:
                yield Leaf(id, "1-a", json.dumps(body).encode())


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """Of one test; nothing is waited for."""
    monkeypatch.setattr(target_guard, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(Server, "leaves", lambda *_arguments: contextlib.nullcontext(Users()))
    made = Target()
    yield made
    made.stub.close()


def carry(target: Target, folder: Path, *, restart: bool = False) -> None:
    """One run, which goes on where it can."""
    server = Server(Endpoint(target.stub.url))
    file = CheckpointFile(folder / "c.json")
    checkpoint, resumed = open_checkpoint(file, {}, resume=not restart, restart=restart)
    with contextlib.closing(RejectFile(folder / "r.ndjson")) as rejects, contextlib.closing(server):
        journal = Journal(checkpoint, file, rejects)
        if not resumed:
            journal.save()
        users.carry_users(server, server, journal)
        assert journal.state(USERS).counts.read == COUNT
        assert rejects.count == 0


EVENTS: dict[str, Callable[[Target], None]] = {"deleted": Target.delete, "replaced": Target.replace}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("before", [2, 3])
def test_meanwhile(target: Target, tmp_path: Path, event: str, before: int) -> None:
    """It is said, so is it to one that goes on, and a restart brings everybody."""
    target.happens[before] = EVENTS[event]
    for _ in range(2):
        with pytest.raises(TargetReplaced, match=USERS) as raised:
            carry(target, tmp_path)
        assert (raised.value.exit_code, raised.value.flag) == (6, "--restart")
    carry(target, tmp_path, restart=True)
    assert len(target.users) == COUNT


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("killed", ["on the way", "at the end"])
def test_between_a_kill_and_going_on(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: str, event: str
) -> None:
    """What was settled is not there any more, also when all was."""
    if killed == "on the way":
        settled = iter(range(2))
        settle = Journal.settle

        def until(self: Journal, *arguments: Any, **options: Any) -> None:
            settle(self, *arguments, **options)
            self.save()
            if next(settled, None) is None:
                raise Crash

        with monkeypatch.context() as patched:
            patched.setattr(Journal, "settle", until)
            with pytest.raises(Crash):
                carry(target, tmp_path)
    else:
        carry(target, tmp_path)
    EVENTS[event](target)
    with pytest.raises(TargetReplaced):
        carry(target, tmp_path)
    carry(target, tmp_path, restart=True)
    assert len(target.users) == COUNT


def test_the_same_is_gone_on_with(target: Target, tmp_path: Path) -> None:
    """Users that are there already, and a second run, refuse nothing and write nothing."""
    carry(target, tmp_path)
    writes = target.writes
    carry(target, tmp_path)
    carry(target, tmp_path, restart=True)
    assert target.writes == writes
