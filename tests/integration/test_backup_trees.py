"""Whatever trees of revisions a database holds, a restore of its backup has the same ones, leaf by leaf."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import support
from tests.support.backup_world import World
from tests.support.leaf_states import leaf

pytestmark = pytest.mark.usefixtures("no_credentials")

LIMIT = 4
Node = tuple[int, bool, int]
NODES = st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.integers(-99, 99)), min_size=1, max_size=9)
"""Nodes of one document: which of those before, or none, is the parent; whether it is a deletion; a field."""

IDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
DOCUMENTS = st.dictionaries(IDS, NODES, max_size=4)
_numbers = itertools.count()


def leaves(id: str, nodes: list[Node]) -> list[Any]:
    """The leaves of a tree, each with its whole ancestry; some documents have several roots.

    As with CouchDB's own, a revision says what is in it and what came before it.
    """
    paths: list[list[str]] = []
    for number, (parent, deleted, value) in enumerate(nodes):
        above = paths[parent % (number + 1) - 1] if parent % (number + 1) else []
        # Generations go up by more than one of them has a leaf.
        for step in range(parent % 3 + 1):
            told = f"{above[:1]} {step} {deleted} {value}"
            above = [f"{len(above) + 1}-{hashlib.md5(told.encode()).hexdigest()}", *above]
        paths.append(above)
    inner = {rev for path in paths for rev in path[1:]}
    return [
        leaf(id, *path, deleted=deleted, n=value)
        for path, (_, deleted, value) in zip(paths, nodes, strict=True)
        if path[0] not in inner
    ]


def open_revs(server: str, database: str) -> dict[str, tuple[list[Any], Any]]:
    """Of each document all leaves with their ancestry, and what the server shows of it."""
    found: dict[str, tuple[list[Any], Any]] = {}
    for row in support.feed(server, database):
        url = f"{server}/{database}/{quote(row['id'], safe='')}"
        rows = support.get(f"{url}?open_revs=all&revs=true")
        shown = support.request("GET", f"{url}?conflicts=true&deleted_conflicts=true&revs=true")
        found[row["id"]] = (sorted((each["ok"] for each in rows), key=lambda each: str(each["_rev"])), shown)
    return found


# A smaller example of a failure is not worth the minutes that hundreds of databases take.
@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(DOCUMENTS, DOCUMENTS)
def test_trees_come_back(
    server_url: str,
    database_prefix: str,
    is_couchdb: bool,
    tmp_path: Path,
    first: dict[str, list[Node]],
    second: dict[str, list[Node]],
) -> None:
    """Branches, deletions, conflicts, ancestry that is longer than what is kept; in two snapshots."""
    number = next(_numbers)
    world = World(server_url, f"{database_prefix}{number}", tmp_path / str(number))
    world.folder.mkdir()
    world.make("a")
    if is_couchdb:
        assert support.request("PUT", f"{server_url}/{world.name('a')}/_revs_limit", LIMIT)[0] == 200
    states = []
    for documents in (first, second):
        for id, nodes in documents.items():
            # `d` in front: an id must not be empty, nor begin with an underscore.
            world.write("a", *leaves(f"d{id}", nodes))
        world.backed_up("a")
        states.append(open_revs(server_url, world.name("a")))
    for short, snapshot, wanted in zip("bc", world.snapshots("a"), states, strict=True):
        world.restored("a", short, at=snapshot.snapshot)
        assert open_revs(server_url, world.name(short)) == wanted
