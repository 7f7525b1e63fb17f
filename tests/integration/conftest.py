"""Two servers for tests that move one to the other."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from migrator.checkpoint import target_guard
from tests.support import whole_server
from tests.support.whole_server import Pair

TARGET = "COUCHDB_TEST_URL_2"


@pytest.fixture(scope="session")
def target_url(server_url: str, is_couchdb: bool) -> Iterator[str]:
    """A second server: COUCHDB_TEST_URL_2, or the first once more; beside a sandbox, a second one."""
    if is_couchdb:
        yield os.environ.get(TARGET, server_url)
        return
    from migrator.sandbox import Sandbox  # only here

    with Sandbox(in_memory=True) as sandbox:
        yield sandbox.url


@pytest.fixture(autouse=True)
def _nothing_is_old(is_couchdb: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox is one process: what it says of its databases is true at once, and is not asked for again."""
    if not is_couchdb:
        monkeypatch.setattr(target_guard, "PAUSES_S", (0.0,) * len(target_guard.PAUSES_S))


@pytest.fixture
def pair(server_url: str, target_url: str, is_couchdb: bool) -> Iterator[Pair]:
    """The two sides, with names of this test's own, which are removed afterwards."""
    first, second = whole_server.fresh_name(), whole_server.fresh_name()
    made = Pair(server_url, target_url, f"{first}_", f"{second}_", is_couchdb)
    yield made
    whole_server.remove(server_url, made.source_prefix)
    whole_server.remove(target_url, made.target_prefix)
