"""One state out of a chain of snapshots: of each id, what the newest snapshot that has it says."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from migrator.backup.format.lines import PIECE, Head, divide
from migrator.backup.format.manifest import Manifest, Segment, StoredFile, damaged
from migrator.backup.format.stored_files import StoredFiles


class Entry(NamedTuple):
    """A line of a leaf or a fault, of a segment or an index."""

    key: bytes
    snapshot: str
    head: Head
    body: bytes


def entries(
    files: StoredFiles,
    manifest: Manifest,
    *,
    of_index: bool = False,
    after: bytes | None = None,
    wanted: Sequence[bytes] | None = None,
) -> Iterator[Entry]:
    """The lines of one snapshot in order, but for pieces.

    Args:
        files: the chain's files.
        manifest: the snapshot.
        of_index: read the index in place of the segments.
        after: only ids above this one.
        wanted: only these ids, sorted.
    """
    ids = None if wanted is None else frozenset(wanted)
    for segment in manifest.segments:
        if not _may_have(segment, after, wanted):
            continue
        file: Segment | StoredFile = segment.index if of_index else segment
        offset = 0
        length = files.length(manifest.snapshot, file)
        while offset < length:
            lines, offset = files.frame(manifest.snapshot, file, offset)
            for line in lines:
                if line.startswith(PIECE):
                    continue
                try:
                    head, body = divide(line)
                    key = head["id"].encode()
                except (ValueError, KeyError, TypeError, AttributeError):
                    where = files.where(manifest.snapshot, file)
                    raise damaged(where, "a line is not of the format") from None
                if (after is None or key > after) and (ids is None or key in ids):
                    yield Entry(key, manifest.snapshot, head, body)


def merged(sources: Sequence[Iterator[Entry]]) -> Iterator[Entry]:
    """Merge the entries of a chain.

    Where the newest snapshot of a document has a fault, the leaves of the one before count too: of two revisions
    of one branch the server keeps the later one anyway, and the earlier is better than none.

    Args:
        sources: those of each snapshot, the newest first.
    """
    if len(sources) == 1:
        yield from sources[0]
        return
    # Of equal keys the newest snapshot's come first.
    in_order = heapq.merge(*sources, key=attrgetter("key"))
    for _, document in groupby(in_order, key=attrgetter("key")):
        seen: set[str] = set()
        faults: dict[str, Entry] = {}
        for _, leaves in groupby(document, key=attrgetter("snapshot")):
            faulty = False
            for entry in leaves:
                rev = entry.head["rev"]
                if "fault" in entry.head:
                    faulty = True
                    faults.setdefault(rev, entry)
                elif rev not in seen:
                    seen.add(rev)
                    yield entry
            if not faulty:
                # What older snapshots have under this id is of the past, unless a leaf is missing here.
                break
        yield from (fault for rev, fault in faults.items() if rev not in seen)


def _may_have(segment: Segment, after: bytes | None, wanted: Sequence[bytes] | None) -> bool:
    """False when a segment is sure to hold no line that is asked for."""
    if not segment.last_id:
        return True
    first, last = segment.first_id.encode(), segment.last_id.encode()
    if after is not None and last <= after:
        return False
    if wanted is None:
        return True
    place = bisect_left(wanted, first)
    return place < len(wanted) and wanted[place] <= last
