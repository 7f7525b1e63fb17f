"""What is written into a chain of snapshots comes out of it, however it falls into segments, frames and pieces."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.backup.catalog import Catalog
from migrator.backup.format.snapshot_reader import ChainIndex
from migrator.backup.format.snapshot_writer import SnapshotSizes, SnapshotWriter
from migrator.backup.storage.base import Place
from migrator.codec import encode
from migrator.errors import DamagedBackup, MigratorError, TransientError
from migrator.model.revisions import Attachment, Leaf
from tests.property.documents import documents, texts
from tests.support.backups import (
    FACTS,
    PlainAttachment,
    PlainLeaf,
    Sizes,
    begin,
    by_id,
    in_memory,
    leaf,
    read,
    revs,
    state,
    streamed,
    unpacked,
    write,
)
from tests.support.seeds import examples

IDS = st.sampled_from(["a", "aa", "b", ',"body":', '{"piece":', "\uffff", "\U0001f600", "\u2028", "k" * 400]) | (
    texts.filter(bool)
)
ATTACHMENTS = st.lists(
    st.builds(
        PlainAttachment,
        st.sampled_from(["a.txt", "é/\"'.png", ""]),
        st.binary(max_size=300),
        st.sampled_from(["text/plain", "image/png"]),
        st.integers(0, 2),
    ),
    max_size=3,
    unique_by=lambda attachment: attachment.name,
).map(tuple)


@st.composite
def leaves(draw: st.DrawFn) -> PlainLeaf:
    """A leaf whose body is like a document's, with numbers and texts of every kind."""
    id, rev = draw(IDS), f"{draw(st.integers(1, 3))}-{draw(st.sampled_from('abc')) * 32}"
    body = encode({**draw(documents), "_id": id, "_rev": rev})
    return PlainLeaf(id, rev, body, draw(st.booleans()), draw(ATTACHMENTS))


SNAPSHOT = st.lists(leaves(), max_size=8, unique_by=lambda leaf: (leaf.id, leaf.rev)).map(by_id)
SIZES = st.builds(
    Sizes,
    max_segment_bytes=st.integers(1, 2_000),
    frame_bytes=st.integers(1, 1_000),
    piece_bytes=st.integers(1, 400),
)


@settings(deadline=None, max_examples=examples(20))
@given(st.lists(SNAPSHOT, min_size=1, max_size=4), SIZES, st.none() | IDS, st.none() | st.sets(IDS, max_size=3))
def test_the_newest_state_of_each_document_comes_out(
    snapshots: list[dict[str, list[PlainLeaf]]], sizes: Sizes, after: str | None, ids: set[str] | None
) -> None:
    """Bodies byte for byte, attachments, order; of the whole chain, after an id, or of some documents only."""
    with in_memory() as place:
        manifest = None
        for number, snapshot in enumerate(snapshots, 1):
            manifest = write(place, state(snapshot), manifest, **sizes)
            expected = state(*snapshots[:number])
            assert read(place, manifest) == expected
            assert len(snapshot) == manifest.counts.documents
            assert sum(map(len, snapshot.values())) == manifest.counts.leaves
        assert manifest is not None
        assert Catalog(place).latest("orders") == manifest
        assert [
            each
            for each in expected
            if (after is None or each.id.encode() > after.encode()) and (ids is None or each.id in ids)
        ] == read(place, manifest, after=after, ids=ids)
        with ChainIndex(place, Catalog(place).chain(manifest)) as index:
            assert [(each.id, each.rev) for each in expected] == [(each.id, each.rev) for each in index.entries()]
            for id in ids or {each.id for each in expected}:
                assert {each.rev for each in expected if each.id == id} == revs(index, id)


@settings(deadline=None, max_examples=examples(20))
@given(SNAPSHOT, SIZES, st.data())
def test_a_writer_goes_on_where_another_stopped(
    snapshot: dict[str, list[PlainLeaf]], sizes: Sizes, data: st.DataObject
) -> None:
    """Stopped at any leaf, within a document too, resumed after its position: nothing lost or doubled."""
    everything = state(snapshot)
    with in_memory() as place:
        writer = begin(place, **sizes)
        for _ in range(3):
            rest = [
                each
                for each in everything
                if writer.position is None or each.id.encode() > writer.position.encode()
            ]
            for each in rest[: data.draw(st.integers(0, len(rest)))]:
                writer.add(leaf(each))
            assert [] == Catalog(place).databases()
            resumed = SnapshotWriter.resume(
                place, "orders", parent=None, facts=FACTS, sizes=SnapshotSizes(**sizes)
            )
            writer = resumed or begin(place, **sizes)
        for each in everything:
            if writer.position is None or each.id.encode() > writer.position.encode():
                writer.add(leaf(each))
        manifest = writer.finish()
        assert everything == read(place, manifest)
        assert (len(snapshot), len(everything)) == (manifest.counts.documents, manifest.counts.leaves)


@settings(deadline=None, max_examples=examples(20))
@given(SNAPSHOT, SIZES, st.integers(0, 400))
def test_an_attachment_that_breaks_off_leaves_nothing(
    snapshot: dict[str, list[PlainLeaf]], sizes: Sizes, length: int
) -> None:
    """The leaf was not added; added again with a source that holds, it is there once."""

    def broken() -> Attachment:
        def pieces() -> object:
            yield b"x" * length
            raise TransientError("gone")

        return Attachment("a.txt", "text/plain", pieces, length + 1)  # type: ignore[arg-type]

    with in_memory() as place:
        writer = begin(place, **sizes)
        for each in state(snapshot):
            try:
                writer.add(Leaf(each.id, each.rev, each.body, each.deleted, (*leaf(each).attachments, broken())))
            except TransientError:
                writer.add(leaf(each))
        assert state(snapshot) == read(place, writer.finish())


@settings(deadline=None, max_examples=examples(20))
@given(SNAPSHOT, SNAPSHOT, SIZES, st.data())
def test_a_stream_is_whole_or_refused(
    snapshot: dict[str, list[PlainLeaf]],
    other: dict[str, list[PlainLeaf]],
    sizes: Sizes,
    data: st.DataObject,
) -> None:
    """Cut or changed at any byte it is refused; else everything comes out, however it falls into blocks."""

    def work(place: Place) -> None:
        write(place, state(snapshot), **sizes)
        write(place, state(other), database="other", **sizes)

    stream = streamed(work)
    with TemporaryDirectory() as folder:
        place = unpacked(stream, Path(folder) / "whole", data.draw(st.integers(1, 3_000)))
        found = {name: Catalog(place).latest(name) for name in ("orders", "other")}
        assert {name: each and read(place, each) for name, each in found.items()} == {
            "orders": state(snapshot),
            "other": state(other),
        }
        cut = data.draw(st.integers(0, len(stream) - 1))
        with pytest.raises(DamagedBackup, match=f"ends at byte {cut:,},"):
            unpacked(stream[:cut], Path(folder) / "cut")
        changed = bytearray(stream)
        changed[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
        with pytest.raises(MigratorError):
            unpacked(bytes(changed), Path(folder) / "changed")
