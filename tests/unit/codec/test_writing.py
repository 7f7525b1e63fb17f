"""Writing of documents: one line, `_id` first, exact, and nothing that was not declared."""

from __future__ import annotations

import collections
import copy
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from migrator.codec import BOOKKEEPING, PLAIN, STRICT, TAGGED, VALUE_CODECS, Unencodable, canonical, decode, encode
from migrator.codec.writing import normalise
from tests.support.exactness import same

DEPTH = 50_000
EVERY_CODEC = pytest.mark.parametrize("codec", VALUE_CODECS.values(), ids=lambda codec: codec.name)


def refused(document: Any, codec: Any = PLAIN) -> Unencodable:
    """The Unencodable that encoding raises."""
    with pytest.raises(Unencodable) as caught:
        encode(document, codec)
    return caught.value


@EVERY_CODEC
def test_id_comes_first_and_the_rest_keeps_its_order(codec: Any) -> None:
    """The order of the other fields is the document's own; the text is compact UTF-8."""
    assert '{"_id":"ü","b":1,"a":"é😀"}'.encode() == encode({"b": 1, "_id": "ü", "a": "é😀"}, codec)


@EVERY_CODEC
def test_bookkeeping_is_left_out_at_the_top_only(codec: Any) -> None:
    """A stray _rev and its like are not sent; the same names deeper inside, and other underscores, are kept."""
    inner = dict.fromkeys(sorted(BOOKKEEPING), 1)
    document = {**inner, "a": inner, "__v": 2, "_attachments": {}, "_id": "x"}
    assert {"_id": "x", "a": inner, "__v": 2, "_attachments": {}} == decode(encode(document, codec))
    assert {"_rev", "_revisions", "_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq"} == BOOKKEEPING


@EVERY_CODEC
def test_json_values_are_written_exactly(codec: Any) -> None:
    """What is JSON already comes back the same whatever the codec, integers beyond 64 bits included."""
    document = {
        "ints": [0, -1, 2**53 + 1, 2**63, 2**64 - 1, -(2**63), int("9" * 400), -(2**64)],
        "floats": [0.0, -0.0, 1.0, 1e16, 1e22, 1e-7, 5e-324, 1.7976931348623157e308, 0.1],
        "words": [True, False, None],
        "texts": ["", "\x00", "\u2028", "😀", "\x7f", '"\\/', "e\u0301", "\ufffe", "line\nbreak"],
        "": {"": [], "x": {}},
    }
    body = encode(document, codec)
    assert b"\n" not in body
    assert same(document, decode(body))
    del document["ints"]
    assert same(document, decode(encode(document, codec)))


@EVERY_CODEC
def test_the_input_is_never_changed(codec: Any) -> None:
    """Neither the fast nor the exact path touches what it is given."""
    document = {"b": [1, {"$type": 2}], "_rev": "1-a", "_id": "x", "big": 2**70}
    before = copy.deepcopy(document)
    encode(document, codec)
    assert same(before, document)


@EVERY_CODEC
def test_documents_of_any_depth_are_written(codec: Any) -> None:
    """A hundred thousand levels, objects and arrays in turn, are not trouble."""
    text = b'{"a":[' * DEPTH + b'1.5,{"b":"x"},{},[]' + b"]}" * DEPTH
    assert text == encode(decode(text), codec)


@EVERY_CODEC
@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"a": "\ud800"}, "a"),
        ({"a": [{"b": "x\udfff"}]}, "a[0].b"),
        ({"a": {"\udc00": 1}}, 'a["\\udc00"]'),
        ({"\ud83d": 1}, '["\\ud83d"]'),
    ],
)
def test_half_a_surrogate_pair_is_unencodable(codec: Any, document: dict[str, Any], path: str) -> None:
    """It is not Unicode text, and would fail a whole batch at the server; the path names value or key."""
    fault = refused(document, codec)
    assert ("lone_surrogate", path) == (fault.error, fault.path)
    assert fault.reason.startswith(f"{path} holds half a surrogate pair")
    assert fault.reason == str(fault)


@EVERY_CODEC
@pytest.mark.parametrize(
    ("document", "path", "kind"),
    [
        ({1: 2}, "the document", "int"),
        ({"a": {None: 2}}, "a", "NoneType"),
        ({"a": [{}, {(1, 2): 3}]}, "a[1]", "tuple"),
        ({"a": {True: 3}}, "a", "bool"),
        ({"a": {b"k": 3}}, "a", "bytes"),
    ],
)
def test_keys_that_are_no_strings_are_unencodable(codec: Any, document: Any, path: str, kind: str) -> None:
    """No key is turned into a string silently, as the standard library would."""
    fault = refused(document, codec)
    assert ("key_not_string", path) == (fault.error, fault.path)
    assert f"of type {kind}" in fault.reason


@EVERY_CODEC
def test_circles_are_unencodable_but_shared_parts_are_not(codec: Any) -> None:
    """A container inside itself has no JSON; one that stands at two places is written twice."""
    circle: list[Any] = [1]
    circle.append({"back": circle})
    fault = refused({"a": circle}, codec)
    assert (fault.error, fault.path) == ("circular", "a[1].back")
    shared = {"x": [1]}
    assert {"a": shared, "b": [shared, shared]} == decode(encode({"a": shared, "b": [shared, shared]}, codec))


@EVERY_CODEC
def test_integers_too_long_for_python_are_unencodable(codec: Any) -> None:
    """Python writes no integer of more than 4300 digits, and `decode` would read none."""
    fault = refused({"a": [10**4299, {"b": 10**4300}]}, codec)
    assert (fault.error, fault.path) == ("integer_too_long", "a[1].b")


class Text(str):
    """A string of the application's own."""

    __slots__ = ()

    def __str__(self) -> str:
        return "not the text"


class Whole(int):
    """An integer of the application's own."""


class Shelf(Sequence[Any]):
    """A sequence that is not a list."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]


class Box(Mapping[str, Any]):
    """A mapping that is not a dict."""

    def __init__(self, **items: Any) -> None:
        self.items_by_name = items

    def __len__(self) -> int:
        return len(self.items_by_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.items_by_name)

    def __getitem__(self, key: str) -> Any:
        return self.items_by_name[key]


@EVERY_CODEC
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Text("x"), "x"),
        (Whole(7), 7),
        (Whole(2**70), 2**70),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (types.MappingProxyType({"a": Text("y")}), {"a": "y"}),
        (Box(a=1, b=Shelf(1, 2)), {"a": 1, "b": [1, 2]}),
        (collections.deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (collections.UserList([1, {"a": 2}]), [1, {"a": 2}]),
        (collections.UserDict(a=1), {"a": 1}),
        ({Text("k"): 1}, {"k": 1}),
    ],
)
def test_subclasses_of_json_types_are_the_things_themselves(codec: Any, value: Any, expected: Any) -> None:
    """Mappings, sequences and subclasses of str and int are JSON to every codec."""
    assert same({"v": expected}, decode(encode({"v": value}, codec)))
    assert same({"v": expected}, decode(encode(Box(v=value), codec)))


@EVERY_CODEC
@pytest.mark.parametrize("value", [object(), int, 1j, collections.UserString("x"), print, iter([]), {}.keys()])
def test_unknown_types_are_unencodable_with_path_and_type(codec: Any, value: Any) -> None:
    """Nothing is passed through `str` silently."""
    fault = refused({"address": {"lines": ["x", {"odd key": value}]}}, codec)
    assert (fault.error, fault.path) == ("unknown_type", 'address.lines[1]["odd key"]')
    assert f"is of type {'' if type(value).__module__ == 'builtins' else 'collections.'}" in fault.reason
    assert type(value).__name__ in fault.reason


def test_what_is_no_mapping_is_no_document() -> None:
    """A list or a string at the top is refused before anything is read of it."""
    for value in ([1], "x", None):
        assert refused(value).error == "not_an_object"


def test_a_failing_conversion_is_told_with_its_path() -> None:
    """An object whose own code fails makes its document unencodable and the run goes on."""

    class Broken(Box):
        def __getitem__(self, key: str) -> Any:
            raise RuntimeError("the shelf fell down")

    fault = refused({"a": [Broken(x=1)]})
    assert (fault.error, fault.path) == ("conversion_failed", "a[0]")
    assert "RuntimeError: the shelf fell down" in fault.reason


def test_a_key_that_cannot_be_shown_is_still_told() -> None:
    """An integer key of 5000 digits has no text, and its document is refused all the same."""
    fault = refused({"a": {10**5000: 1}})
    assert (fault.error, fault.path) == ("key_not_string", "a")
    assert "<int: ValueError> of type int" in fault.reason


def test_keys_that_fall_together_are_unencodable() -> None:
    """Two keys that are one text would lose a value silently."""

    class Odd(Text):
        __slots__ = ()

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return self is other

    fault = refused({"a": {"k": 1, Odd("k"): 2}})
    assert (fault.error, fault.path) == ("duplicate_key", "a")


def test_an_interrupt_during_a_conversion_is_not_swallowed() -> None:
    """Ctrl-C in the middle of a value's own code ends the run and not just the fast path."""

    class Interrupting(Box):
        asked = 0

        def __iter__(self) -> Iterator[str]:
            Interrupting.asked += 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode({"a": Interrupting()})
    assert Interrupting.asked == 1


def test_canonical_sorts_keys_at_every_level_by_code_points() -> None:
    """One content has one text, whatever the order of its keys; floats are spelled as Python does."""
    one = {"b": {"😀": 1, "\uffff": 2, "a": 1e16}, "a": [{"y": 1, "x": 2}]}
    other = {"a": [{"x": 2, "y": 1}], "b": {"a": 1e16, "\uffff": 2, "😀": 1}}
    assert '{"a":[{"x":2,"y":1}],"b":{"a":1e+16,"\uffff":2,"😀":1}}'.encode() == canonical(one)
    assert canonical(one) == canonical(other)
    assert canonical([float("nan"), "x", 1]) == b'[null,"x",1]'


def test_canonical_sorts_at_any_depth() -> None:
    """Where the standard encoder gives up, the keys are sorted all the same."""
    text = b'{"z":1,"a":' * DEPTH + b"1" + b"}" * DEPTH
    assert canonical(decode(text)) == b'{"a":' * DEPTH + b"1" + b',"z":1}' * DEPTH


def test_a_deep_fault_is_named_in_short() -> None:
    """The path of a fault fifty thousand levels down fits into a sentence."""
    value: Any = object()
    for _ in range(DEPTH):
        value = {"a": value}
    fault = refused(value)
    assert "(50000 levels deep)" in fault.path
    assert len(fault.reason) < 400


def test_sets_are_sorted_by_canonical_text() -> None:
    """A set has one form, whatever its elements and whichever path writes the rest."""
    elements = {None, 1, "x", (2, 1), frozenset({"b", "a"})}
    assert same(["x", 1, ["a", "b"], [2, 1], None], normalise(elements, PLAIN))
    assert encode({"a": elements}) == b'{"a":["x",1,["a","b"],[2,1],null]}'


def test_strict_and_tagged_take_the_exact_path() -> None:
    """Orjson would write NaN as null by itself, so no codec but the plain one may use it."""
    assert PLAIN.native is not None
    assert (STRICT.native, TAGGED.native) == (None, None)
