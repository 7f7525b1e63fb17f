"""Names and patterns choose databases and collections in the same way everywhere."""

from __future__ import annotations

import pytest

from migrator import naming
from migrator.couch.places import refuse_itself
from migrator.errors import ConfigError

NAMES = ["_replicator", "_users", "b", "a", "a[1]", "a*"]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ([], NAMES),
        (["a"], ["a"]),
        (["a", "b"], ["b", "a"]),
        (["a*"], ["a*"]),
        (["a?"], ["a*"]),
        (["?*"], ["b", "a", "a[1]", "a*"]),
        (["a[1]"], ["a[1]"]),
        (["*"], ["b", "a", "a[1]", "a*"]),
        (["_users"], ["_users"]),
        (["_*", "b"], ["_replicator", "_users", "b"]),
    ],
)
def test_what_is_chosen(patterns: list[str], chosen: list[str]) -> None:
    """A name as it is, a pattern what fits, in order; the server's own only by their names."""
    assert naming.selected(NAMES, patterns, "s") == chosen


def test_what_means_nothing_is_an_error() -> None:
    """It says what there is, and what was meant."""
    with pytest.raises(ConfigError, match=r"no database 'odrers'\. Did you mean 'orders'\? It has: orders, x\."):
        naming.selected(["orders", "x"], ["x", "odrers"], "s")
    with pytest.raises(ConfigError, match=r"f has no collection 'z\*'\. It has none\."):
        naming.selected([], ["z*"], "f", "collection")


@pytest.mark.parametrize(
    ("source", "target", "one"),
    [
        ("http://h:5984/a", "http://h:5984/a", True),
        ("http://localhost:5984/a", "http://127.0.0.1:5984/a", True),
        ("http://[::1]:5984/a%2Fb", "http://localhost:5984/a/b/", True),
        ("http://h/a", "http://h:80/a", True),
        ("http://h:5984/a", "http://h:5984/b", False),
        ("http://h:5984/a", "http://h:5985/a", False),
        ("http://h:5984/couch/a", "http://h:5984/a", False),
        ("orders.backup", "http://h:5984/a", False),
    ],
)
def test_a_database_is_not_the_target_of_itself(source: str, target: str, one: bool) -> None:
    """Whatever address of this machine it is called by."""
    if not one:
        refuse_itself(source, target, instead="")
        return
    with pytest.raises(ConfigError, match="one database, http"):
        refuse_itself(source, target, instead="Name another.")
