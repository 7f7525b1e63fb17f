"""What CouchDB is sure to refuse, found before it is sent, because one such document fails its whole batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from migrator.codec import BOOKKEEPING, decode
from migrator.couch.revision import MAX_INTEGER
from migrator.model import Document, Fault

# Fields with a leading underscore that the server takes from a plain write, or that encoding leaves out.
ALLOWED_FIELDS = BOOKKEEPING | frozenset(
    {"_id", "_attachments", "_access"}
    | {"_replication_state", "_replication_state_time", "_replication_state_reason", "_replication_id"}
    | {"_replication_stats"}
)
_DIGITS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else ord(" ") for byte in range(256))
_MANY = 309
_MANY_DIGITS = b"0" * _MANY
# Of so many digits in a row two that follow each other at this distance are looked at, wherever the row begins.
_STEP = _MANY // 2


def screen(
    id: str, top_level: Document, body: bytes, *, max_document_bytes: int, partitioned: bool = False
) -> Fault | None:
    """Say why CouchDB refuses this document, with the remedy; None when nothing is known against it."""
    if id[0] == "_" and (fault := _screen_id(id)):
        return fault
    # Most have one such field, the _id. To join all names is quicker than to look at each; one that holds such a
    # pair itself is only looked at in vain.
    if ("\n" + "\n".join(top_level)).count("\n_") != 1:
        for key in top_level:
            if key[:1] == "_" and key != "_id" and (fault := _screen_field(id, key, top_level[key])):
                return fault
    if partitioned and not id.startswith("_design/"):
        head, colon, tail = id.partition(":")
        if not (head and colon and tail) or head.startswith("_"):
            return Fault(
                "illegal_docid", "the database is partitioned, so an _id has the form partition:name.", id
            )
    if len(body) > max_document_bytes:
        size = document_size(top_level)
        if size > max_document_bytes:
            return Fault(
                "document_too_large",
                f"the document has {size} bytes, the server takes {max_document_bytes} (max_document_size). "
                "Raise that limit or divide the document.",
                id,
            )
    if len(body) > _MANY and _may_be_huge(body):
        path = _path_of_huge_integer(decode(body))
        if path:
            return Fault(
                "integer_too_large", f"{path} is an integer of 1.8e308 or more, which CouchDB cannot hold.", id
            )
    return None


def _screen_id(id: str) -> Fault | None:
    if id.startswith("_design/") and id != "_design/":
        return None
    if id.startswith("_local/"):
        return Fault("local_document", "a _local document is a server's own bookkeeping and is not imported.", id)
    return Fault(
        "illegal_docid",
        f"the _id {id[:80]!r} begins with an underscore, which CouchDB reserves. "
        "Give another with --transform id:template=…",
        id,
    )


def _screen_field(id: str, key: str, value: Any) -> Fault | None:
    if key == "_deleted":
        if value is False:
            return None
        return Fault(
            "deleted_document", "the document is a tombstone (_deleted), and only documents are imported.", id
        )
    if key == "_attachments":
        return _screen_attachments(id, value)
    if key in ALLOWED_FIELDS:
        return None
    name = key.lstrip("_") or "field"
    return Fault(
        "doc_validation",
        f"the top-level field {key} begins with an underscore, which CouchDB reserves. "
        f"Rename it with --transform rename:{key}={name}, or leave it out with drop:{key}",
        id,
    )


def _screen_attachments(id: str, value: Any) -> Fault | None:
    if not isinstance(value, Mapping):
        return Fault("doc_validation", "_attachments is no object.", id)
    for name, attachment in value.items():
        if not isinstance(attachment, Mapping) or not isinstance(attachment.get("data"), str):
            return Fault(
                "attachment_without_data",
                f"the attachment {name!r} comes without its data, so it cannot be written. "
                "Export it with its data, or leave it out with --transform drop:_attachments",
                id,
            )
    return None


def _may_be_huge(body: bytes) -> bool:
    return b"00" in body[::_STEP].translate(_DIGITS) and _MANY_DIGITS in body.translate(_DIGITS)


def _path_of_huge_integer(document: Mapping[str, Any]) -> str:
    pending: list[tuple[str, Any]] = list(document.items())
    while pending:
        path, value = pending.pop()
        if isinstance(value, int) and abs(value) >= MAX_INTEGER:
            return path
        if isinstance(value, Mapping):
            pending.extend((f"{path}.{key}", item) for key, item in value.items())
        elif isinstance(value, list):
            pending.extend((f"{path}[{index}]", item) for index, item in enumerate(value))
    return ""


DEFAULT_MAX_DOCUMENT_BYTES = 8_000_000


def document_size(document: Mapping[str, Any]) -> int:
    """Bytes as `couch_ejson_size` counts them: no field that begins with `_`, strings unescaped, floats rough.

    Above the length of the JSON text only where many integers lie just below a power of ten, so that a text within
    the limit needs no computing.
    """
    body = {key: value for key, value in document.items() if not key.startswith("_")}
    size = 0
    pending: list[Any] = [body]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            size += 2 if not value else 1
            for key, item in value.items():
                size += 4 + len(key.encode())
                pending.append(item)
        elif isinstance(value, list):
            size += 2 if not value else 1 + len(value)
            pending.extend(value)
        else:
            size += _scalar_size(value)
    return size


def _scalar_size(value: Any) -> int:
    if isinstance(value, str):
        return 2 + len(value.encode())
    if value is None or value is True:
        return 4
    if value is False:
        return 5
    if isinstance(value, int):
        # As the server itself computes it, by floats: 999999999999999 has 16 digits for it.
        return 1 + (math.floor(math.log10(abs(value))) if value else 0) + (value < 0)
    return _float_size(float(value))


def _float_size(value: float) -> int:
    if value < 0.0:
        return 1 + _float_size(-value)
    if value in {0.0, 1.0}:
        return 3
    if value < 1.0:
        for bound, size in ((1e-300, 3), (1e-100, 6), (1e-10, 5), (0.01, 4)):
            if value <= bound:
                return size
        return 3
    return 5 if value >= 1e100 else 4 if value >= 1e10 else 3
