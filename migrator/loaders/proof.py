"""Proves each write as it happens: its revision is that of what was sent, so exactly that is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from migrator.couch.documents import Fidelity
from migrator.model import EncodedDocument

# So many documents that are stored as they were sent, under other revisions, show that the rule is not kept here.
MAX_EQUAL = 100


@dataclass
class Proof:
    """What is known of the revisions of one database of one run. Safe for threads, as ids of batches are disjoint.

    A row with another revision than the expected one is settled by reading, as a conflict is. If other content is
    stored, in that very revision, the document was altered on its way. If it is stored as it was sent, the rule is
    not kept here (by a server that only greets as CouchDB, or by a proxy that writes JSON in its own way): nobody
    is accused, and after some of these no more is computed.

    Args:
        fidelity: knows the rule.
        wanted: prove at all.
    """

    fidelity: Fidelity = field(default_factory=Fidelity)
    wanted: bool = False
    # By id the revision that was expected and the one that came, until the document is settled.
    doubted: dict[str, tuple[str, str]] = field(default_factory=dict)
    _equal: int = 0

    def expected(self, document: EncodedDocument, parent: str | None) -> str | None:
        """The revision that a document gets that is sent over a parent; None where that is not known."""
        return self.fidelity.expected(document, parent) if self.wanted else None

    def doubts(self, row: Mapping[str, Any], expected: str | None, parent: str | None) -> bool:
        """True when what was stored, by the server's row, may not be what was sent: it is to be read."""
        rev = str(row["rev"])
        # Over a tombstone, of which nothing is known here, a document without a parent gets another number.
        if expected is None or expected == rev or (parent is None and not rev.startswith("1-")):
            return False
        self.doubted[str(row["id"])] = expected, rev
        return True

    def of_equal(self, id: str, rev: str) -> str:
        """The proof of a document that is stored as it was sent; `rev` is the revision if that has shown it."""
        if id in self.doubted and not rev:
            self._equal += 1
            self.wanted = self.wanted and self._equal < MAX_EQUAL
        return rev if self.wanted else ""

    def altered(self, id: str, rev: str, path: str) -> str:
        """Why a document is rejected of which this revision is stored, with other content at this path.

        "" where that is not what a row of ours said: then another writer was there.
        """
        expected, came = self.doubted.get(id, ("", ""))
        if came != rev:
            return ""
        return (
            f"something between here and the server changed it: {rev} is stored, {expected} was sent, and they "
            f"differ first at {path}. Written again with --on-conflict overwrite, it replaces what is stored"
        )
