"""Reads an attachment back out of a snapshot, and makes sure that it is the one that was stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from migrator.backup.format.lines import StoredAttachment, piece
from migrator.backup.format.manifest import damaged
from migrator.backup.format.stored_files import StoredFiles
from migrator.naming import shown


def read_attachment(files: StoredFiles, id: str, stored: StoredAttachment, snapshot: str) -> Iterator[bytes]:
    """Give the decoded bytes in pieces; that they are the right ones is known at the end.

    Args:
        files: those of the chain.
        id: the document's, for people.
        stored: what the leaf's line says.
        snapshot: where its pieces are.

    Raises:
        DamagedBackup: they are not what was stored.
    """
    what = f"the attachment {shown(stored.name)} of {shown(id)}"
    where = files.snapshot_shown(snapshot)
    digest = hashlib.sha256()
    length = 0
    lines = _lines_from(files, snapshot, stored) if stored.length else iter(())
    while length < stored.length:
        try:
            name, at, data = piece(next(lines, b""))
        except ValueError:
            raise damaged(where, f"{what} is cut off") from None
        if (name, at) != (stored.name, length) or not data:
            raise damaged(where, f"{what} is not where it should be")
        digest.update(data)
        length += len(data)
        yield data
    if (digest.hexdigest(), length) != (stored.sha256, stored.length):
        raise damaged(where, f"{what} has other bytes than it had")


def _lines_from(files: StoredFiles, snapshot: str, stored: StoredAttachment) -> Iterator[bytes]:
    """The lines from an attachment's first piece on."""
    manifest = files.manifest(snapshot)
    number, offset, first = stored.at
    for segment in manifest.segments[number - 1 :]:
        length = files.length(snapshot, segment)
        while offset < length:
            lines, offset = files.frame(snapshot, segment, offset)
            yield from lines[first:]
            first = 0
        offset = 0
