"""Loading in the order of ids: what is sorted is all that was read, from wherever reading goes on."""

from __future__ import annotations

import errno
import json
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from migrator.errors import EndpointError, Interrupted
from migrator.extractors.ndjson import NdjsonExtractor
from migrator.files.sorting import ExternalSorter
from migrator.model import Batch, BatchLimits, Document, Position, Record
from migrator.model.events import CollectionCounted, Event, TaskProgressed
from migrator.pipeline import spooling
from migrator.pipeline.batching import Assembly, batches
from migrator.pipeline.spooling import SpoolingExtractor
from migrator.pipeline.wrapper import RetryingExtractor
from migrator.retry.retrier import Retrier
from tests.support.fakes import FakeExtractor, Item, numbered

ITEMS: list[Item] = [
    {"_id": "m", "n": 1},
    {"_id": "b"},
    b'{"_id": "torn',
    {"_id": "m", "n": 2},
    {"_id": "out"},
    {"no": "id"},
    {"_id": "a"},
    {"_id": "m", "n": 3},
    b'{"_id":"z","big":123456789012345678901}',
    {"_id": "a", "twin": True},
]


def without_out(document: Document) -> Document | None:
    """Filter one document out."""
    return None if document.get("_id") == "out" else document


def spool(folder: Path, items: list[Item], label: str = "job") -> SpoolingExtractor:
    """All collections sorted, by a sorter that holds almost nothing."""
    return SpoolingExtractor(
        FakeExtractor({"c": items}),
        lambda _name: Assembly(without_out),
        folder,
        label,
        {},
        max_memory_bytes=200,
    )


def seen(records: list[Record]) -> Counter[str]:
    """What was given, whatever its order."""
    return Counter(
        record.fault.error
        if record.fault
        else record.encoded.body.decode()
        if record.encoded
        else f"{record.filtered} out"
        for record in records
    )


def test_comes_in_the_order_of_ids(tmp_path: Path) -> None:
    """What cannot be written comes first, then documents by id; those of one id keep the source's order."""
    records = list(spool(tmp_path / "s", ITEMS).extract("c"))
    made = [json.loads(record.encoded.body) for record in records if record.encoded]
    assert [document["_id"] for document in made] == ["a", "a", "b", "m", "m", "m", "z"]
    assert [document.get("n") for document in made if document["_id"] == "m"] == [1, 2, 3]
    assert made[-1]["big"] == 123456789012345678901
    assert [record.fault.error for record in records if record.fault] == [
        "extract:invalid_json",
        "load:missing_id",
    ]
    assert sum(record.filtered for record in records) == 1


@pytest.mark.parametrize("kept", [True, False], ids=["spool kept", "spool lost"])
def test_nothing_is_lost_wherever_reading_goes_on(tmp_path: Path, kept: bool) -> None:
    """After every position is all that was not given before it, documents of one id included."""
    folder = tmp_path / "s"
    whole = list(spool(folder, ITEMS).extract("c"))
    for number, record in enumerate(whole, 1):
        if not kept:
            spool(folder, ITEMS).remove("c")
        rest = list(spool(folder, ITEMS).extract("c", after=record.position))
        assert seen(whole) - seen(whole[:number]) <= seen(rest)
        ids = [given.encoded.id for given in rest if given.encoded]
        assert sorted(ids) == ids


@pytest.mark.parametrize("name", ["run-000001.sorted", "run-000003.sorted", "manifest.json"])
@pytest.mark.parametrize("how", ["a bit", "shorter", "gone"])
def test_what_was_changed_on_disk_is_sorted_again(tmp_path: Path, name: str, how: str) -> None:
    """Not taken for counts, rejects or documents: all comes from the source once more."""
    folder = tmp_path / "s"
    whole = list(spool(folder, ITEMS).extract("c"))
    (file,) = folder.rglob(name)
    text = file.read_bytes()
    if how == "a bit":
        file.write_bytes(bytes([*text[:20], text[20] ^ 1, *text[21:]]))
    elif how == "shorter":
        file.write_bytes(text[:-1])
    else:
        file.unlink()
    rest = list(spool(folder, ITEMS).extract("c", after=whole[0].position))
    assert seen(whole[1:]) == seen(rest)


def test_what_the_version_before_sorted_is_sorted_again(tmp_path: Path) -> None:
    """It kept rejects and counts in files of their own, beside the documents: none of them stays."""
    folder = tmp_path / "s"
    whole = list(spool(tmp_path / "other", ITEMS).extract("c"))
    extractor = spool(folder, ITEMS)
    label = json.dumps(["job", "c", extractor.identity("c")])
    with ExternalSorter(folder / "0", keep=True, label=label) as sorter:
        sorter.add("old", b'{"_id":"old"}')
        sorter.finish()
    for name in spooling.OLDER_FILES:
        (folder / "0" / name).write_text('{"faults": 7, "filtered": 7}')
    assert seen(whole[1:]) == seen(list(extractor.extract("c", after=whole[0].position)))
    extractor.remove("c")
    assert not folder.exists()


def test_positions_are_exact_where_ids_are(tmp_path: Path) -> None:
    """Without documents of one id nothing is given twice."""
    items = [*reversed(numbered(20)), b"{", {"_id": "out"}]
    whole = list(spool(tmp_path / "s", items).extract("c"))
    for number, record in enumerate(whole, 1):
        rest = list(spool(tmp_path / "s", items).extract("c", after=record.position))
        assert seen(whole[number:]) == seen(rest)


def test_a_batch_between_two_of_one_id_loses_neither(tmp_path: Path) -> None:
    """A run that ends when the first of two documents with one id is settled has the second one still to come."""
    extractor = spool(tmp_path / "s", [b"{", {"_id": "a", "n": 1}, {"_id": "a", "n": 2}])
    first = next(iter(made_batches(extractor, None)))
    assert (len(first.rejects), len(first.documents)) == (1, 1)
    rest = made_batches(extractor, first.end)
    assert [document.body for batch in rest for document in batch.documents][-1] == b'{"_id":"a","n":2}'
    assert [reject for batch in rest for reject in batch.rejects] == []


def made_batches(extractor: SpoolingExtractor, after: Position | None) -> list[Batch]:
    """Batches of one document."""
    return list(batches("c", extractor.extract("c", after=after), Assembly(), lambda: BatchLimits(1, 1000)))


def test_counts_what_was_filtered_and_refused(tmp_path: Path) -> None:
    """The batches of a spool account for all that the source holds."""
    made = made_batches(spool(tmp_path / "s", ITEMS), None)
    assert len(ITEMS) == sum(batch.read for batch in made)
    assert sum(batch.filtered for batch in made) == 1
    assert sum(len(batch.rejects) for batch in made) == 2


def test_large_rejects_of_a_spool_are_held_few_at_a_time(tmp_path: Path) -> None:
    """What is refused counts by its bytes here too."""
    items: list[Item] = [{"no": "id", "pad": "x" * 1000} for _ in range(5)]
    assert [len(batch.rejects) for batch in made_batches(spool(tmp_path / "s", items), None)] == [1] * 5


def test_another_jobs_spool_is_not_taken(tmp_path: Path) -> None:
    """A spool that was left by a job with another fingerprint is sorted again."""
    list(spool(tmp_path / "s", [{"_id": "old"}]).extract("c"))
    rest = list(spool(tmp_path / "s", [{"_id": "new"}], "other").extract("c", after="a"))
    assert [record.position for record in rest] == ["new"]


def test_removes_all_it_made(tmp_path: Path) -> None:
    """When a collection is done nothing stays on disk."""
    extractor = spool(tmp_path / "s", ITEMS)
    list(extractor.extract("c"))
    assert (tmp_path / "s").exists()
    extractor.remove("c")
    extractor.remove("c")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_sorted_passes(tmp_path: Path) -> None:
    """A collection that gains nothing keeps the source's records and positions."""
    inner = FakeExtractor({"c": numbered(3)})
    extractor = SpoolingExtractor(inner, lambda _name: Assembly(), tmp_path, "job", {"c": False})
    assert list(inner.extract("c", after=1)) == list(extractor.extract("c", after=1))


@pytest.mark.parametrize(
    ("items", "worth"),
    [
        (numbered(10), False),
        ([*reversed(numbered(10))], True),
        ([*reversed(numbered(9))], False),
        ([*numbered(9), {"_id": "a"}], True),
        ([*numbered(12), {"_id": "a"}], False),
        ([b"{"] * 20, False),
        ([*reversed(numbered(20, pad="x" * 300))], True),
        ([*reversed(numbered(20, pad="x" * 1100))], False),
        ([], False),
    ],
)
def test_sorts_where_it_gains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, items: list[Item], worth: bool
) -> None:
    """Many documents whose ids are in no order are worth sorting; few, large, or ordered ones are not.

    Whatever is found out, each is given once, and the source is read but once.
    """
    monkeypatch.setattr(spooling, "MIN_DOCUMENTS_TO_SORT", 10)
    monkeypatch.setattr(spooling, "MAX_HELD_BYTES", 3_000)
    monkeypatch.setattr(spooling, "MAX_BYTES_TO_SORT", 1_000)
    decided: dict[str, bool] = {}
    inner = FakeExtractor({"c": items})
    extractor = SpoolingExtractor(
        inner, lambda _name: Assembly(without_out), tmp_path / "s", "job", decided, lambda _name: None
    )
    found = list(batches("c", extractor.extract("c"), Assembly(without_out), lambda: BatchLimits(100, 10**6)))
    assert {"c": worth} == decided
    assert len(items) == sum(batch.read for batch in found)
    # The last step finds the end.
    assert len(items) + 1 == inner.steps
    bodies = sorted(document.body for batch in found for document in batch.documents)
    assert sorted(json.dumps(item, separators=(",", ":")).encode() for item in items if item != b"{") == bodies
    if not worth and items:
        assert [str(len(items))] == [str(batch.end) for batch in found][-1:]


def test_a_stopped_sort_leaves_nothing(tmp_path: Path) -> None:
    """Whoever stops a run while it sorts waits for no more documents, and no half of a spool stays."""
    stopping = threading.Event()
    extractor = SpoolingExtractor(
        FakeExtractor({"c": ITEMS}), lambda _: Assembly(), tmp_path / "s", "job", {}, stopping=stopping
    )
    stopping.set()
    with pytest.raises(Interrupted, match="while the documents were sorted"):
        next(extractor.extract("c"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["runs", "folder"])
def test_a_full_disk_is_said_and_cleaned_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """The error names folder, reason and remedies; what was written goes, so that there is room again."""

    def full(*_arguments: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = "migrator.files.sorted_runs.RunWriter._put" if what == "runs" else "pathlib.Path.mkdir"
    monkeypatch.setattr(place, full)
    with pytest.raises(EndpointError, match=r"cannot be written: No space left on device") as raised:
        list(spool(tmp_path / "s", ITEMS).extract("c"))
    assert "--sort never" in raised.value.hint
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    assert len(ITEMS) == sum(batch.read for batch in made_batches(spool(tmp_path / "s", ITEMS), None))


def test_says_how_far_a_sort_is_and_then_how_much_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file is read whole before anything is written: that takes a while, and the share is known."""
    monkeypatch.setattr("migrator.pipeline.spooling.TELL_EVERY", 2)
    text = b"".join(b'{"_id":"%d"}\n' % (9 - number) for number in range(8))
    (tmp_path / "a.ndjson").write_bytes(text)
    source = RetryingExtractor(NdjsonExtractor(tmp_path), Retrier())
    heard: list[Event] = []
    sorting = replace(spool(tmp_path, []), inner=source, listener=heard.append)
    ids = [record.encoded.id for record in sorting.extract("a") if record.encoded]
    assert ids == [str(number) for number in range(2, 10)]
    shares = [event.share for event in heard if isinstance(event, TaskProgressed)]
    assert shares == pytest.approx([1 / 8, 3 / 8, 5 / 8, 7 / 8])
    assert heard[-1] == CollectionCounted("a", 8)
    assert sorting.share("a") is None
