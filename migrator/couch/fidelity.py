"""What a server keeps of a document, and equality of content by that measure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from migrator.codec import decode
from migrator.codec.equality import content, differing_path
from migrator.couch.attachments import with_plain_attachments
from migrator.couch.revision import first_revision, rule_holds
from migrator.model import Document


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How a server stores.

    Args:
        computes_revisions: first revisions are those of `first_revision`.
        keeps_numbers: 1 and 1.0 stay apart, and integers of any size stay exact. Servers written in JavaScript,
            such as the sandbox, hold every number as a double.
    """

    computes_revisions: bool = True
    keeps_numbers: bool = True

    def proves(self, body: bytes, rev: str) -> bool:
        """True when the revision proves that the stored content is this; False when that is not known."""
        return self.computes_revisions and rev.startswith("1-") and first_revision(body) == rev

    def differing(self, body: bytes, there: Document) -> str | None:
        """The first path at which a stored document is not what the server makes of a sent one; None when equal.

        Args:
            body: the document as it is sent.
            there: the stored document with plain attachments.
        """
        ours, theirs = content(with_plain_attachments(decode(body))), content(there)
        if not self.keeps_numbers:
            ours, theirs = _with_doubles(ours), _with_doubles(theirs)
        return differing_path(ours, theirs, stored=True)


def fidelity_of(welcome: Mapping[str, Any], database: str = "") -> Fidelity:
    """Of the server that greets so, and of the database: user documents are rewritten as they are stored."""
    computes = rule_holds(welcome) and database not in {"_users", "_replicator"}
    return Fidelity(computes, "express-pouchdb" not in welcome)


def _with_doubles(value: dict[str, Any]) -> dict[str, Any]:
    try:
        changed: dict[str, Any] = json.loads(json.dumps(value), parse_int=float)
    except RecursionError:
        # So deep a document never came through such a server.
        return value
    return changed
