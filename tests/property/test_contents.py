"""What is found in a backup, printed, compared and told of its past is what a restore of it would give."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.backup.catalog import Catalog
from migrator.backup.changes import ADDED, CHANGED, DELETED, changes
from migrator.backup.contents import Contents, StoredDocument, document_text
from migrator.backup.format.manifest import Manifest
from migrator.backup.history import History
from migrator.codec import decode, encode
from migrator.codec.equality import content, differing_path
from migrator.codec.reading import without_members
from migrator.model.revisions import Leaf, winner_of
from tests.property.documents import documents
from tests.property.test_backups import ATTACHMENTS, IDS, SIZES
from tests.support.backups import PlainLeaf, Sizes, by_id, in_memory, leaf, plain, state, write
from tests.support.seeds import examples


@st.composite
def leaves(draw: st.DrawFn) -> PlainLeaf:
    """A leaf whose revision is of its content, as a server's is."""
    id, deleted, attachments = draw(IDS), draw(st.booleans()), draw(ATTACHMENTS)
    fields = draw(documents)
    hash = hashlib.md5(repr((fields, deleted, attachments)).encode("utf-8", "surrogatepass")).hexdigest()
    rev = f"{draw(st.integers(1, 11))}-{hash}"
    text = encode({**fields, "_id": id, "_rev": rev})
    body = b'{"_revisions":{"start":1,"ids":["x"]},' + text[1:]
    return PlainLeaf(id, rev, body, deleted, attachments)


SNAPSHOT = st.lists(leaves(), max_size=8, unique_by=lambda leaf: (leaf.id, leaf.rev)).map(by_id)


def model(leaves: Sequence[PlainLeaf]) -> dict[str, list[PlainLeaf]]:
    """By id, the winner first."""
    found: dict[str, list[PlainLeaf]] = {}
    for each in leaves:
        found.setdefault(each.id, []).append(each)
    for group in found.values():
        group.sort(key=lambda each: (not each.deleted, int(each.rev.partition("-")[0]), each.rev), reverse=True)
    return found


def fields(each: PlainLeaf) -> object:
    """What people see of a leaf."""
    attachments = {one.name: (one.content_type, one.data) for one in each.attachments}
    return content(decode(each.body)), attachments


def same(document: StoredDocument | None, expected: Sequence[PlainLeaf]) -> None:
    """A document is what is expected, its winner and its attachments too."""
    assert (document is None) is (not expected)
    if document is not None:
        assert {plain(each) for each in document.leaves} == set(expected)
        assert plain(document.leaves[0]) == expected[0]
        assert document.leaves[0] == winner_of(*document.leaves)
        for each in document.leaves:
            told = document_text(each)
            assert told.startswith(without_members(each.body, {"_revisions"})[:-1])
            assert set(decode(told).get("_attachments", {})) == {one.name for one in each.attachments}


@settings(deadline=None, max_examples=examples(25))
@given(st.lists(SNAPSHOT, min_size=1, max_size=4), SIZES, IDS, st.data())
def test_contents_are_what_a_restore_gives(
    snapshots: list[dict[str, list[PlainLeaf]]], sizes: Sizes, other: str, data: st.DataObject
) -> None:
    """Of a chain, by id, by the beginning of ids, and as a whole; and so is each document's past."""
    with in_memory() as place:
        catalog = Catalog(place)
        manifests: list[Manifest] = []
        for snapshot in snapshots:
            manifests.append(write(place, state(snapshot), manifests[-1] if manifests else None, **sizes))
        states = [model(state(*snapshots[: number + 1])) for number in range(len(snapshots))]
        number = data.draw(st.integers(0, len(snapshots) - 1))
        with Contents(catalog, manifests[number]) as contents:
            for id in {other, *states[-1]}:
                same(contents.document(id), states[number].get(id, []))
            start = other[: data.draw(st.integers(0, 2))]
            wanted = [id for id in states[number] if id.startswith(start)]
            assert [each.id for each in contents.documents(start)] == wanted
            assert [each.id for each in contents.documents(ids=[*wanted, other])] == sorted(
                {*wanted, *({other} & states[number].keys())}, key=str.encode
            )
        for id in {other, *states[-1]}:
            versions = list(History(catalog, "orders", id).versions())
            expected = [each.get(id, []) for each in states]
            assert [sorted(each.leaves) for each in versions] == [sorted(e.rev for e in one) for one in expected]
            assert [each.rev for each in versions] == [one[0].rev if one else None for one in expected]
            own = [[each.rev for each in snapshot.get(id, [])] for snapshot in snapshots]
            assert [list(each.stored) for each in versions] == own


@settings(deadline=None, max_examples=examples(25))
@given(st.lists(SNAPSHOT, min_size=1, max_size=3), SNAPSHOT, SIZES, st.data())
def test_changes_are_those_of_the_two_states(
    snapshots: list[dict[str, list[PlainLeaf]]],
    full: dict[str, list[PlainLeaf]],
    sizes: Sizes,
    data: st.DataObject,
) -> None:
    """Within a chain and from one chain to another, forwards and backwards."""
    with in_memory() as place:
        catalog = Catalog(place)
        manifests: list[Manifest] = []
        for snapshot in snapshots:
            manifests.append(write(place, state(snapshot), manifests[-1] if manifests else None, **sizes))
        states = [model(state(*snapshots[: number + 1])) for number in range(len(snapshots))]
        manifests.append(write(place, state(full), **sizes))
        states.append(model(state(full)))
        one, other = (data.draw(st.integers(0, len(states) - 1)) for _ in range(2))
        with Contents(catalog, manifests[one]) as older, Contents(catalog, manifests[other]) as newer:
            found = {each.id: each for each in changes(older, newer)}
            assert list(found) == sorted(found, key=str.encode)
        for id in {*states[one], *states[other]}:
            before, after = (next(iter(each.get(id, [])), None) for each in (states[one], states[other]))
            before, after = (None if each is None or each.deleted else each for each in (before, after))
            if before is None or after is None:
                expected = DELETED if before else ADDED if after else None
                assert (found[id].change if id in found else None) == expected
            elif before.rev != after.rev:
                assert found[id].change == CHANGED
                assert (found[id].before, found[id].after) == (before.rev, after.rev)
                first = differing_path(*(content(decode(each.body)) for each in (before, after)), stored=False)
                if first is None:
                    assert found[id].path.startswith("_attachments") or fields(before) == fields(after)
                else:
                    assert found[id].path == first
            else:
                assert id not in found or found[id].path == "_conflicts"


def test_the_winner_is_chosen_by_number() -> None:
    """And a leaf that is not deleted comes first."""
    made = [leaf(PlainLeaf("a", rev, b"{}", rev == "12-a")) for rev in ("9-f", "10-a", "12-a")]
    assert winner_of(*made).rev == "10-a"
    assert isinstance(made[0], Leaf)
