"""`migrator backups ls, find, diff, history` of damaged places: what is whole is found, and the rest is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.backups import at, local, simple, write
from tests.unit.cli.test_backups_look import FIRST, SECOND, look, made, rows

Damage = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`orders` with a chain of two, and another database after it by name and one before."""
    place = local(tmp_path / "b")
    with at(FIRST):
        full = write(place, [made("a", "1-a", n=1), made("b", "1-a", n=2)])
        write(place, [simple(1)], database="_users")
        write(place, [made("z", "1-a", n=5)], database="stock")
    with at(SECOND):
        write(place, [made("a", "2-a", n=3)], full)
    return tmp_path


def snapshots(folder: Path) -> list[Path]:
    """Those of `orders`, oldest first."""
    return sorted((folder / "b" / "databases" / "orders").iterdir())


def lose(snapshot: Path, pattern: str) -> None:
    """Damage files of a snapshot."""
    for path in [*snapshot.glob(pattern), *snapshot.glob(f".{pattern}")]:
        path.write_bytes(path.read_bytes() + b"x")


def test_all_databases_are_those_of_the_server_too(folder: Path) -> None:
    """Who asks whether a place has something is not answered of some of it."""
    assert [row["database"] for row in rows(folder, "ls")] == ["_users", "orders", "stock"]
    assert [row["database"] for row in rows(folder, "find", "doc-00001")] == ["_users"]
    assert [row["database"] for row in rows(folder, "find", "*", "--database", "*")] == ["orders"] * 2 + ["stock"]


@pytest.mark.parametrize("what", ["index-*", "manifest*"])
def test_an_older_snapshot_serves_where_the_newest_cannot_be_read(folder: Path, what: str) -> None:
    """What it holds is found, and the exit code says that something is damaged; an index is passed over."""
    lose(snapshots(folder)[1], what)
    code, lines, said = look(folder, "find", "b", "--json")
    assert (code, len(lines), snapshots(folder)["index" in what].name in lines[0]) == (
        0 if "index" in what else 4,
        1,
        True,
    )
    assert ("orders: " in said) is (code == 4)
    code, lines, said = look(folder, "find", "nowhere")
    assert (code, lines) == (2 if "index" in what else 4, [])
    assert "No document 'nowhere'" in said
    assert ("migrator backups check --from b" in said) is (code == 4)


@pytest.mark.parametrize("words", [["find", "z"], ["find", "z*"], ["find", "n=5"], ["ls", "--database", "*", "z"]])
def test_a_broken_chain_is_in_no_others_way(folder: Path, words: list[str]) -> None:
    """Other databases are searched to their end."""
    lose(snapshots(folder)[0], "manifest*")
    code, lines, said = look(folder, *words, "--json")
    assert (code, len(lines), '"database": "stock"' in lines[0], "orders: " in said) == (4, 1, True, True)


def test_a_broken_chain_hides_no_difference_of_others(folder: Path) -> None:
    """Each database that can be compared is."""
    with at(SECOND):
        write(local(folder / "b"), [made("z", "2-a", n=2)], database="stock")
    lose(snapshots(folder)[0], "segment-*")
    code, lines, said = look(folder, "diff", "2026-11-24T12:00Z", "--json")
    assert (code, next(line for line in lines if '"stock"' in line).count('"changed"')) == (4, 1)
    assert "orders: " in said


def test_nothing_is_listed_where_no_database_can_be_read(folder: Path) -> None:
    """Which is no fault of the program."""
    for each in (folder / "b" / "databases").glob("*/*"):
        lose(each, "manifest*")
    code, lines, said = look(folder, "ls", "--database", "*", "a")
    assert (code, lines, "orders: " in said, "stock: " in said) == (4, [], True, True)


def test_each_id_that_is_named_must_be_there(folder: Path) -> None:
    """As for `find`."""
    code, lines, said = look(folder, "ls", "orders", "a", "nowhere", "b*")
    assert (code, len(lines), "holds no document 'nowhere'" in said) == (2, 4, True)
    assert len(rows(folder, "ls", "orders", "a", "b*", "c*")) == 2


@pytest.mark.parametrize("number", [0, 1])
def test_segments_tell_where_an_index_is_damaged(folder: Path, number: int) -> None:
    """What each snapshot held, and what differs."""
    expected = rows(folder, "history", "orders", "a"), rows(folder, "diff", "2026-11-24T12:00Z")
    lose(snapshots(folder)[number], "index-*")
    assert (rows(folder, "history", "orders", "a"), rows(folder, "diff", "2026-11-24T12:00Z")) == expected
    assert [row["change"] for row in expected[0]] == ["added", "changed"]


def test_what_became_of_a_document_is_unknown_where_nothing_before_can_be_read(folder: Path) -> None:
    """It may have been there long before."""
    lose(snapshots(folder)[0], "segment-*")
    code, lines, _ = look(folder, "history", "orders", "a")
    assert (code, [line.split()[2] for line in lines[2:]]) == (4, ["unreadable", "unknown"])


def test_no_time_is_not_the_newest(folder: Path) -> None:
    """A variable of a script that is empty would compare the newest with itself."""
    code, lines, said = look(folder, "diff", "")
    assert (code, lines, "TIME is empty" in said) == (2, [], True)


def test_the_command_that_is_named_takes_an_id_that_begins_with_a_dash(folder: Path) -> None:
    """It would be an option."""
    code, _, said = look(folder, "cat", "orders", "--", "-x")
    assert (code, "migrator backups history --from b orders -- -x" in said) == (2, True)
    code, _, said = look(folder, "history", "orders", "--", "-x")
    assert (code, "holds no document '-x'" in said) == (2, True)
