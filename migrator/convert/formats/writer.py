"""What the writers of all formats share: what a format can hold, and how a leaf's text is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from migrator.convert.formats.json_text import document_pieces, without
from migrator.convert.formats.output import WholeFile
from migrator.model.revisions import Leaf


@dataclass(frozen=True, slots=True)
class Holds:
    """What a format has a place for.

    Args:
        conflicts: leaves beside the winner.
        tombstones: deleted documents.
        ancestry: `_revisions`, the revisions before a leaf.
    """

    conflicts: bool = True
    tombstones: bool = True
    ancestry: bool = True


class FileWriter:
    """Writes leaves into a file, in the order in which they come.

    Args:
        output: the file.
        database: the database's name, where a format has a place for it.
    """

    format: ClassVar[str] = ""
    holds: ClassVar[Holds] = Holds()
    type_key: ClassVar[str] = "content_type"
    """How an inline attachment's content type is called."""

    def __init__(self, output: WholeFile, *, database: str = "") -> None:
        self.output = output
        self.database = database

    def begin(self) -> None:
        """Write what stands before all."""

    def write(self, leaf: Leaf) -> None:
        """Write one leaf."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what stands after all."""

    def _body(self, leaf: Leaf) -> bytes:
        """The document's text without its attachments, as the format has it."""
        return leaf.body if self.holds.ancestry else without(leaf.body, {"_revisions"})

    def _document(self, leaf: Leaf) -> None:
        """Write the document with its attachments inline."""
        for piece in document_pieces(self._body(leaf), leaf.attachments, type_key=self.type_key):
            self.output.write(piece)


def winner_of(one: Leaf, other: Leaf) -> Leaf:
    """Which of two leaves of a document the server gives when it is asked for the document."""
    return max(one, other, key=_rank)


def _rank(leaf: Leaf) -> tuple[bool, int, str]:
    start, _, hash = leaf.rev.partition("-")
    return not leaf.deleted, int(start), hash
