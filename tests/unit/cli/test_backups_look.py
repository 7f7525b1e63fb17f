"""`migrator backups ls, find, diff, cat, history`: what they print, what they end with, and what they refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from migrator.cli import backup_rows
from tests.support.backups import PlainAttachment, PlainLeaf, at, local, simple, write
from tests.support.commands import run_whole
from tests.support.processes import LIMIT_S
from tests.unit.backup.test_cipher import new_key

ODD = '_design/a "b"\n\u00e9\U0001f600'
FIRST, SECOND = datetime(2026, 11, 24, 3, tzinfo=UTC), datetime(2026, 11, 25, 3, tzinfo=UTC)


def made(id: str, rev: str, deleted: bool = False, *attachments: PlainAttachment, **fields: Any) -> PlainLeaf:
    """A leaf as a server gives it."""
    head = {"_id": id, "_rev": rev, "_revisions": {"start": int(rev[0]), "ids": [rev[2:]]}}
    text = json.dumps({**head, **fields}, ensure_ascii=False, separators=(",", ":"))
    return PlainLeaf(id, rev, text.encode(), deleted, attachments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two databases; one with a chain of two: a conflict, a deletion, an attachment and a change."""
    place = local(tmp_path / "b")
    photo = PlainAttachment("photo.png", bytes(range(256)), "image/png")
    with at(FIRST):
        leaves = [
            made(ODD, "1-a", views={}),
            made("a", "1-a", n=1, when="x"),
            made("b", "1-a", False, photo, n=2),
            made("b", "1-b", n=3),
            made("c", "1-a", n=4),
        ]
        full = write(place, leaves)
        write(place, [simple(1)], database="users/old")
    with at(SECOND):
        newer = [made("a", "2-a", n=1.5, when="x"), made("c", "2-a", True), made("d", "1-a", n=1)]
        write(place, newer, full)
    return tmp_path


def look(folder: Path, *words: str) -> tuple[int, list[str], str]:
    """Exit code, lines, and what was said."""
    done = run_whole(folder, "backups", words[0], "--from", "b", *words[1:])
    return done.returncode, done.stdout.splitlines(), done.stderr


def rows(folder: Path, *words: str) -> list[Any]:
    """The lines of JSON of a command that ends well, each an object."""
    code, lines, said = look(folder, *words, "--json", "--quiet")
    assert (code, said) == (0, "")
    return [json.loads(line) for line in lines]


def test_ls(folder: Path) -> None:
    """Databases, documents, those of a time, those that a pattern means."""
    assert [row["database"] for row in rows(folder, "ls")] == ["orders", "users/old"]
    found = {row["id"]: row for row in rows(folder, "ls", "orders")}
    assert list(found) == [ODD, "a", "b", "c", "d"]
    assert (found["b"]["rev"], found["b"]["conflicts"], found["b"]["attachments"]) == ("1-b", ["1-a"], [])
    assert (found["c"]["deleted"], found["a"]["rev"]) == (True, "2-a")
    assert [row["id"] for row in rows(folder, "ls", "--at", "2026-11-24T12:00Z", "orders")] == [ODD, "a", "b", "c"]
    assert [row["id"] for row in rows(folder, "ls", "orders", "_design/*")] == [ODD]
    found_in = [(row["database"], row["id"]) for row in rows(folder, "ls", "--database", "*", "?", "doc*")]
    assert found_in == [*(("orders", id) for id in "abcd"), ("users/old", "doc-00001")]
    code, lines, _ = look(folder, "ls", "--database", "*")
    assert (code, lines[0].split()[:2], len(lines)) == (0, ["database", "id"], 8)
    code, _, said = look(folder, "ls", "orders", "nothing*")
    assert (code, "holds no document 'nothing*'" in said) == (2, True)
    code, lines, _ = look(folder, "ls", "orders")
    assert code == 0
    assert [line.split()[:1] for line in lines[3:]] == [["a"], ["b"], ["c"], ["d"]]
    assert "\\n" in lines[2]
    assert "deleted" in lines[5]


def test_many_rows_are_tables_one_after_the_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So memory is bounded; programs see no difference."""
    monkeypatch.setattr(backup_rows, "MAX_ROWS", 2)
    _, lines, _ = look(folder, "ls", "orders")
    assert [number for number, line in enumerate(lines) if line.startswith("id ")] == [0, 4, 8]
    assert len(rows(folder, "ls", "orders")) == 5


def test_find(folder: Path) -> None:
    """By id in all databases, by pattern, by field; what is nowhere is an error with what to do."""
    assert [(row["database"], row["id"]) for row in rows(folder, "find", "doc-00001")] == [
        ("users/old", "doc-00001")
    ]
    assert [row["id"] for row in rows(folder, "find", "--id", ODD, "--id", "a")] == [ODD, "a"]
    assert [row["id"] for row in rows(folder, "find", "?", "--database", "ord*")] == ["a", "b", "c", "d"]
    assert [row["id"] for row in rows(folder, "find", "n>1")] == ["a", "b"]
    assert [row["id"] for row in rows(folder, "find", "n>1", "--at", "2026-11-24T12:00Z")] == ["b", "c"]
    assert look(folder, "find", "n=77") == (0, ["No document meets n=77."], "")
    for words in (["nowhere"], ["--id", "a", "--id", "nowhere"], ["nowhere*"]):
        code, _, said = look(folder, "find", *words)
        assert code == 2
        assert "No document 'nowhere" in said
        assert "migrator backups find --from b '*PART*'" in said
    code, _, said = look(folder, "find", "doc-0001")
    assert (code, "Did you mean 'doc-00001'? Look for" in said) == (2, True)
    for words in ([], ["a", "--id", "a"]):
        code, _, said = look(folder, "find", *words)
        assert (code, "What is looked for?" in said) == (2, True)
    with at(SECOND):
        for name in ("b1", "b2", "b3"):
            write(local(folder / "b"), [simple(7), simple(8)], database=name)
    found = [(row["database"], row["id"]) for row in rows(folder, "find", "--id", "doc-00007", "--id", "a")]
    assert found == [("b1", "doc-00007"), ("b2", "doc-00007"), ("b3", "doc-00007"), ("orders", "a")]


def test_diff(folder: Path) -> None:
    """What was added, changed and deleted, and a sum; a snapshot's id is of one database."""
    first, second = "2026-11-24T12:00Z", "2026-11-25T12:00Z"
    expected = [("changed", "a", "n"), ("deleted", "c", ""), ("added", "d", "")]
    for words in ([first], [first, second]):
        found = rows(folder, "diff", *words)
        assert [(row["change"], row["id"], row["path"]) for row in found] == expected
    assert [row["change"] for row in rows(folder, "diff", second, first)] == ["changed", "added", "deleted"]
    snapshot = rows(folder, "ls")[0]["snapshot"]
    assert [row["id"] for row in rows(folder, "diff", first, snapshot)] == ["a", "c", "d"]
    code, lines, _ = look(folder, "diff", first)
    assert (code, lines[-1]) == (0, "1 added, 1 changed, 1 deleted.")
    assert look(folder, "diff", second) == (0, ["No changes."], "")
    code, _, said = look(folder, "diff", "yesterday")
    assert code == 2
    assert "TIME 'yesterday' is not a time" in said


def test_a_database_that_was_not_yet_there_was_added(folder: Path) -> None:
    """All of its documents; one that is named and was not there is an error."""
    with at(SECOND):
        write(local(folder / "b"), [simple(1)], database="young")
    first = "2026-11-24T12:00Z"
    assert [row["change"] for row in rows(folder, "diff", first) if row["database"] == "young"] == ["added"]
    code, _, said = look(folder, "diff", first, "--database", "young")
    assert code == 2
    assert "no backup of 'young'" in said


def test_cat(folder: Path) -> None:
    """The document as it was, at any time and revision, its conflicts, and the bytes of an attachment."""
    assert look(folder, "cat", "orders", "a") == (0, ['{"_id":"a","_rev":"2-a","n":1.5,"when":"x"}'], "")
    older = '{"_id":"a","_rev":"1-a","n":1,"when":"x"}'
    for words in (["--at", "2026-11-24T12:00Z"], ["--rev", "1-a"]):
        assert look(folder, "cat", "orders", "a", *words) == (0, [older], "")
    code, lines, _ = look(folder, "cat", "orders", "b", "--conflicts")
    assert (code, [json.loads(line)["_rev"] for line in lines]) == (0, ["1-b", "1-a"])
    assert json.loads(lines[1])["_attachments"]["photo.png"]["length"] == 256
    (line,) = look(folder, "cat", "orders", ODD)[1]
    assert json.loads(line)["_id"] == ODD
    of_it = ["cat", "orders", "b", "--rev", "1-a", "--attachment", "photo.png", "--output", "photo"]
    assert look(folder, *of_it) == (0, [], "")
    assert (folder / "photo").read_bytes() == bytes(range(256))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["orders", "x"], "holds no document 'x'. All snapshots: migrator backups history --from b orders x"),
        (["orders", "doc-1"], "holds no document"),
        (["users/old", "doc-0001"], "Did you mean 'doc-00001'?"),
        (["oders", "a"], "Did you mean 'orders'?"),
        (["*rs*", "a"], "means 2 databases"),
        (["orders", "c"], "'c' was deleted in the backup"),
        (["orders", "a", "--rev", "3-x"], "is not kept"),
        (["orders", "b", "--rev", "1-a", "--attachment", "foto.png"], "Did you mean 'photo.png'?"),
        (["orders", "a", "--attachment", "x"], "has no attachment 'x'. It has none."),
        (["orders", "a", "--rev", "1-a", "--conflicts"], "goes with neither"),
        (["orders", "a", "--at", "2026-11-01"], "the oldest is from"),
        (["orders", "a", "--output", "no/folder/x"], "no/folder/x"),
    ],
)
def test_what_cannot_be_printed(folder: Path, words: list[str], said: str) -> None:
    """Is said with its reason and what to do, and nothing is printed."""
    code, lines, told = look(folder, "cat", *words)
    assert (code, lines) == (2 if "no/folder" not in words[-1] else code, [])
    assert code
    assert said in told


def test_history(folder: Path) -> None:
    """A row for each snapshot; what is stored in it, and what became of the document."""
    found = rows(folder, "history", "orders", "c")
    assert [(row["change"], row["rev"], row["deleted"], row["stored"]) for row in found] == [
        ("added", "1-a", False, ["1-a"]),
        ("deleted", "2-a", True, ["2-a"]),
    ]
    assert [row["leaves"] for row in rows(folder, "history", "orders", "b")] == [["1-b", "1-a"]] * 2
    assert [row["change"] for row in rows(folder, "history", "orders", "d")] == ["absent", "added"]
    code, lines, _ = look(folder, "history", "orders", "c")
    assert (code, "2-a (deleted)" in lines[3]) == (0, True)
    code, _, said = look(folder, "history", "orders", "nothing")
    assert (code, "holds no document" in said) == (2, True)


def test_a_damaged_snapshot_is_in_no_others_way(folder: Path) -> None:
    """Other databases are searched; then it is named, and the exit code says so."""
    (folder / "b" / "databases" / "orders").joinpath(
        rows(folder, "ls")[0]["snapshot"], "manifest.json"
    ).write_text("")
    for copy in (folder / "b" / "databases" / "orders").glob("*/.manifest-copy.json"):
        copy.unlink()
    code, lines, said = look(folder, "find", "doc-*")
    assert (code, "doc-00001" in lines[2], "orders: " in said) == (4, True, True)
    code, lines, said = look(folder, "find", "doc-0001")
    assert (code, lines, "that can be read" in said) == (4, [], True)
    code, lines, said = look(folder, "history", "orders", "a")
    assert (code, "unreadable" in lines[3], "damaged" in said) == (4, True, True)


def test_encrypted(tmp_path: Path) -> None:
    """Only the key opens it; without, the command says what is missing."""
    from migrator.backup.format.cipher import open_cipher

    key = new_key(tmp_path)[1]
    write(local(tmp_path / "b"), [simple(n) for n in range(9)], cipher=open_cipher((), str(key)))
    for words in (["find", "doc-00003"], ["cat", "orders", "doc-00003"], ["history", "orders", "doc-00003"]):
        assert rows(tmp_path, *words, "--identity", str(key))[0].get("id", "doc-00003") == "doc-00003"
        code, lines, said = look(tmp_path, *words)
        assert (code, lines, "is encrypted" in said, "--identity" in said) == (2, [], True, True)


def test_a_damaged_attachment_leaves_no_file(folder: Path) -> None:
    """And what is right goes through a pipe byte by byte."""
    command = [sys.executable, "-m", "migrator", "backups", "cat", "--from", "b", "orders", "b"]
    words = [*command, "--rev", "1-a", "--attachment", "photo.png"]
    done = subprocess.run(words, cwd=folder, capture_output=True, check=True, timeout=LIMIT_S)
    assert (done.stdout, done.stderr) == (bytes(range(256)), b"")
    for segment in (folder / "b" / "databases" / "orders").rglob("segment-*"):
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 1
        segment.write_bytes(data)
    code, lines, said = look(
        folder, "cat", "orders", "b", "--rev", "1-a", "--attachment", "photo.png", "--output", "x"
    )
    assert (code, lines, "damaged" in said) == (4, [], True)
    assert not (folder / "x").exists()
