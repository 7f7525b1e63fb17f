"""Snapshots: what begins, goes on, fails and ends; attachments in bounded memory; faults; numbers as they were."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard

from migrator.backup.catalog import Catalog
from migrator.backup.check import check
from migrator.backup.format import stored_files
from migrator.backup.format.cipher import PLAIN, open_cipher
from migrator.backup.format.snapshot_reader import ChainIndex, SnapshotReader
from migrator.backup.format.snapshot_writer import SnapshotSizes, SnapshotWriter
from migrator.backup.storage.base import Place, open_place
from migrator.errors import ConfigError, DamagedBackup, EndpointError, TransientError
from migrator.model.revisions import Attachment, Leaf, LeafFault
from tests.support.backups import (
    FACTS,
    TINY,
    PlainAttachment,
    PlainLeaf,
    begin,
    files,
    leaf,
    read,
    revs,
    simple,
    write,
)
from tests.unit.backup.test_cipher import new_key

KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder."""
    return open_place(str(tmp_path / "backups"))


def test_settings_and_sequences_are_kept(place: Place) -> None:
    """Everything that the manifest is given comes back out of its file."""
    full = write(place, [simple(1)])
    latest = write(place, [simple(1, 2)], full)
    loaded = Catalog(place).latest("orders")
    assert latest == loaded
    assert loaded is not None
    assert (FACTS, "7-abc", "7-abc", full.snapshot) == (
        loaded.facts,
        loaded.since,
        loaded.last_seq,
        loaded.parent,
    )
    assert ("full", "incremental") == (full.kind, loaded.kind)
    assert latest.digest == loaded.digest != ""
    assert timedelta(0) <= datetime.now(UTC) - loaded.finished_at < timedelta(minutes=1)
    with SnapshotReader(place, Catalog(place).chain(loaded)) as reader:
        assert FACTS == reader.facts()
        assert loaded.snapshot in reader.describe()


def test_a_person_can_read_it(place: Place, tmp_path: Path) -> None:
    """Unpacked, a segment is one JSON object a line, with the body as the source spelled it."""
    body = b'{"_id":"a","_rev":"1-b","n":12345678901234567890123,"f":1.0,"e":1E400, "s":"\xe2\x80\xa8\\u2028"}'
    hello = PlainAttachment("t", b"hello")
    write(place, [PlainLeaf("a", "1-b", body, True, (hello,)), simple(1)], frame_bytes=10)
    [segment] = (tmp_path / "backups").rglob("segment-*.zst")
    with zstandard.ZstdDecompressor().stream_reader(segment.read_bytes(), read_across_frames=True) as stream:
        lines = stream.read().splitlines()
    assert {"piece": "t", "at": 0, "data": "aGVsbG8="} == json.loads(lines[0])
    assert lines[1].endswith(b',"body":' + body + b"}")
    first = json.loads(lines[1])
    assert ("a", "1-b", True, 12345678901234567890123) == (
        *(first[k] for k in ("id", "rev", "deleted")),
        first["body"]["n"],
    )
    sha256 = hashlib.sha256(b"hello").hexdigest()
    assert (5, sha256, [1, 0, 0]) == tuple(first["attachments"][0][name] for name in ("length", "sha256", "at"))
    assert {"id", "rev", "body"} == set(json.loads(lines[2]))
    assert 3 == len(lines)


def test_nothing_is_a_backup_before_it_is_finished(place: Place) -> None:
    """Neither what is begun nor what is saved is listed."""
    writer = begin(place, **TINY)
    for n in range(10):
        writer.add(leaf(simple(n)))
    writer.save()
    catalog = Catalog(place)
    assert "doc-00009" == writer.position
    assert [] == catalog.databases()
    assert ["orders"] == catalog.databases(unfinished=True)
    assert [] == catalog.snapshots("orders")
    assert catalog.latest("orders") is None


def test_an_incremental_snapshot_may_be_empty(place: Place) -> None:
    """Nothing changed: it moves the sequence, and the state is its parent's."""
    full = write(place, [simple(1)])
    latest = write(place, [], full)
    assert () == latest.segments
    assert [simple(1)] == read(place, latest)
    assert check(place, ["orders"]).ok


def test_ids_must_ascend(place: Place) -> None:
    """By their UTF-8 bytes; and what is saved is closed."""
    writer = begin(place)
    writer.add(leaf(simple(2)))
    with pytest.raises(ValueError, match="doc-00001"):
        writer.add(leaf(simple(1)))
    writer.add(leaf(simple(2, 2)))
    writer.save()
    with pytest.raises(ValueError, match="doc-00002"):
        writer.add(leaf(simple(2, 3)))
    writer.add(Leaf("\uffff", "1-a", b'{"_id":"\xef\xbf\xbf","_rev":"1-a"}'))
    writer.add(Leaf("\U0001f600", "1-a", '{"_id":"\U0001f600","_rev":"1-a"}'.encode()))
    assert ["doc-00002", "doc-00002", "\uffff", "\U0001f600"] == [each.id for each in read(place, writer.finish())]


@pytest.mark.parametrize("other", ["parent", "time", "encryption", "gone"])
def test_only_the_same_is_gone_on_with(other: str, place: Place, tmp_path: Path) -> None:
    """Another parent, another database of that name, another encryption, or a file that is gone: start over."""
    full = write(place, [simple(1)])
    writer = begin(place, full, **TINY)
    for n in range(10):
        writer.add(leaf(simple(n, 2)))
    writer.save()
    same = SnapshotWriter.resume(place, "orders", parent=full, facts=FACTS)
    assert same is not None
    assert "doc-00009" == same.position
    snapshot = Catalog(place).unfinished("orders")[-1]
    parent, facts = full, FACTS
    if other == "parent":
        parent = write(place, [simple(3)], full)
    elif other == "time":
        facts = replace(FACTS, instance_start_time="1800000000")
    elif other == "gone":
        next(file for file in files(tmp_path) if snapshot in str(file)).unlink()
    cipher = open_cipher([KEY]) if other == "encryption" else PLAIN
    assert SnapshotWriter.resume(place, "orders", parent=parent, facts=facts, cipher=cipher) is None


def test_segments_of_half_a_document_are_not_kept(place: Place) -> None:
    """A large attachment fills several; stopped in it, a resumed run removes them and takes the document again."""
    big = simple(5, 1, PlainAttachment("big", bytes(1000) + bytes(range(256)) * 4))
    writer = begin(place, **TINY)
    for n in range(5):
        writer.add(leaf(simple(n)))
    writer.save()
    before = place.names()

    def broken() -> Iterator[bytes]:
        yield bytes(range(256)) * 8
        raise TransientError("gone")

    with pytest.raises(TransientError):
        writer.add(Leaf(big.id, big.rev, big.body, False, (Attachment("big", "text/plain", broken),)))
    assert len(place.names()) > len(before)
    again = SnapshotWriter.resume(place, "orders", parent=None, facts=FACTS, sizes=SnapshotSizes(**TINY))
    assert again is not None
    assert before == place.names()
    again.add(leaf(big))
    manifest = again.finish()
    assert [*(simple(n) for n in range(5)), big] == read(place, manifest)
    assert check(place, ["orders"]).ok


def test_an_attachment_of_another_length_is_not_taken(place: Place) -> None:
    """A source that ends early has lost the rest."""
    writer = begin(place)
    short = Attachment("a", "text/plain", lambda: iter([b"1234"]), 5)
    with pytest.raises(TransientError, match="after 4 of 5 bytes"):
        writer.add(Leaf("a", "1-b", b"{}", False, (short,)))
    manifest = writer.finish()
    assert 0 == manifest.counts.leaves
    assert [] == read(place, manifest)


def test_an_unchanged_attachment_is_stored_once(place: Place) -> None:
    """Later snapshots point to it, over several links; a changed one is stored; its source is not opened."""
    photo = PlainAttachment("photo.png", bytes(range(256)) * 10, "image/png")
    full = write(place, [simple(n, 1, photo) for n in range(3)], **TINY)

    def closed() -> Iterator[bytes]:
        pytest.fail("was opened")

    second = simple(1, 2, photo)
    writer = begin(place, full)
    known = leaf(second).attachments[0]
    writer.add(Leaf(second.id, second.rev, second.body, False, (replace(known, open=closed),)))
    one = writer.finish()
    changed = photo._replace(data=b"new", revpos=3)
    two = write(place, [simple(0, 3, changed), simple(1, 3, photo, changed._replace(name="other"))], one)
    assert (3 * 2560, 0, 6) == tuple(each.counts.attachment_bytes for each in (full, one, two))
    assert one.size_bytes < 700
    expected = [simple(0, 3, changed), simple(1, 3, photo, changed._replace(name="other")), simple(2, 1, photo)]
    assert expected == read(place, two)
    assert check(place, ["orders"]).ok
    with SnapshotReader(place, Catalog(place).chain(two), ids={"doc-00001"}) as reader:
        [only] = reader.leaves()
        assert isinstance(only, Leaf)
        assert [photo.data, photo.data] == [b"".join(only.attachments[0].open()) for _ in range(2)]


def test_a_fault_is_kept_and_hides_nothing(place: Place) -> None:
    """What could not be read is named, counted, and what an older snapshot has of that document still counts."""
    full = write(place, [simple(1), simple(2), simple(3)])
    writer = begin(place, full)
    same = LeafFault("doc-00001", simple(1).rev, "not_found", "missing")
    other = LeafFault("doc-00002", "2-x", "not_found", "missing")
    writer.fault(same)
    writer.fault(other)
    writer.add(leaf(simple(2, 3)))
    writer.fault(LeafFault("doc-00009", "", "timeout", "no answer"))
    manifest = writer.finish()
    assert (1, 1, 3) == (manifest.counts.documents, manifest.counts.leaves, manifest.counts.faults)
    assert read(place, manifest) == [
        simple(1),
        simple(2, 3),
        simple(2),
        other,
        simple(3),
        LeafFault("doc-00009", "", "timeout", "no answer"),
    ]
    assert check(place, ["orders"]).ok
    with ChainIndex(place, Catalog(place).chain(manifest)) as index:
        assert [("doc-00002", "2-x"), ("doc-00009", "")] == [(e.id, e.rev) for e in index.entries() if e.fault]
        assert {simple(2).rev, simple(2, 3).rev} == revs(index, "doc-00002")
        assert set() == revs(index, "doc-00009")


def test_the_index_answers_in_any_order(place: Place) -> None:
    """Quickly in ascending order, rightly in every."""
    full = write(place, [simple(n) for n in range(50)], **TINY)
    latest = write(place, [simple(n, 2) for n in range(0, 50, 7)], full, **TINY)
    with ChainIndex(place, Catalog(place).chain(latest)) as index:
        for n in (3, 7, 7, 8, 49, 0, 21, 20, 49, 99):
            expected = {simple(n, 2 if n % 7 == 0 else 1).rev} if n < 50 else set()
            assert expected == revs(index, f"doc-{n:05}")
        assert [f"doc-{n:05}" for n in (48, 49)] == [entry.id for entry in index.entries(after="doc-00047")]


def test_a_point_in_time(place: Place) -> None:
    """The newest that was finished by then; what there is, where there is none."""
    catalog = Catalog(place)
    full = write(place, [simple(1)])
    later = write(place, [simple(1, 2)], full)
    assert full == catalog.at("orders", full.finished_at)
    assert later == catalog.at("orders", later.finished_at + timedelta(days=1))
    with pytest.raises(ConfigError, match=f"the oldest is from {full.finished}"):
        catalog.at("orders", full.finished_at - timedelta(seconds=1))
    with pytest.raises(ConfigError, match="no backup of 'users'"):
        catalog.at("users", full.finished_at)


def test_a_missing_link_is_named(place: Place) -> None:
    """With what can still be done."""
    full = write(place, [simple(1)])
    later = write(place, [simple(1, 2)], full)
    place.remove_folder(f"databases/orders/{full.snapshot}")
    with pytest.raises(DamagedBackup, match=f"{full.snapshot}/manifest.json is missing"):
        Catalog(place).chain(later)
    place.remove(".snapshots/orders.json")
    with pytest.raises(DamagedBackup, match=f"{full.snapshot}, which is not there.*--full"):
        Catalog(place).chain(later)


def test_a_full_disk_is_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, with what to do; what was there stays as it was."""
    full = write(place, [simple(1)])
    before = place.names()

    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    writer = begin(place, full)
    writer.add(leaf(simple(2)))
    with pytest.raises(EndpointError, match=r"No space left on device\. Make room"):
        writer.finish()
    assert before == place.names()


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_large_attachment_takes_little_memory(place: Place, encrypted: bool, tmp_path: Path) -> None:
    """64 MB go in and out of segments of 4 MB by way of a few pieces."""
    cipher = open_cipher([], str(new_key(tmp_path)[1])) if encrypted else open_cipher()
    count = 1024

    def source() -> Iterator[bytes]:
        for number in range(count):
            yield random.Random(number).randbytes(65536)

    big = Attachment("big", "x/y", source, 65536 * count)
    writer = begin(place, cipher=cipher, max_segment_bytes=4_000_000)
    tracemalloc.start()
    try:
        writer.add(Leaf("a", "1-b", b'{"_id":"a","_rev":"1-b"}', False, (big,)))
        manifest = writer.finish()
        written_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        with SnapshotReader(place, [manifest], cipher) as reader:
            [only] = reader.leaves()
            assert isinstance(only, Leaf)
            expected = source()
            buffer = b""
            for piece in only.attachments[0].open():
                buffer += piece
                while len(buffer) >= 65536:
                    assert buffer[:65536] == next(expected)
                    buffer = buffer[65536:]
            assert b"" == buffer
            assert next(expected, None) is None
        read_peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(manifest.segments) > 10
    assert written_peak < 24_000_000
    # Decrypted segments are kept, up to a limit, as pieces of several are asked for in turn.
    assert read_peak < (stored_files.MAX_OPENED_BYTES if encrypted else 0) + 24_000_000
