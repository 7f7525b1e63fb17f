"""Looking into backups: how little is read, and what is said of what is missing, damaged or encrypted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.backup.cat import chosen_leaves
from migrator.backup.catalog import Catalog
from migrator.backup.changes import Change, changes
from migrator.backup.contents import Contents, document_text
from migrator.backup.find import Query, find, find_earlier, parse_query, selected_documents
from migrator.backup.format.cipher import Cipher, open_cipher
from migrator.backup.format.manifest import Manifest
from migrator.backup.format.segments import Frame, read_frame
from migrator.backup.history import History
from migrator.backup.listing import snapshots_at
from migrator.backup.options import CatOptions
from migrator.errors import ConfigError, DamagedBackup
from migrator.model.revisions import LeafFault
from tests.support.backups import (
    CountingPlace,
    PlainAttachment,
    PlainLeaf,
    Sizes,
    begin,
    leaf,
    local,
    plain,
    simple,
    write,
)
from tests.unit.backup.test_cipher import new_key

SMALL = Sizes(max_segment_bytes=4_000, frame_bytes=1_000)


def chain_of(place: CountingPlace, cipher: Cipher, documents: int = 2_000) -> list[Manifest]:
    """A full snapshot of many segments, and three that add to it, each of which spans all ids."""
    manifests = [write(place, [simple(n) for n in range(documents)], cipher=cipher, **SMALL)]
    for number in range(2, 5):
        leaves = [simple(n, number) for n in range(number, documents, documents // 20)]
        manifests.append(write(place, leaves, manifests[-1], cipher, **SMALL))
    return manifests


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_document_is_found_by_one_segment(tmp_path: Path, *, encrypted: bool) -> None:
    """Of each snapshot one index is read, and one segment: that of the snapshot which counts; no more bytes."""
    cipher = open_cipher((), str(new_key(tmp_path)[1])) if encrypted else open_cipher()
    place = CountingPlace(tmp_path / "b")
    manifests = chain_of(place, cipher)
    assert len(manifests[0].segments) > 20
    for id, newest in (("doc-01000", 0), ("doc-00103", 2), ("doc-00004", 3), ("doc-01000x", None), ("a", None)):
        place.asked.clear()
        place.read_bytes = 0
        with Contents(Catalog(place, cipher), manifests[-1]) as contents:
            base = place.read_bytes
            document = contents.document(id)
        assert (document is None) is (newest is None)
        segments, indexes = place.fetched("segment"), place.fetched("index")
        assert len(segments) == (newest is not None)
        assert len(indexes) <= (4 if newest is None else 4 - newest)
        if newest is not None:
            assert manifests[newest].snapshot in segments[0]
        largest = max(each.size_bytes for manifest in manifests for each in manifest.files)
        assert place.read_bytes - base <= largest * (len(segments) + len(indexes))


def test_few_frames_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a segment with hundreds of frames, pieces of attachments among them, as a search by halves takes."""
    photo = PlainAttachment("photo", bytes(range(256)) * 20)
    leaves = [simple(n, 1, *([photo] if n % 50 == 0 else [])) for n in range(1_000)]
    manifest = write(local(tmp_path), leaves, frame_bytes=500, piece_bytes=600)
    assert len(manifest.segments) == 1
    with Contents(Catalog(local(tmp_path)), manifest) as contents:
        files = contents.reader._files
        frames = len(files.offsets(manifest.snapshot, manifest.segments[0]))
        read: list[int] = []

        def counted(source: Callable[[int, int], bytes], offset: int) -> Frame:
            read.append(offset)
            return read_frame(source, offset)

        monkeypatch.setattr("migrator.backup.format.stored_files.read_frame", counted)
        for number in (0, 1, 500, 501, 999):
            read.clear()
            document = contents.document(f"doc-{number:05}")
            assert document is not None
            assert plain(document.leaves[0]) == leaves[number]
            assert len(read) < frames / 5


def test_a_revision_that_could_not_be_read(tmp_path: Path) -> None:
    """The one before it counts, and it is named."""
    full = write(local(tmp_path), [simple(1), simple(2)])
    writer = begin(local(tmp_path), full)
    writer.fault(LeafFault("doc-00001", "2-x", "gone", "why"))
    newest = writer.finish()
    with Contents(Catalog(local(tmp_path)), newest) as contents:
        document = contents.document("doc-00001")
        assert document is not None
        assert ([each.rev for each in document.leaves], [each.rev for each in document.faults]) == (
            [simple(1).rev],
            ["2-x"],
        )
        assert document.as_dict()["unread"] == ["2-x"]
    versions = list(History(Catalog(local(tmp_path)), "orders", "doc-00001").versions())
    assert [(each.rev, list(each.unread)) for each in versions] == [(simple(1).rev, []), (simple(1).rev, ["2-x"])]


def test_a_damaged_index_is_in_no_way(tmp_path: Path) -> None:
    """The segments can tell as well; what is read is compared with its digest all the same."""
    manifest = write(local(tmp_path), [simple(n) for n in range(5)])
    (index,) = tmp_path.rglob("index-*")
    index.write_bytes(b"x" + index.read_bytes()[1:])
    with Contents(Catalog(local(tmp_path)), manifest) as contents:
        assert contents.document("doc-00003")
    (segment,) = tmp_path.rglob("segment-*")
    segment.write_bytes(b"x" + segment.read_bytes()[1:])
    with Contents(Catalog(local(tmp_path)), manifest) as contents, pytest.raises(DamagedBackup, match="digest"):
        contents.document("doc-00003")


def test_what_was_purged_is_found_in_an_older_snapshot(tmp_path: Path) -> None:
    """The newest of those that hold it; a damaged one in between is passed over."""
    place, catalog = local(tmp_path), Catalog(local(tmp_path))
    first = write(place, [simple(1)])
    second = write(place, [simple(1, 2)])
    newest = write(place, [simple(2)])
    manifests, broken = snapshots_at(catalog, (), "")
    assert (manifests, broken) == ({"orders": newest}, {})
    assert not list(find(catalog, manifests, Query(("doc-00001",)), {}))
    unread: dict[str, str] = {}
    (found,) = find_earlier(catalog, manifests, ["doc-00001"], unread)
    assert (found.manifest, found.document.as_dict()["rev"]) == (second, simple(1, 2).rev)
    assert unread == {}
    for path in (tmp_path / "databases" / "orders" / second.snapshot).glob("*.zst"):
        path.unlink()
    (found,) = find_earlier(catalog, manifests, ["doc-00001"], unread)
    assert found.manifest == first
    assert list(unread) == [second.snapshot]
    versions = list(History(catalog, "orders", "doc-00001").versions())
    assert [each.change for each in versions] == ["added", "unreadable", "gone"]
    assert "missing" in versions[1].problem


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("o-17", Query(ids=("o-17",))),
        ("o-*", Query(pattern="o-*")),
        ("total>=3", Query(condition="total>=3")),
        ("a.b~^x", Query(condition="a.b~^x")),
        (r"a\=b=c", Query(condition=r"a\=b=c")),
        (r"a\=b", Query(ids=(r"a\=b",))),
    ],
)
def test_what_is_looked_for(text: str, query: Query) -> None:
    """An operator makes it a condition, `*` a pattern; else it is an id."""
    assert parse_query(text) == query


def test_patterns_and_conditions(tmp_path: Path) -> None:
    """As elsewhere: `*` means nothing of the server's own, and a condition is asked of what is not deleted."""
    bodies = {"_design/a": b"{}", "a*": b'{"n":12345678901234567890}', "ab": b'{"n":2}', "b": b'{"n":2}'}
    leaves = [PlainLeaf(id, "1-a", body, id == "b") for id, body in sorted(bodies.items())]
    manifest = write(local(tmp_path), leaves)
    catalog = Catalog(local(tmp_path))
    with Contents(catalog, manifest) as contents:
        for patterns, ids in (
            (["*"], ["a*", "ab", "b"]),
            (["a*"], ["a*", "ab"]),
            (["_*"], ["_design/a"]),
            (["a?", "_design/a"], ["_design/a", "a*", "ab"]),
            (["b", "ab"], ["ab", "b"]),
            ([], ["_design/a", "a*", "ab", "b"]),
        ):
            assert [each.id for each in selected_documents(contents, patterns)] == ids, patterns
    manifests = {"orders": manifest}
    for condition, ids in (("n=2", ["ab"]), ("n>12345678901234567889", ["a*"]), ("n<0", [])):
        assert [each.document.id for each in find(catalog, manifests, Query(condition=condition), {})] == ids
    with pytest.raises(ConfigError, match=r"^The condition =2: there is no field before"):
        list(find(catalog, manifests, Query(condition="=2"), {}))


def test_what_changed_and_where(tmp_path: Path) -> None:
    """The first path that differs; conflicts and attachments are such places too."""

    def made(id: str, rev: str, text: str, *attachments: PlainAttachment, deleted: bool = False) -> PlainLeaf:
        return PlainLeaf(id, rev, text.encode(), deleted, attachments)

    before = [
        made("a", "1-a", '{"_id":"a","x":{"y":[1,2.0]}}'),
        made("b", "1-b", "{}"),
        made("c", "1-c", "{}", PlainAttachment("f", b"1")),
        made("d", "1-d", "{}"),
        made("e", "1-e", "{}", deleted=True),
        made("f", "1-f", "{}"),
    ]
    after = [
        made("a", "2-a", '{"_id":"a","x":{"y":[1,2]}}'),
        made("b", "1-b", "{}"),
        made("b", "1-a", "{}"),
        made("c", "2-c", "{}", PlainAttachment("f", b"2")),
        made("d", "2-d", "{}", deleted=True),
        made("e", "2-e", "{}"),
        made("f", "2-f", "{}"),
        made("g", "1-g", "{}", deleted=True),
    ]
    one = write(local(tmp_path), before)
    for parent in (one, None):
        other = write(local(tmp_path), after, parent)
        catalog = Catalog(local(tmp_path))
        with Contents(catalog, one) as older, Contents(catalog, other) as newer:
            assert list(changes(older, newer)) == [
                Change("changed", "a", "x.y[1]", "1-a", "2-a"),
                Change("changed", "b", "_conflicts", "1-b", "1-b"),
                Change("changed", "c", "_attachments.f.digest", "1-c", "2-c"),
                Change("deleted", "d", "", "1-d", None),
                Change("added", "e", "", None, "2-e"),
                Change("changed", "f", "_rev", "1-f", "2-f"),
            ]
            assert [each.change for each in changes(None, newer)] == ["added"] * 5
            assert [each.change for each in changes(newer, None)] == ["deleted"] * 5


def test_a_comparison_within_a_chain_reads_what_was_added(tmp_path: Path) -> None:
    """The indexes and segments of the full snapshot that hold nothing of it stay where they are."""
    place = CountingPlace(tmp_path)
    full = write(place, [simple(n) for n in range(2_000)], **SMALL)
    newest = write(place, [simple(7, 2), simple(9, 2)], full)
    place.asked.clear()
    catalog = Catalog(place)
    with Contents(catalog, full) as older, Contents(catalog, newest) as newer:
        assert [(each.id, each.path) for each in changes(older, newer)] == [
            ("doc-00007", "_rev"),
            ("doc-00009", "_rev"),
        ]
    assert len(place.fetched("segment")) <= 3
    assert len(place.fetched("index")) <= 3


def test_any_kept_revision_is_printed(tmp_path: Path) -> None:
    """Of the newest snapshot that keeps it; what is deleted or unknown is said, and what there is."""
    place, catalog = local(tmp_path), Catalog(local(tmp_path))
    body = (
        b'{"_id":"a","_rev":"1-a","_revisions":{"start":1,"ids":["a"]},"n":1.10,"m":[1e2, 1234567890123456789012]}'
    )
    photo = PlainAttachment("p", b"bytes")
    write(place, [PlainLeaf("a", "1-a", body, attachments=(photo,)), PlainLeaf("a", "1-b", b'{"b":1}')])
    newest = write(place, [PlainLeaf("a", "2-a", b'{"_deleted":true}', True)], catalog.latest("orders"))

    def told(at: str = "", **options: object) -> list[bytes]:
        with chosen_leaves(catalog, "orders", "a", at, CatOptions(**options)) as leaves:  # type: ignore[arg-type]
            return [document_text(each) for each in leaves]

    assert told(rev="1-a") == [
        b'{"_id":"a","_rev":"1-a","n":1.10,"m":[1e2, 1234567890123456789012],"_attachments":{"p":'
        b'{"content_type":"text/plain","revpos":1,"digest":"%b","length":5,"stub":true}}}'
        % leaf(PlainLeaf("", "", b"", attachments=(photo,))).attachments[0].digest.encode()
    ]
    assert told(rev="2-a") == [b'{"_deleted":true}']
    older = catalog.snapshots("orders")[0].snapshot
    assert told(older)[0] == told(rev="1-b")[0] == b'{"b":1}'
    assert told(older, conflicts=True) == [*told(rev="1-b"), *told(rev="1-a")]
    with pytest.raises(ConfigError, match=f"deleted .* as of {newest.finished}, at 2-a") as raised:
        told()
    assert "--rev 2-a" in raised.value.text
    with pytest.raises(ConfigError, match="3-c' of 'a' is not kept") as raised:
        told(rev="3-c")
    assert "Kept are: 2-a, 1-a, 1-b" in raised.value.text
    with (
        pytest.raises(ConfigError, match="holds no document 'oders-1'") as raised,
        Contents(catalog, newest) as one,
    ):
        raise one.missing("oders-1")
    assert "history --from PLACE orders oders-1" in raised.value.text
