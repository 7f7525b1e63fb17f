"""Gives a record of a stream its `_id`: of its key's properties, or of its content where the stream has no key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from migrator.codec import BOOKKEEPING, Unencodable, content_hash
from migrator.extractors.row_faults import row_fault
from migrator.extractors.sql_values import NoId, document_id
from migrator.model import Position, Record

# What taps note on the transport of a record is another at each run, and no part of its content.
_NOTES = ("_sdc_", "_dlt_")


def keyed_record(position: Position, content: Any, key: Sequence[str], place: str) -> Record:
    """The document of a record, or its fault.

    Args:
        position: after it.
        content: the record.
        key: the properties that are its key; without any, the `_id` that it has is kept, and else the SHA-256
            of its content is taken: what comes again is written once.
        place: where it stands, for people.
    """
    if not isinstance(content, Mapping):
        return Record(
            position, fault=row_fault(place, "not_an_object", "the record is no object", document=content)
        )
    missing = [name for name in key if name not in content]
    if missing:
        reason = f"the record has no {missing[0]}, which is of the key"
        return Record(position, fault=row_fault(place, "no_key", reason, document=content))
    if not key and "_id" in content:
        return Record(position, content)
    try:
        id = document_id([content[name] for name in key]) if key else _content_id(content)
    except NoId as error:
        return Record(position, fault=row_fault(place, "no_id", error, document=content))
    except Unencodable as error:
        return Record(position, fault=row_fault(place, error.error, error.reason, document=content))
    return Record(position, {**content, "_id": id})


def _content_id(content: Mapping[str, Any]) -> str:
    return content_hash(
        {name: value for name, value in content.items() if name not in BOOKKEEPING and not name.startswith(_NOTES)}
    )
