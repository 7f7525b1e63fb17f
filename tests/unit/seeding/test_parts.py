"""Design documents as folders, indexes as lists, users by their hashes, and changes for people."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.couch import users
from migrator.fixtures import indexes
from migrator.fixtures.design import read_design, write_design
from migrator.fixtures.differences import MAX_CHANGES, Change, changes_between
from migrator.fixtures.options import SeedOptions
from migrator.fixtures.problems import Problem
from migrator.fixtures.seeder import Seeder

KEYS = st.text("abcXYZ._-é/%", min_size=1, max_size=6).filter(lambda key: not key.startswith("_"))
DESIGNS = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"])) | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(document=st.dictionaries(KEYS, DESIGNS, max_size=4))
def test_design_documents_survive_as_folders(
    document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is in a design document is the same after it was written as files and read."""
    root: Path = tmp_path_factory.mktemp("design")
    for name, text in write_design({"_id": "_design/x", "_rev": "1-a", **document}):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(text.encode())
    problems: list[Problem] = []
    assert document == read_design(root, "x", problems)
    assert problems == []


def test_functions_are_text_files() -> None:
    """What people review is code with its lines, not JSON with escapes."""
    document = {
        "language": "javascript",
        "views": {"v": {"map": "function(d){\n}", "reduce": "_sum"}, "lib": {"util": "exports.x = 1"}},
        "validate_doc_update": "function(){}",
        "filters": {"mine": "function(){}"},
        "options": {"partitioned": False},
        "empty": {},
    }
    assert dict(write_design(document)) == {
        "empty.json": "{}\n",
        "filters/mine.js": "function(){}\n",
        "language.txt": "javascript\n",
        "options/partitioned.json": "false\n",
        "validate_doc_update.js": "function(){}\n",
        "views/lib/util.js": "exports.x = 1\n",
        "views/v/map.js": "function(d){\n}\n",
        "views/v/reduce.js": "_sum\n",
    }


@pytest.mark.parametrize(
    ("fixture", "there", "expected"),
    [
        ({"fields": ["a"]}, {"fields": [{"a": "asc"}]}, True),
        ({"fields": ["a", {"b": "desc"}]}, {"fields": [{"a": "asc"}, {"b": "desc"}]}, True),
        ({"fields": ["a", "b"]}, {"fields": [{"b": "asc"}, {"a": "asc"}]}, False),
        ({"fields": ["a"], "partial_filter_selector": {}}, {"fields": [{"a": "asc"}]}, True),
        ({"fields": ["a"], "partial_filter_selector": {"b": 1}}, {"fields": [{"a": "asc"}]}, False),
    ],
)
def test_indexes_are_compared_as_the_server_lists_them(
    fixture: dict[str, Any], there: dict[str, Any], expected: bool
) -> None:
    """A field alone is an ascending one, and an empty filter is none; the order of fields counts."""
    names = {"ddoc": "d", "name": "n"}
    found = indexes.equal(
        {**names, "index": fixture}, {**names, "type": "json", "index": there}, partitioned=False
    )
    assert expected is found


def test_an_index_of_another_partitioning_is_another() -> None:
    """Global and partitioned indexes answer different queries."""
    ours = {"ddoc": "d", "name": "n", "index": {"fields": ["a"]}}
    there = {**ours, "type": "json", "partitioned": False}
    assert not indexes.equal(ours, there, partitioned=True)
    assert indexes.equal({**ours, "partitioned": False}, there, partitioned=True)


def user(password: str, **fields: Any) -> dict[str, Any]:
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", 10, 32).hex()
    stored = {"_id": "org.couchdb.user:a", "_rev": "1-a", "name": "a", "type": "user", "roles": []}
    hashed = {"password_scheme": "pbkdf2", "pbkdf2_prf": "sha256", "salt": "salt", "iterations": 10}
    return {**stored, **hashed, "derived_key": key, **fields}


FIXTURE = {"_id": "org.couchdb.user:a", "name": "a", "type": "user", "roles": [], "password": "pw"}


def test_a_stored_user_with_the_password_is_equal() -> None:
    """The hash is computed again from the stored salt; a user is never written twice for it."""
    assert users.differing(FIXTURE, user("pw")) is None


@pytest.mark.parametrize(
    ("there", "path"),
    [
        (user("other"), "password"),
        (user("pw", roles=["x"]), "roles[0]"),
        (user("pw", iterations=11), "password"),
        (user("pw", salt="pepper"), "password"),
        (user("pw", iterations="many"), "password"),
        (user("pw", derived_key="xyz"), "password"),
        (user("pw", pbkdf2_prf="md17"), "password"),
        (user("pw", password_scheme="argon"), "password"),
        (user("pw", email="x"), "email"),
    ],
)
def test_another_user_is_different(there: dict[str, Any], path: str) -> None:
    """Another password, other fields, or a hash that is not understood make a difference."""
    assert path == users.differing(FIXTURE, there)


def test_older_hashes_are_understood() -> None:
    """PBKDF2 with SHA-1, and the salted SHA-1 of old releases."""
    derived = hashlib.pbkdf2_hmac("sha1", b"pw", b"s", 10, 20).hex()
    old = {"password_scheme": "pbkdf2", "salt": "s", "iterations": 10, "derived_key": derived}
    assert users.has_password(old, "pw")
    simple = {"password_scheme": "simple", "salt": "s", "password_sha": hashlib.sha1(b"pws").hexdigest()}
    assert users.has_password(simple, "pw")
    assert not users.has_password(simple, "wp")


def test_a_hash_in_the_fixture_is_compared_as_it_is() -> None:
    """A snapshot's users have hashes and no passwords."""
    fixture = {key: value for key, value in user("pw").items() if key != "_rev"}
    assert users.differing(fixture, user("pw")) is None
    assert users.differing(fixture, user("pw", salt="x")) == "salt"


def test_changes_name_both_sides() -> None:
    """Each differing value by its path, with what is missing on one side as nothing."""
    fixture = {"a": 1, "b": {"c": [1, 2]}, "d": True, "same": [1]}
    there = {"a": 1.0, "b": {"c": [1, 3, 4]}, "e": None, "same": [1]}
    assert changes_between(fixture, there) == [
        Change("a", "1", "1.0"),
        Change("b.c[1]", "2", "3"),
        Change("b.c[2]", "", "4"),
        Change("d", "true", ""),
        Change("e", "", "null"),
    ]
    assert len(changes_between(list(range(100)), list(range(1, 101)))) == MAX_CHANGES


@pytest.mark.parametrize(
    ("exact", "keep_users", "name", "expected"),
    [
        (True, False, "_users", True),
        (True, True, "_users", False),
        (True, True, "orders", True),
        (False, False, "orders", False),
    ],
)
def test_users_of_other_jobs_are_not_removed(exact: bool, keep_users: bool, name: str, expected: bool) -> None:
    """_users is shared by all prefixes, so --exact with one leaves others' users alone."""
    seeder = object.__new__(Seeder)
    seeder.options = SeedOptions(exact=exact, keep_users=keep_users)
    assert expected is seeder._removes_extras(name)
