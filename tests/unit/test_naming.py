"""The names of databases and files."""

from __future__ import annotations

import pytest

from migrator.errors import ConfigError
from migrator.naming import (
    collection_name,
    counted,
    database_name,
    database_names,
    file_name,
    legal_database,
    shown,
)


@pytest.mark.parametrize("name", ["users", "a", "a-b", "x_$()+-/0", "a" * 238])
def test_a_legal_name_stays(name: str) -> None:
    """What CouchDB takes is not changed."""
    assert name == database_name(name)


@pytest.mark.parametrize(
    ("collection", "expected"),
    [
        ("User Profiles", "user_profiles"),
        ("Agents", "agents"),
        ("My-Agents", "my_agents"),
        ("a.b", "a_b"),
        ("1abc", "c_1abc"),
        ("_private", "c__private"),
        ("é", "c__"),
        ("日本", "c___"),
        ("-x", "c__x"),
        ("a\n", "a_"),
        ("A" * 300, "a" * 238),
        ("9" * 300, "c_" + "9" * 236),
    ],
)
def test_any_other_name_becomes_legal(collection: str, expected: str) -> None:
    """Lower case, an underscore for what is not allowed, a letter first, not too long."""
    assert expected == database_name(collection)


@pytest.mark.parametrize("name", ["_users", "_replicator", "_global_changes"])
def test_system_databases_need_leave(name: str) -> None:
    """A system database is refused with the way round it, and taken when it is meant."""
    with pytest.raises(ConfigError, match=f"--map {name}=DATABASE"):
        database_name(name)
    assert name == database_name(name, allow_system=True)
    assert {name: name} == database_names([name], prefix="p_", allow_system=True)
    with pytest.raises(ConfigError, match="system database"):
        database_names([name], prefix="p_")


def test_an_empty_name_is_refused() -> None:
    """There is neither database nor file without a name, prefix or not."""
    for give in (database_name, file_name, lambda name: database_names([name], prefix="p_")):
        with pytest.raises(ConfigError, match="empty name"):
            give("")


def test_each_collection_has_its_database() -> None:
    """Names go through the rule with the prefix, or are chosen by hand."""
    assert database_names(["Users", "1", "x"], overrides={"x": "other"}) == {
        "Users": "users",
        "1": "c_1",
        "x": "other",
    }
    assert database_names(["Users", "1", "x"], prefix="p_", overrides={"x": "o"}) == {
        "Users": "p_users",
        "1": "p_1",
        "x": "o",
    }
    assert database_names(["a", "a"]) == {"a": "a"}


def test_two_collections_never_share_a_database() -> None:
    """A collision names both collections and the remedy, also where one is chosen by hand."""
    with pytest.raises(ConfigError, match=r"'User x' and 'user_x'.*'user_x'.*--map NAME=DATABASE"):
        database_names(["a", "User x", "user_x"])
    with pytest.raises(ConfigError, match=r"'a' and 'b'"):
        database_names(["a", "b"], overrides={"b": "a"})


def test_names_chosen_by_hand_must_be_legal() -> None:
    """A chosen database or a prefix that CouchDB would refuse is refused at once."""
    with pytest.raises(ConfigError, match=r"'a'.*'Wrong'"):
        database_names(["a"], overrides={"a": "Wrong"})
    with pytest.raises(ConfigError, match="'_users'"):
        database_names(["a"], overrides={"a": "_users"})
    with pytest.raises(ConfigError, match="prefix 'P'"):
        database_names(["a"], prefix="P")
    assert database_names(["a"], overrides={"a": "_users"}, allow_system=True) == {"a": "_users"}


@pytest.mark.parametrize(
    ("collection", "expected"),
    [
        ("users", "users"),
        ("A.b_c-9", "A.b_c-9"),
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("..", "%2E."),
        ("../etc/passwd", "%2E.%2Fetc%2Fpasswd"),
        (".hidden", "%2Ehidden"),
        ("100%", "100%25"),
        ("nul\0", "nul%00"),
        ("é", "%C3%A9"),
        ("\udcff", "%ED%B3%BF"),
    ],
)
def test_file_names_are_safe_and_go_back(collection: str, expected: str) -> None:
    """No name leaves its folder or hides in it, and each is found again."""
    assert expected == file_name(collection)
    assert collection == collection_name(expected)


def test_a_name_too_long_for_a_file_is_refused() -> None:
    """A file's name has its limit, which every legal plain database name keeps."""
    assert file_name("a" * 243) == "a" * 243
    with pytest.raises(ConfigError, match="too long"):
        file_name("a" * 244)
    with pytest.raises(ConfigError, match="too long"):
        file_name("é" * 41)


@pytest.mark.parametrize("stem", ["100%", "%", "%zz", "%FF", "é"])
def test_a_stem_of_another_making_is_taken_as_it_is(stem: str) -> None:
    """People name files as they like."""
    assert stem == collection_name(stem)


def test_names_from_outside_are_shown_on_one_line() -> None:
    """No line break, escape sequence or endless name reaches a message."""
    assert shown("a\nb\x1b") == "'a\\nb\\x1b'"
    assert len(shown("x" * 1000)) == 82


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("document",), "0 documents"),
        (1, ("document",), "1 document"),
        (2_000, ("document",), "2,000 documents"),
        (1, ("leaf", "leaves"), "1 leaf"),
        (3, ("leaf", "leaves"), "3 leaves"),
    ],
)
def test_a_number_goes_with_its_noun(count: int, words: tuple[str, ...], text: str) -> None:
    """One thing is told in the singular, any other number in the plural."""
    assert counted(count, *words) == text


ILLEGAL = [
    "Hunt22",
    "hunt22.x",
    "1a",
    "-a",
    "a b",
    "é",
    "a%",
    "a.b",
    "_own",
    "_dbs",
    "A",
    "a:b",
    "a,b",
    "a\n",
    " a",
    "a?",
    "a#",
]
ILLEGAL += ["a" * 239, "", "aB", "a~", "a!", "a@b", "a\\b", "数"]


@pytest.mark.parametrize("name", ILLEGAL)
def test_a_chosen_name_is_refused_and_never_changed(name: str) -> None:
    """By one rule for each way to choose it."""
    with pytest.raises(ConfigError, match="not a legal name"):
        legal_database(name)
    with pytest.raises(ConfigError, match="not a legal name"):
        database_names(["x"], overrides={"x": name})


@pytest.mark.parametrize("name", ["a", "a/b", "a_$()+/-9", "a" * 238, "_users", "_replicator"])
def test_a_legal_chosen_name_stays(name: str) -> None:
    """System databases are one's own choice where they can be written to."""
    assert legal_database(name) == name
    if name.startswith("_"):
        with pytest.raises(ConfigError, match="system database"):
            legal_database(name, allow_system=False)


@pytest.mark.parametrize("name", ["http://joe:geh3im@host:5984/db", "joe:geh3im@host/db"])
def test_a_url_in_place_of_a_name_gives_no_name_to_write(name: str) -> None:
    """A name made of it would show its password where no URL is recognised any more."""
    with pytest.raises(ConfigError) as caught:
        legal_database(name)
    assert "geh3im" not in str(caught.value.hint)
    assert "Write" not in str(caught.value.hint)
