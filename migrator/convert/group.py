"""Brings the leaves of a file that has them in any order together, document by document, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from migrator.convert.formats.json_text import document_pieces, leaf_of
from migrator.files.sorting import ExternalSorter
from migrator.model.revisions import Leaf, LeafFault, is_design, winner_of

SORT_MEMORY_BYTES = 64_000_000


def sorted_leaves(
    items: Iterable[Leaf | LeafFault], folder: Path, left_out: Counter[str], *, newest_last: bool = False
) -> Iterator[Leaf | LeafFault]:
    """The same in ascending order of ids, each leaf once; faults come first.

    Args:
        items: leaves in any order.
        folder: a folder of the sorter's own.
        left_out: where leaves are counted that came before, as "repeated" or "superseded".
        newest_last: of each document only the last leaf counts.
    """
    with ExternalSorter(folder, max_memory_bytes=SORT_MEMORY_BYTES) as sorter:
        for item in items:
            if isinstance(item, LeafFault):
                yield item
            else:
                sorter.add(item.id, _text(item))
        for _, group in groupby(sorter.sorted_items(), key=lambda entry: entry[0]):
            yield from _of_one_document(group, left_out, newest_last=newest_last)


def repeats(items: Iterable[Leaf | LeafFault], folder: Path) -> bool:
    """True when a leaf comes more than once, however far apart.

    Args:
        items: leaves in any order.
        folder: a folder of the sorter's own.
    """
    with ExternalSorter(folder, max_memory_bytes=SORT_MEMORY_BYTES) as sorter:
        for item in items:
            if isinstance(item, Leaf):
                sorter.add(item.id, item.rev.encode())
        for _, group in groupby(sorter.sorted_items(), key=lambda entry: entry[0]):
            revs = [rev for _, rev in group]
            if len(set(revs)) < len(revs):
                return True
    return False


def designs_last(leaves: Iterable[Leaf], folder: Path) -> Iterator[Leaf]:
    """The same with the leaves of design documents after all others.

    Args:
        leaves: in any order.
        folder: a folder of the sorter's own.
    """
    with ExternalSorter(folder, max_memory_bytes=SORT_MEMORY_BYTES) as sorter:
        for leaf in leaves:
            if is_design(leaf):
                sorter.add(leaf.id, _text(leaf))
            else:
                yield leaf
        for _, text in sorter.sorted_items():
            design = leaf_of(text, "a sorted document")
            assert isinstance(design, Leaf)
            yield design


def winners(items: Iterable[Leaf | LeafFault], left_out: Counter[str]) -> Iterator[Leaf | LeafFault]:
    """Of each document the leaf that wins, of leaves that stand together; what does not win is counted.

    Args:
        items: leaves, those of a document one after the other.
        left_out: where they are counted, as "conflicts" or "tombstones".
    """
    best: Leaf | None = None
    for item in items:
        if isinstance(item, LeafFault):
            yield item
        elif best is None or item.id != best.id:
            if best is not None:
                yield best
            best = item
        else:
            winner = winner_of(best, item)
            loser = item if winner is best else best
            left_out["tombstones" if loser.deleted else "conflicts"] += 1
            best = winner
    if best is not None:
        yield best


def _of_one_document(
    group: Iterable[tuple[str, bytes]], left_out: Counter[str], *, newest_last: bool
) -> Iterator[Leaf | LeafFault]:
    # Of the leaves that were passed on, revisions alone are held: a document can have thousands.
    seen: set[str] = set()
    last: Leaf | LeafFault | None = None
    for _, text in group:
        leaf = leaf_of(text, "a sorted document")
        if newest_last:
            if last is not None:
                left_out["repeated" if last.rev == leaf.rev else "superseded"] += 1
            last = leaf
        elif leaf.rev in seen:
            left_out["repeated"] += 1
        else:
            seen.add(leaf.rev)
            yield leaf
    if last is not None:
        yield last


def _text(leaf: Leaf) -> bytes:
    return b"".join(document_pieces(leaf.body, leaf.attachments))
