"""What became of documents between two snapshots: added, changed with the first differing path, deleted."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from itertools import groupby, islice
from typing import Any, NamedTuple

from migrator.backup.contents import Contents, StoredDocument, attachment_stub
from migrator.backup.format.snapshot_reader import SnapshotReader
from migrator.codec import decode
from migrator.codec.equality import content, differing_path
from migrator.files.sorting import side_by_side
from migrator.model.revisions import Leaf

MAX_IDS = 1_000
"""So many ids are looked for at once."""

ADDED, CHANGED, DELETED, UNREAD = KINDS = "added", "changed", "deleted", "unread"


class Change(NamedTuple):
    """What became of a document. `path` is the first place that differs; `before` and `after` are revisions.

    Where nothing differs but conflicts, or the revision of the same content, the path is `_conflicts` or `_rev`.
    """

    change: str
    id: str
    path: str
    before: str | None
    after: str | None


def changes(older: Contents | None, newer: Contents | None) -> Iterator[Change]:
    """The documents that are others at one snapshot than at another, in the order of ids.

    What is stored under the same revisions is equal and is not read: indexes tell, and of two snapshots of one
    chain only those of the snapshots in between.

    Args:
        older: the database before; None where there was none.
        newer: the database after; None where there is none.

    Raises:
        ConfigError, DamagedBackup: as for reading.
    """
    for ids in _batches(_changed_ids(older, newer)):
        pairs = side_by_side(_by_id(older, ids), _by_id(newer, ids))
        for _, before, after in pairs:
            if change := _change(before, after):
                yield change


def _batches(ids: Iterator[str]) -> Iterator[Collection[str]]:
    while batch := list(islice(ids, MAX_IDS)):
        yield batch


def _by_id(contents: Contents | None, ids: Collection[str]) -> Iterator[tuple[str, StoredDocument]]:
    return ((each.id, each) for each in contents.documents(ids=ids)) if contents else iter(())


def _changed_ids(older: Contents | None, newer: Contents | None) -> Iterator[str]:
    common = 0
    if older and newer:
        while common < min(len(older.chain), len(newer.chain)) and (
            older.chain[common].digest == newer.chain[common].digest
        ):
            common += 1
    if not common:
        yield from _other_revisions(older, newer, None)
        return
    assert older
    assert newer
    # What both stand on says the same of all documents that no other snapshot names.
    named = heapq.merge(older.reader.ids_from(common), newer.reader.ids_from(common))
    for ids in _batches(id for id, _ in groupby(named)):
        yield from _other_revisions(older, newer, ids)


def _other_revisions(older: Contents | None, newer: Contents | None, ids: Collection[str] | None) -> Iterator[str]:
    sides = [_revisions(each.reader, ids) if each else iter(()) for each in (older, newer)]
    return (id for id, one, other in side_by_side(*sides) if one != other)


def _revisions(reader: SnapshotReader, ids: Collection[str] | None) -> Iterator[tuple[str, frozenset[Any]]]:
    for id, group in groupby(reader.entries(ids=ids), key=lambda entry: entry.id):
        yield id, frozenset((entry.rev, entry.fault) for entry in group)


def _change(before: StoredDocument | None, after: StoredDocument | None) -> Change | None:
    one, other = before.live if before else None, after.live if after else None
    id = (before or after).id  # type: ignore[union-attr]
    revs = (one.rev if one else None), (other.rev if other else None)
    if any(each is not None and not each.leaves for each in (before, after)):
        # A revision that could not be read when the snapshot was made may be anything.
        return Change(UNREAD, id, "", *revs)
    if one is None and other is None:
        return None
    if one is None or other is None:
        return Change(DELETED if one else ADDED, id, "", *revs)
    path = differing_path(_fields(one), _fields(other), stored=False)
    if path is None and before and after and before.conflicts != after.conflicts:
        path = "_conflicts"
    elif path is None and one.rev != other.rev:
        path = "_rev"
    return None if path is None else Change(CHANGED, id, path, *revs)


def _fields(leaf: Leaf) -> dict[str, Any]:
    fields = content(decode(leaf.body))
    if leaf.attachments:
        fields["_attachments"] = {each.name: _without_revpos(attachment_stub(each)) for each in leaf.attachments}
    return fields


def _without_revpos(stub: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in stub.items() if name != "revpos"}
