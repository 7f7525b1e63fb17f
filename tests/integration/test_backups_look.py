"""What `backups ls`, `find`, `diff`, `cat` and `history` say of a backup is what the server said at that time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.support.backup_world import World
from tests.support.commands import Ran, run
from tests.support.leaf_states import leaf, odd_leaves
from tests.unit.backup.test_cipher import new_key

pytestmark = pytest.mark.usefixtures("no_credentials")


@pytest.fixture(params=["folder", "s3"])
def world(request: pytest.FixtureRequest, server_url: str, database_prefix: str, tmp_path: Path) -> World:
    """A database of all kinds of documents, backed up and encrypted, at a place of each kind."""
    at = str(request.getfixturevalue("bucket")) if request.param == "s3" else ""
    world = World(server_url, database_prefix, tmp_path, at=at)
    public, _ = new_key(tmp_path)
    world.make("a", *odd_leaves(), leaf("x", "1-a", n=1), leaf("y", "1-a", n=1), leaf("z", "1-a", n=1))
    world.backed_up("a", recipients=(public,), identity=str(tmp_path / "key.txt"))
    return world


def look(world: World, name: str, *words: str) -> Ran:
    """Run one of the commands."""
    return run("backups", name, "--from", world.place, "--identity", str(world.folder / "key.txt"), *words)


def rows(world: World, name: str, *words: str) -> list[Any]:
    """The lines of JSON of a command that ends well."""
    ran = look(world, name, *words, "--json")
    assert ran.code == 0, ran.output
    return [json.loads(line) for line in ran.output.splitlines()]


def exact(text: str) -> Any:
    """JSON with its numbers as they are spelled."""
    return json.loads(text, parse_int=str, parse_float=str)


def test_all_of_a_backup_can_be_read_without_restoring(world: World) -> None:
    """Each leaf by its revision, its attachments byte by byte; and what the server gives, by the id alone."""
    database, there = world.name("a"), world.state("a")
    listed = {row["id"]: row for row in rows(world, "ls", database)}
    assert list(listed) == sorted({id for id, _ in there}, key=str.encode)
    for (id, rev), (document, files) in there.items():
        ran = look(world, "cat", database, id, "--rev", rev)
        assert ran.code == 0, ran.output
        told = json.loads(ran.output)
        stubs = told.pop("_attachments", {})
        assert told == {name: value for name, value in document.items() if name != "_revisions"}
        assert {name: (stub["content_type"], stub["length"]) for name, stub in stubs.items()} == {
            name: (content_type, len(data)) for name, (content_type, data) in files.items()
        }
        for name, (_, data) in files.items():
            output = world.folder / "output"
            of_it = ("--rev", rev, "--attachment", name, "--output", str(output))
            assert look(world, "cat", database, id, *of_it).code == 0
            assert output.read_bytes() == data
    for id, row in listed.items():
        # No path leads to a document whose id is two dots.
        answer = support.request(
            "POST", f"{world.url('a')}/_all_docs?include_docs=true&conflicts=true", {"keys": [id]}
        )
        current = answer[1]["rows"][0].get("doc")
        ran = look(world, "cat", database, id)
        if current is None:
            assert (row["deleted"], ran.code, "was deleted" in ran.output) == (True, 2, True)
            continue
        told = json.loads(ran.output)
        conflicts = current.pop("_conflicts", [])
        assert told == current
        assert (row["rev"], row["conflicts"], row["deleted"]) == (current["_rev"], conflicts, False)
        assert row["attachments"] == list(current.get("_attachments", {}))
        lines = look(world, "cat", database, id, "--conflicts").output.splitlines()
        assert [json.loads(line)["_rev"] for line in lines] == [current["_rev"], *conflicts]
        (found,) = rows(world, "find", "--id", id, "--database", database)
        assert (found["id"], found["rev"]) == (id, current["_rev"])


def test_numbers_are_as_the_server_spells_them(world: World) -> None:
    """Also those that no float holds."""
    database = world.name("a")
    for rev in ("2-b", "2-c"):
        _, _, text = support.forward("GET", f"{world.url('a')}/conflict?rev={rev}", {}, b"")
        told = exact(look(world, "cat", database, "conflict", "--rev", rev).output)
        assert told["n"] == exact(text.decode())["n"]


def test_what_changed_since(world: World) -> None:
    """By edits and deletions at the server itself; the past of each document, and what it was."""
    database = world.name("a")
    before = rows(world, "ls")[0]["snapshot"]
    time.sleep(0.01)
    world.write("a", leaf("x", "2-b", "1-a", n=2), leaf("y", "2-b", "1-a", deleted=True), leaf("zz", "1-a", n=1))
    world.write("a", leaf("z", "1-b", n=1))
    public = (world.folder / "key.txt").read_text().splitlines()[1].rpartition(" ")[2]
    world.backed_up("a", recipients=(public,), identity=str(world.folder / "key.txt"))
    found = {row["id"]: row for row in rows(world, "diff", "--database", database, before)}
    assert {id: (row["change"], row["path"]) for id, row in found.items()} == {
        "x": ("changed", "n"),
        "y": ("deleted", ""),
        "z": ("changed", "_conflicts"),
        "zz": ("added", ""),
    }
    assert rows(world, "diff", before, before) == []
    assert [row["change"] for row in rows(world, "history", database, "y")] == ["added", "deleted"]
    assert [row["rev"] for row in rows(world, "history", database, "x")] == ["1-a", "2-b"]
    assert json.loads(look(world, "cat", database, "y", "--at", before).output)["n"] == 1
    assert json.loads(look(world, "cat", database, "x", "--rev", "1-a").output)["n"] == 1
    assert [row["id"] for row in rows(world, "find", "n=1", "--database", database)] == ["z", "zz"]
