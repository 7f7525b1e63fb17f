"""What a server takes at most: documents and attachments, by its settings, which admins are told."""

from __future__ import annotations

import json
from dataclasses import dataclass

from migrator.couch.validate import DEFAULT_MAX_DOCUMENT_BYTES
from migrator.server.admin.connection import Server

DEFAULT_MAX_ATTACHMENT_BYTES = 1 << 30
UNLIMITED = 1 << 62


@dataclass(frozen=True)
class Limits:
    """What a server takes; None where it does not tell this user."""

    document_bytes: int | None
    attachment_bytes: int | None


def limits_of(server: Server) -> Limits:
    """What the server takes at most."""
    return Limits(
        _limit(server, "max_document_size", DEFAULT_MAX_DOCUMENT_BYTES),
        _limit(server, "max_attachment_size", DEFAULT_MAX_ATTACHMENT_BYTES),
    )


def _limit(server: Server, name: str, default: int) -> int | None:
    answer = server.client.call("GET", "_node", "_local", "_config", "couchdb", name)
    if answer.status == 404:
        # What nobody has set is what the program has.
        return default
    if answer.status != 200:
        return None
    text = str(json.loads(answer.body))
    return int(text) if text.isdigit() else UNLIMITED
