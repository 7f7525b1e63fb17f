"""How a place in a document is named."""

from typing import Any

import pytest

from migrator.codec.faults import find, path_text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([], "the document"),
        (["a"], "a"),
        (["address", "lines", 2], "address.lines[2]"),
        (["odd key", "x"], '["odd key"].x'),
        (["a", ""], 'a[""]'),
        (["a", "b.c"], 'a["b.c"]'),
        (["a", "0"], 'a["0"]'),
        (["_id", "$ref", "x-y"], '_id["$ref"].x-y'),
        (["straße", "名前"], "straße.名前"),
        (["\ud800"], '["\\ud800"]'),
        (["two\nlines"], '["two\\nlines"]'),
        ([0, 1, "a"], "[0][1].a"),
        (["k" * 100], '["' + "k" * 80 + '…"]'),
    ],
)
def test_paths_read_like_code(path: list[str | int], expected: str) -> None:
    """Names stand with dots, indexes and odd names in brackets, on one line."""
    assert expected == path_text(path)


def test_long_paths_show_their_ends() -> None:
    """Ten steps from either end and the depth are enough to find the place."""
    text = path_text(["a"] * 15 + ["b"] * 15)
    assert ".".join("a" * 10) + " … " + ".".join("b" * 10) + " (30 levels deep)" == text


def test_find_gives_the_first_in_document_order() -> None:
    """Values and keys are looked at in the order in which they stand, and nothing found is None."""
    document = {"a": [1, {"b": 2}], "c": {"b": 3}}
    assert find(document, lambda value: value == "b") == ["a", 1, "b"]
    assert find(document, lambda value: value == 3) == ["c", "b"]
    assert find(document, lambda value: value == 4) is None


def test_find_ends_where_a_container_holds_itself() -> None:
    """An object of a live process can hold itself; what stands twice is looked at twice."""
    shared = {"x": 5}
    document: dict[str, Any] = {"a": [shared, shared]}
    document["self"] = document
    document["a"].append(document["a"])
    document["last"] = 6
    assert find(document, lambda value: value == 6) == ["last"]
    assert find(document, lambda value: value == 7) is None
    assert find({"a": {}, "b": shared, "c": shared | {"x": 6}}, lambda value: value == 6) == ["c", "x"]
