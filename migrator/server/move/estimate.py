"""Estimates how long a move will take, by moving a few documents into a scratch database that is removed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from migrator.errors import EndpointError
from migrator.server.admin.connection import Server
from migrator.server.admin.probes import scratch_database
from migrator.server.move.plan import DatabasePlan, Estimate

SAMPLE_DOCUMENTS = 500
SAMPLE_BYTES = 4_000_000
# What databases side by side gain on a server with few processors.
GAIN = 1.2


def estimate(source: Server, target: Server, databases: Sequence[DatabasePlan]) -> tuple[Estimate | None, str]:
    """Time expected for these databases, and a sentence where it cannot be told."""
    largest = max(databases, key=lambda database: database.documents, default=None)
    if largest is None or not largest.documents:
        return None, "there are no documents to take a sample of"
    try:
        started = time.monotonic()
        bodies = _sample(source, largest.source)
        with scratch_database(target.client) as scratch:
            if not bodies:
                return None, "there are no documents to take a sample of"
            target.client.bulk_docs(scratch, bodies)
            seconds = max(time.monotonic() - started, 0.001)
    except EndpointError as error:
        return None, f"no sample could be taken: {error.message}"
    size = sum(map(len, bodies))
    per_second, bytes_per_second = len(bodies) / seconds, size / seconds
    documents = sum(database.documents + database.deleted_documents for database in databases)
    external = sum(database.external_bytes or 0 for database in databases)
    needed = max(documents / per_second, external / bytes_per_second) / GAIN
    return Estimate(round(needed, 1), round(per_second, 1), round(bytes_per_second, 1), len(bodies)), ""


def _sample(source: Server, database: str) -> list[bytes]:
    params = {"include_docs": "true", "limit": SAMPLE_DOCUMENTS}
    answer = source.client.ask(f"Reading a sample of {database}", "GET", database, "_all_docs", params=params)
    bodies: list[bytes] = []
    size = 0
    for row in answer.json("A sample")["rows"]:
        document: dict[str, Any] = row.get("doc") or {}
        if document.get("_id", "_").startswith("_"):
            continue
        # Attachments are told by the database's size; the sample leaves them where they are.
        kept = {key: value for key, value in document.items() if key == "_id" or not key.startswith("_")}
        body = json.dumps(kept).encode()
        if bodies and size + len(body) > SAMPLE_BYTES:
            break
        bodies.append(body)
        size += len(body)
    return bodies
