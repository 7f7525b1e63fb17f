"""Reading a live process."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
import types
from collections import UserDict, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from migrator import database as ours
from migrator.codec.rejected import Unfixed
from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.memory import MemoryExtractor, object_of
from migrator.files.identity import same_identity
from migrator.model import Fault, Record
from migrator.plugins import load_attribute
from tests.support.processes import LIMIT_S


def named(spec: str) -> object:
    """The source that a name stands for."""
    return object_of(load_attribute(spec), spec)


class Service:
    """The application's in-memory service, whatever its store is called."""

    def __init__(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            setattr(self, name, value)


class ListingService:
    """A service that shows its documents by list_all alone."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._hidden = data

    def list_all(self, db_name: str) -> Any:
        """The documents, as the real one gives them."""
        return self._hidden[db_name]


def read(source: object, collection: str = "a") -> list[Record]:
    """All records of a collection."""
    return list(MemoryExtractor(source, name="app:db").extract(collection))


def documents(source: object, collection: str = "a") -> list[Any]:
    """All documents of a collection."""
    return [record.document for record in read(source, collection)]


@pytest.mark.parametrize(
    "source",
    [
        {"a": {"1": {"n": 1}}},
        UserDict({"a": UserDict({"1": UserDict({"n": 1})})}),
        Service(dbs={"a": {"1": {"n": 1}}}),
        Service(_data={"a": {"1": {"n": 1}}}),
        Service(dbs=None, _data={"a": {"1": {"n": 1}}}),
        {"a": [{"_id": "1", "n": 1}]},
        {"a": ({"_id": "1", "n": 1},)},
    ],
)
def test_shapes_of_sources(source: object) -> None:
    """Mappings and services with mappings, of documents by id or in lists."""
    extractor = MemoryExtractor(source, name="app:db")
    assert extractor.collections() == ("a",)
    assert extractor.count("a") == 1
    assert extractor.describe() == "memory:app:db"
    found = [record.document for record in extractor.extract("a")]
    assert found == [{"_id": "1", "n": 1}]
    assert [type(document) for document in found] == [dict]


class MemoryDBService:
    """The application's own: the id is the key alone, and `list_all` gives documents without it."""

    def __init__(self, dbs: dict[str, dict[str, dict[str, Any]]]) -> None:
        self.dbs = dbs

    def list_all(self, db_name: str) -> list[dict[str, Any]]:
        """Documents without `_id`."""
        return list(self.dbs.get(db_name, {}).values())


class Subclass(ours.MemoryDBService):
    """An application's service on top of this library's."""

    def save(self, db_name: str, doc_id: str, doc: Mapping[str, Any]) -> ours.Saved:
        """As before, with a mark."""
        return super().save(db_name, doc_id, {**doc, "marked": True})


def saved(service: ours.MemoryDBService) -> ours.MemoryDBService:
    """A service that two documents were saved into."""
    service.save("a", "2", {"n": [2]})
    service.save_many("a", [{"_id": "1", "n": [1]}])
    return service


SERVICES: dict[str, Any] = {
    "ours": saved(ours.MemoryDBService()),
    "ours by its first name": saved(ours.MemoryDatabase()),
    "ours by settings": saved(ours.get_database_service(ours.Settings(DATABASE_PROVIDER="memory"))),  # type: ignore[arg-type]
    "a subclass": saved(Subclass()),
    "the application's, without ids": MemoryDBService({"a": {"2": {"n": [2]}, "1": {"n": [1]}}}),
    "the application's, with ids": MemoryDBService(
        {"a": {"2": {"_id": "2", "n": [2]}, "1": {"_id": "1", "n": [1]}}}
    ),
    "the application's, of both kinds": MemoryDBService({"a": {"2": {"n": [2]}, "1": {"_id": "1", "n": [1]}}}),
    "private data without ids": Service(_data={"a": {"2": {"n": [2]}, "1": {"n": [1]}}}),
    "list_all alone, with ids": ListingService({"a": [{"_id": "1", "n": [1]}, {"_id": "2", "n": [2]}]}),
    "a mapping": {"a": {"2": {"n": [2]}, "1": {"n": [1]}}},
}


@pytest.mark.parametrize("source", SERVICES.values(), ids=SERVICES)
def test_services_of_every_shape(source: Any) -> None:
    """Each gives its documents with their ids, and comes out as it went in."""
    before = copy.deepcopy(
        source if isinstance(source, dict) else vars(source).get("dbs", vars(source).get("_data"))
    )
    found = MemoryExtractor(source, name="app:db", collections=["a"]).extract("a")
    documents = [
        {key: value for key, value in (record.document or {}).items() if key != "marked"} for record in found
    ]
    assert documents == [{"_id": "1", "n": [1]}, {"_id": "2", "n": [2]}]
    documents[0]["n"] = "changed"
    assert before == (source if isinstance(source, dict) else vars(source).get("dbs", vars(source).get("_data")))


@pytest.mark.parametrize("source", [None, 7, "text", [{"_id": "1"}], Service(), Service(dbs=[1])])
def test_what_holds_no_collections_is_refused(source: object) -> None:
    """The message says what it is and what is expected."""
    with pytest.raises(
        ConfigError, match=r"memory:app:db is .*, which holds no collections\. Expected {collection"
    ):
        MemoryExtractor(source, name="app:db")


@pytest.mark.parametrize("inner", [None, 7, "text", b"bytes", {"x"}])
def test_what_is_no_collection_is_refused(inner: object) -> None:
    """A value that is neither a mapping nor a list is named with its collection."""
    with pytest.raises(ConfigError, match="memory:app:db settings holds no documents"):
        MemoryExtractor({"users": {}, "settings": inner}, name="app:db")
    with pytest.raises(ConfigError, match="7: a collection's name is not a string but an int"):
        MemoryExtractor({7: {}}, name="app:db")


def test_the_source_is_left_alone() -> None:
    """Neither the mapping nor a document is changed, and no document is handed out itself."""
    source = defaultdict(dict, {"a": {"2": {"n": [1]}, "1": {"_id": "1", "_rev": "1-x"}}, "b": {}})
    before = copy.deepcopy(source)
    found = documents(source)
    assert found == [{"_id": "1", "_rev": "1-x"}, {"_id": "2", "n": [1]}]
    for document in found:
        document["changed"] = True
    extractor = MemoryExtractor(source, name="x")
    del source["b"]
    assert list(extractor.extract("b")) == []
    assert extractor.count("b") == 0
    del before["b"]
    assert before == source


def test_documents_of_lists_are_left_alone() -> None:
    """What is handed out of a list is another object too."""
    source = {"a": [{"_id": "1"}]}
    for document in documents(source):
        document["changed"] = True
    assert source == {"a": [{"_id": "1"}]}


def test_ids_come_in_the_order_of_their_bytes() -> None:
    """Beyond the basic plane too, where other orders of Unicode differ."""
    ids = ["\uffff", "\U0001f600", "é", "z", "a", "A", "~", "\ue000"]
    source: dict[str, Any] = {"a": {key: {} for key in ids}}
    expected = sorted(ids, key=str.encode)
    assert expected == [document["_id"] for document in documents(source)]
    assert MemoryExtractor(source, name="x").ordered
    assert not MemoryExtractor({"a": {}, "b": []}, name="x").ordered
    assert MemoryExtractor({"a": {}, "b": []}, name="x", collections=["a"]).ordered


def test_keys_that_cannot_be_ids_are_faults() -> None:
    """Each names its place; the others are read."""
    source: dict[str, Any] = {
        "a": {
            "": {"n": 1},
            7: {"n": 2},
            "ok": {},
            None: {"n": 3},
            "m": {"_id": "other"},
            "o": [1],
            "p": {"_id": 5},
        }
    }
    records = read(source)
    place = "memory:app:db a"
    expected = [
        Fault("empty_id", f"{place} '': the key is empty", "", {"n": 1}),
        Fault(
            "id_mismatch",
            f"{place} 'm': the document has the _id 'other', which is not its key",
            "m",
            {"_id": "other"},
        ),
        Fault("not_an_object", f"{place} 'o': expected a mapping, found a list", "o", [1]),
        None,
        Fault(
            "id_mismatch",
            f"{place} 'p': the document has the _id 5, which is not its key",
            "p",
            {"_id": Unfixed(5)},
        ),
        Fault("id_not_string", f"{place} 7: the key is not a string but an int", "", {"n": 2}),
        Fault("id_not_string", f"{place} None: the key is not a string but None", "", {"n": 3}),
    ]
    assert expected == [record.fault for record in records]


def test_goes_on_after_odd_keys() -> None:
    """From the position of each record, faults among them, exactly the rest is read."""
    source: dict[str, Any] = {"a": {"": {}, 7: {}, "ok": {}, None: {}, "\udcff": {}, "z": {}, (1, 2): {}}}
    extractor = MemoryExtractor(source, name="x")
    records = list(extractor.extract("a"))
    assert len(records) == 7
    for number, record in enumerate(records, 1):
        str(record.position).encode()
        assert records[number:] == list(extractor.extract("a", after=record.position))


def test_positions_are_keys_and_not_numbers() -> None:
    """What is added, changed or removed after the position in the meantime does not move it."""
    source: dict[str, Any] = {"a": {"b": {}, "d": {}, "f": {}, "g": {}}}
    second = read(source)[1]
    del source["a"]["g"]
    source["a"]["e"] = {}
    source["a"]["f"] = {"n": 1}
    rest = MemoryExtractor(source, name="x").extract("a", after=second.position)
    assert [record.document for record in rest] == [{"_id": "e"}, {"_id": "f", "n": 1}]


@dataclass
class Own:
    """A value of the application's own."""

    n: int


VALUES: list[Any] = [
    {"n": 1},
    {"n": 2},
    {"n": 1.0},
    {"n": True},
    {"n": "1"},
    {"n": None},
    {"n": [1]},
    {"n": {"m": 1}},
    {"n": math.nan},
    {"n": 2**70},
    {"n": "\ud800"},
    {"n": Decimal("1.0")},
    {"n": Decimal("1.00")},
    {"n": date(2024, 1, 2)},
    {"n": b"1"},
    {"n": {"a", "b", "c"}},
    {"n": Own(1)},
    {"n": Own(2)},
    {"m": 1},
    {},
    UserDict({"n": 7}),
    7,
    None,
]


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_a_changed_object_is_known(number: int) -> None:
    """Any other value of what was read before is another object; an equal one, also a copy, is the same."""
    source: dict[str, Any] = {"a": {"a": {}, "b": VALUES[number], "c": {}, "d": {}}}
    position = read(source)[2].position
    for other, value in enumerate(VALUES):
        changed = MemoryExtractor({"a": {**source["a"], "b": copy.deepcopy(value)}}, name="x")
        if other == number:
            assert [record.document for record in changed.extract("a", after=position)] == [{"_id": "d"}]
            continue
        with pytest.raises(CheckpointError, match="has changed since the checkpoint") as caught:
            changed.extract("a", after=position)
        assert "--restart" in caught.value.hint


@pytest.mark.parametrize(
    "changed",
    [
        {"b": {}, "c": {}, "d": {}},
        {"a": {}, "aa": {}, "b": {}, "c": {}, "d": {}},
        {"a": {}, "c": {}, "d": {}},
        {"a": {}, "b2": {}, "c": {}, "d": {}},
        {"": {}, "a": {}, "b": {}, "c": {}, "d": {}},
        {"c": {}, "d": {}},
        {},
    ],
)
def test_another_object_is_known(changed: dict[str, Any]) -> None:
    """One that has more, fewer or other ids up to the position, such as another environment's."""
    position = read({"a": {"a": {}, "b": {}, "c": {}, "d": {}}})[2].position
    with pytest.raises(CheckpointError, match="has changed since the checkpoint"):
        MemoryExtractor({"a": changed}, name="x").extract("a", after=position)


def test_positions_of_the_version_before_are_read() -> None:
    """They do not say what was read."""
    source: dict[str, Any] = {"a": {"b": {}, "\udcff": {}, "d": {}, 7: {}, 8: {}}}
    for position, rest in (("key:b", 4), ("key:d", 3), ("hex:edb3bf", 2), ("item:1", 1)):
        found = list(MemoryExtractor(source, name="x").extract("a", after=position))
        assert len(found) == rest


def test_a_digest_is_the_same_in_every_process() -> None:
    """Whatever the seed of its hashes, and whether texts are interned there."""
    code = (
        "from tests.unit.extractors.test_memory import VALUES\n"
        "from migrator.extractors.memory_positions import chained\n"
        "print([chained('', 'k', value) for value in VALUES])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            timeout=LIMIT_S,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_what_vanishes_is_not_read() -> None:
    """A live service may delete and add while it is read: the keys are those of the beginning."""
    source: dict[str, Any] = {"a": {"1": {}, "2": {}, "3": {}}}
    reading = MemoryExtractor(source, name="x").extract("a")
    assert next(reading).document == {"_id": "1"}
    del source["a"]["2"]
    source["a"]["4"] = {}
    assert [record.document for record in reading] == [{"_id": "3"}]


def test_keys_are_listed_in_spite_of_writers() -> None:
    """A mapping that says that it changed is asked again, and one that never stops is an error."""

    class Busy(UserDict[str, Any]):
        tries = 0

        def __iter__(self) -> Iterator[str]:
            self.tries -= 1
            if self.tries >= 0:
                raise RuntimeError("dictionary changed size during iteration")
            return super().__iter__()

    busy = Busy({"1": {}})
    busy.tries = 3
    assert documents({"a": busy}) == [{"_id": "1"}]
    busy.tries = 1000
    with pytest.raises(ConfigError, match="memory:app:db a changes faster than it can be listed"):
        documents({"a": busy})


def test_lists_are_read_in_their_order() -> None:
    """With or without ids, which a transformer may give; what is not a document is a fault with its place."""
    source: dict[str, Any] = {"a": [{"_id": "z"}, {"n": 1}, 7, {"_id": "a"}]}
    extractor = MemoryExtractor(source, name="app:db")
    records = list(extractor.extract("a"))
    assert [record.document for record in records] == [{"_id": "z"}, {"n": 1}, None, {"_id": "a"}]
    assert (
        Fault("not_an_object", "memory:app:db a [2]: expected a mapping, found an int", "", 7) == records[2].fault
    )
    assert extractor.describe_position("a", records[1].position) == "memory:app:db a [1]"
    for number, record in enumerate(records, 1):
        assert records[number:] == list(extractor.extract("a", after=record.position))


def test_identity_of_lists_is_that_of_their_content() -> None:
    """Where positions are numbers, any other list is another; where they are keys, positions say it themselves."""

    def identity(inner: object) -> str:
        return MemoryExtractor({"a": inner}, name="x").identity("a")

    lists = (
        [{"_id": "1"}, {"_id": "2"}],
        [{"_id": "2"}, {"_id": "1"}],
        [{"_id": "1"}],
        [7, {}],
        [{"_id": "\udcff"}],
        [{"_id": "1", "n": 1}],
    )
    assert len({identity(inner) for inner in lists}) == len(lists)
    assert identity([{"_id": "1", "n": 1}]) != identity([{"_id": "1", "n": 2}])
    assert identity([{"_id": "1", "n": 1}]) == identity([{"_id": "1", "n": 1}])
    before = identity([{"_id": "1", "n": 1}]).partition(" ")[0]
    assert same_identity(before, identity([{"_id": "1", "n": 2}]))
    assert identity({"1": {}}) == identity({"2": {}}) == ""


def test_places_are_keys() -> None:
    """A position of a mapping is shown as the key, printable."""
    extractor = MemoryExtractor({"a": {"k\n": {}, "\udcff": {}}}, name="app:db")
    places = [extractor.describe_position("a", record.position) for record in extractor.extract("a")]
    assert places == [r"memory:app:db a 'k\n'", r"memory:app:db a '\udcff'"]


@pytest.mark.parametrize("position", ["", "x", "item:x", "hex:zz", 7])
def test_a_position_of_another_kind_is_refused(position: str | int) -> None:
    """A damaged position is an error and not a wrong place."""
    with pytest.raises(CheckpointError, match="position"):
        list(MemoryExtractor({"a": {}}, name="x").extract("a", after=position))


def test_a_mapping_that_became_a_list_is_refused() -> None:
    """Keys are not places in a list."""
    with pytest.raises(CheckpointError, match="is a list now"):
        list(MemoryExtractor({"a": []}, name="x").extract("a", after="key:1"))


def test_services_that_only_list() -> None:
    """The usual collections that are not empty are read, or those named; a missing one is no error at first."""
    service = ListingService({"users": [{"_id": "1"}], "tickets": [], "other": iter([{"_id": "2"}])})
    extractor = MemoryExtractor(service, name="app:db")
    assert extractor.collections() == ("users",)
    assert not extractor.ordered
    assert [record.document for record in extractor.extract("users")] == [{"_id": "1"}]
    chosen = MemoryExtractor(service, name="app:db", collections=["other", "missing"])
    assert chosen.collections() == ("other", "missing")
    assert [record.document for record in chosen.extract("other")] == [{"_id": "2"}]
    with pytest.raises(ConfigError, match=r"memory:app:db missing: list_all\(\) failed with KeyError"):
        list(chosen.extract("missing"))


def test_listed_documents_without_ids_are_faults() -> None:
    """The id is lost, and the fault says what to expose; nobody makes one up."""
    record = read(ListingService({"users": [{"n": 1}]}), "users")[0]
    assert record.fault is not None
    assert (record.fault.error, record.fault.document) == ("missing_id", {"n": 1})
    assert "dbs or _data" in record.fault.reason


def test_listings_that_are_none_are_refused() -> None:
    """What cannot be listed, or only asynchronously, has its sentence."""

    class Asynchronous:
        async def list_all(self, db_name: str) -> list[Any]:
            return [db_name]

    for service, message in (
        (ListingService({"users": 7}), "users holds no documents but an int"),
        (Asynchronous(), r"users: list_all\(\) is asynchronous"),
    ):
        extractor = MemoryExtractor(service, name="app:db", collections=["users"])
        with pytest.raises(ConfigError, match=message):
            extractor.count("users")


def test_a_source_that_can_be_called_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service with __call__ is taken as it is; a class or factory of services is called."""

    class Callable(Service):
        def __call__(self) -> object:
            raise AssertionError

    module = types.ModuleType("some_module_of_this_test")
    service = Callable(dbs={"a": {}})
    listing = type("CallableListing", (ListingService,), {"__call__": Callable.__call__})({})
    vars(module).update(service=service, listing=listing, factory=lambda: service, Kind=lambda: Service(dbs={}))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert named(f"{module.__name__}:service") is service
    assert named(f"{module.__name__}:listing") is listing
    assert named(f"{module.__name__}:factory") is service
    assert MemoryExtractor(named(f"{module.__name__}:Kind"), name="x").collections() == ()


def test_errors_of_a_factory_have_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the line of the user's code; a wrong call is told from code that fails."""
    code = (
        "def failing():\n    raise ValueError('no\\nserver')\n"
        "def leaving():\n    raise SystemExit(3)\n"
        "def choosy(x):\n    return x\n"
    )
    (tmp_path / "factories_of_this_test.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, message in (
        ("failing", r"failing\(\) failed at factories_of_this_test\.py:2: ValueError: no server\."),
        ("leaving", r"leaving\(\) failed at factories_of_this_test\.py:4: SystemExit: 3\."),
        ("choosy", r"choosy\(\) failed: TypeError: .*missing 1 required"),
    ):
        with pytest.raises(ConfigError, match=message):
            named(f"factories_of_this_test:{name}")
    del sys.modules["factories_of_this_test"]


class Odd(Mapping[str, Any]):
    """A document whose own code fails where it is told to."""

    def __init__(self, fails: str) -> None:
        self._fails = fails

    def _may(self, name: str) -> None:
        if name == self._fails:
            raise RuntimeError(f"no {name}")

    def __getitem__(self, key: str) -> Any:
        self._may("item")
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        self._may("keys")
        return iter([])

    def __len__(self) -> int:
        self._may("length")
        return 0

    def __contains__(self, key: object) -> bool:
        self._may("contents")
        return False

    def get(self, key: str, default: Any = None) -> Any:
        """Fails before it gives the default."""
        self._may("get")
        return super().get(key, default)


class OddlyEqual(str):
    """An id that cannot be compared."""

    __slots__ = ()

    def __eq__(self, _other: object) -> bool:
        raise ValueError("not comparable")

    __hash__ = str.__hash__


class OddKey:
    """A key that cannot show itself."""

    def __repr__(self) -> str:
        raise ValueError("no words")


class LazyStore(dict[str, Any]):
    """Documents of which one cannot be fetched."""

    def get(self, key: str, default: Any = None) -> Any:
        """Fails over one key."""
        if key == "b":
            raise ConnectionError("fetch failed")
        return super().get(key, default)


@pytest.mark.parametrize(
    "odd",
    [
        Odd("item"),
        Odd("keys"),
        Odd("get"),
        {"_id": OddlyEqual("b")},
        None,
        7,
        "text",
        [1],
        {"_id": 7},
        {"_id": None},
    ],
    ids=lambda odd: getattr(odd, "_fails", repr(type(odd))),
)
def test_a_document_whose_own_code_fails_is_a_fault_of_its_own(odd: Any) -> None:
    """The key is named and the others are read; in a list its place is."""
    first, second, third = read({"a": {"a": {"n": 1}, "b": odd, "c": {"n": 3}}})
    assert (first.document, third.document) == ({"_id": "a", "n": 1}, {"_id": "c", "n": 3})
    assert second.fault is not None
    assert second.fault.id == "b"
    assert second.fault.reason.startswith("memory:app:db a 'b': ")


@pytest.mark.parametrize("fails", ["keys", "contents"])
def test_a_listed_document_whose_own_code_fails(fails: str) -> None:
    """Its number is named."""
    first, second, third = read({"a": [{"_id": "a"}, Odd(fails), {"_id": "c"}]})
    assert (first.document, third.document) == ({"_id": "a"}, {"_id": "c"})
    assert second.fault is not None
    assert second.fault.reason == f"memory:app:db a [1]: reading it failed with RuntimeError: no {fails}"


def test_a_store_that_fails_over_one_document() -> None:
    """It is a fault with its key; a key without words too."""
    records = read({"a": LazyStore({"a": {}, "b": {}, "c": {}})})
    assert [record.fault.error if record.fault else record.document for record in records] == [
        {"_id": "a"}, "unreadable", {"_id": "c"},
    ]  # fmt: skip
    (odd,) = read({"a": {OddKey(): {"n": 1}}})
    assert odd.fault is not None
    assert "an OddKey: reading it failed with ValueError: no words" in odd.fault.reason
