"""A command is cut off at each of its requests in turn, before and after the server did it: the same one goes on.

Cut off means that from then on the server hears nothing of it any more, which is what a kill leaves there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import MigratorError
from tests import support
from tests.backup_world import World
from tests.fault_proxy import FaultProxy, Request
from tests.leaf_states import leaf

pytestmark = pytest.mark.usefixtures("no_credentials")

SECURITY = {"admins": {"names": ["ann"], "roles": []}, "members": {"names": ["bob"], "roles": ["staff"]}}
LEAVES = [
    *(leaf(f"d{n:02}", "2-b", "1-a", n=n) for n in range(7)),
    leaf("d00", "2-c", "1-a", conflict=True),
    leaf("gone", "2-b", "1-a", deleted=True),
    leaf("photo", "1-a", files={"f": b"x" * 300}),
    leaf("_design/v", "1-a", validate_doc_update='function (doc) { if (doc.n) throw({forbidden: "no"}); }'),
]


def cut_off(at: int, *, done: bool) -> Callable[[Request], str | None]:
    """A plan of a proxy: request number `at` is the last one that anybody hears of, if `done` at all."""
    number = itertools.count()

    def plan(_: Request) -> str | None:
        now = next(number)
        return None if now < at else "lost_reply" if now == at and done else "reset_before"

    return plan


def cut_off_everywhere(server: str, run: Callable[[str], Any], clean: Callable[[], None]) -> Iterator[str]:
    """Do a command once for each place where it can be cut off, and yield what the place was.

    Args:
        server: its URL.
        run: does the command against a URL; an error for people is what it ends with.
        clean: makes the server as it was before.
    """
    clean()
    with FaultProxy(server) as proxy:
        run(proxy.url)
        requests = list(proxy.requests)
    assert len(requests) > 5
    for (at, request), done in itertools.product(enumerate(requests), (False, True)):
        clean()
        with FaultProxy(server, cut_off(at, done=done)) as proxy:
            try:
                run(proxy.url)
            except MigratorError as error:
                assert error.exit_code == 5, (request, error)  # noqa: PT017 it may also end well
            assert proxy.injected, request
        yield f"cut off {'after' if done else 'before'} {request}"


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
    url = f"{world.server}/{world.name('b')}"
    job = {"batch_docs": 4, "in_flight": 1, "max_attempts": 1}
    wanted = world.state("a")
    options = {"into_existing": True, "security": True} if before == "existing" else {}

    def clean() -> None:
        support.request("DELETE", url)
        if before != "missing":
            world.make("b", *([leaf("other", "1-a")] if before == "existing" else []))
        if before == "empty, another limit" and is_couchdb:
            assert support.request("PUT", f"{url}/_revs_limit", 77)[0] == 200

    def run(server: str) -> None:
        result = world.restore("a", "b", url=server, job=job, **options)
        for each in result.databases:
            if each.error:
                raise each.error

    for where in cut_off_everywhere(world.server, run, clean):
        run(world.server)
        assert {key: value for key, value in world.state("b").items() if key[0] != "other"} == wanted, where
        assert support.get(f"{url}/_security") == SECURITY, where
        assert support.get(f"{url}/_local/migrator-restore")["finished"], where
        if is_couchdb:
            limit = support.get(f"{world.server}/{world.name('a')}/_revs_limit")
            assert support.get(f"{url}/_revs_limit") == limit, where
