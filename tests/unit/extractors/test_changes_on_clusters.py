"""What a cluster's copy lists before the others have it is waited for, and never taken for a deletion."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any, cast

import pytest

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import Endpoint
from migrator.couch.responses import Answer
from migrator.errors import TransientError
from migrator.extractors.changes import ChangesExtractor, Since
from migrator.retry.retrier import Retrier

Read = dict[str, Any] | None


class Cluster:
    """Lists one change of `a`; most copies know of it what `reads` say, one reading after another."""

    def __init__(self, row: dict[str, Any], reads: list[Read], *, n: int = 3) -> None:
        self.endpoint = Endpoint("http://127.0.0.1:1")
        self.unconfirmed: dict[str, str] = {}
        self._row = row
        self._reads = reads
        self._n = n
        self.readings = 0

    def database_info(self, _: str) -> dict[str, Any]:
        """`GET /{db}`."""
        return {"cluster": {"n": self._n}, "doc_count": 1}

    def call(self, *_: str, **__: Any) -> Answer:
        """Comparing copies is for admins."""
        return Answer(401, {}, b"{}")

    def stream(self, *_: str, params: dict[str, str], **__: Any) -> Generator[bytes]:
        """`_changes`."""
        rows = [{"id": "a", "seq": "2", **self._row}] if params["since"] == "1" else []
        yield json.dumps({"results": rows, "last_seq": "2", "pending": 0}).encode()

    def documents(self, _: str, ids: list[str]) -> Iterator[tuple[str, Read]]:
        """What most copies hold."""
        self.readings += 1
        read = self._reads.pop(0) if len(self._reads) > 1 else self._reads[0]
        return iter([(id, None if read is None or read.get("_deleted") else dict(read)) for id in ids])

    def lookup(self, _: str, ids: list[str]) -> dict[str, Read]:
        """The same, with deletions."""
        read = self._reads[0]
        return {id: None if read is None else {"rev": read["_rev"]} for id in ids}


def read(cluster: Cluster) -> list[Any]:
    """What is yielded: a document's revision, or that it is gone."""
    extractor = ChangesExtractor(cast("CouchClient", cluster), "db")
    extractor.since["db"] = Since("1")
    extractor.retrier = Retrier(sleep=lambda _: None)
    return [
        record.document["_rev"] if record.document is not None else "gone" for record in extractor.extract("db")
    ]


def listed(*revs: str, deleted: bool = False) -> dict[str, Any]:
    """A row of `_changes`."""
    return {"changes": [{"rev": rev} for rev in revs], **({"deleted": True} if deleted else {})}


def at(rev: str, **more: Any) -> Read:
    """A document as it is read."""
    return {"_id": "a", "_rev": rev, **more}


LATE: list[tuple[str, dict[str, Any], list[Read], list[str]]] = [
    ("a new document", listed("1-a"), [None, None, at("1-a")], ["1-a"]),
    ("a new revision", listed("2-b"), [at("1-a"), at("2-b")], ["2-b"]),
    ("the winner of a conflict", listed("2-b", "2-a"), [at("2-a"), at("2-b")], ["2-b"]),
    ("a deletion", listed("2-b", deleted=True), [at("1-a"), None], ["gone"]),
    ("a deletion, and a new one since", listed("2-b", deleted=True), [at("1-a"), at("3-c")], ["3-c"]),
    ("a tenth revision", listed("10-a"), [at("9-f"), at("10-a")], ["10-a"]),
    ("what is newer than it was listed", listed("1-a"), [None, at("2-b")], ["2-b"]),
]
THERE: list[tuple[str, dict[str, Any], list[Read], list[str]]] = [
    ("the same", listed("1-a"), [at("1-a")], ["1-a"]),
    ("a newer one", listed("1-a"), [at("3-a")], ["3-a"]),
    ("a deletion", listed("2-a", deleted=True), [None], ["gone"]),
]
SINCE: list[tuple[str, dict[str, Any], list[Read], list[str]]] = [
    ("deleted since it was listed", listed("1-a"), [at("2-x", _deleted=True)], ["gone"]),
    ("a conflict whose winner was deleted since", listed("2-b", "1-z"), [at("1-z")], ["1-z"]),
]


def ids(cases: list[tuple[str, dict[str, Any], list[Read], list[str]]]) -> list[str]:
    """Their names."""
    return [case[0] for case in cases]


@pytest.mark.parametrize(("_what", "row", "reads", "wanted"), LATE, ids=ids(LATE))
def test_what_most_copies_lack_yet_is_waited_for(
    _what: str, row: dict[str, Any], reads: list[Read], wanted: list[str]
) -> None:
    """A position after it would be the end of it."""
    assert read(Cluster(row, list(reads))) == wanted


@pytest.mark.parametrize(("_what", "row", "reads", "wanted"), THERE, ids=ids(THERE))
def test_what_most_copies_have_is_read_once(
    _what: str, row: dict[str, Any], reads: list[Read], wanted: list[str]
) -> None:
    """As everywhere."""
    cluster = Cluster(row, list(reads))
    assert read(cluster) == wanted
    assert cluster.readings == 1


@pytest.mark.parametrize(("_what", "row", "reads", "wanted"), SINCE, ids=ids(SINCE))
def test_what_changed_since_it_was_listed_is_as_it_is_now(
    _what: str, row: dict[str, Any], reads: list[Read], wanted: list[str]
) -> None:
    """After a bounded wait: it looks as one that is late."""
    assert read(Cluster(row, list(reads))) == wanted


def test_what_no_most_copies_ever_had_is_no_deletion() -> None:
    """It is tried again, and never carried to a target as gone."""
    with pytest.raises(TransientError, match="most copies lack it"):
        read(Cluster(listed("1-a"), [None]))


@pytest.mark.parametrize("row", [listed("1-a"), listed("2-b", deleted=True)])
def test_a_single_node_is_asked_once(row: dict[str, Any]) -> None:
    """There what is not there is gone."""
    cluster = Cluster(row, [None], n=1)
    assert read(cluster) == ["gone"]
    assert cluster.readings == 1
