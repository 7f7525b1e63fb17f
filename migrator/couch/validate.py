"""What CouchDB is sure to refuse, found before it is sent, because one such document fails its whole batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from migrator.codec import BOOKKEEPING, decode
from migrator.couch.responses import Answer
from migrator.couch.revision import BODY_FIELDS, MAX_INTEGER
from migrator.model import Document, Fault

# Fields with a leading underscore that the server takes from a plain write, or that encoding leaves out.
ALLOWED_FIELDS = BOOKKEEPING | BODY_FIELDS | {"_id", "_attachments"}
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
    # pair itself is only looked at without need.
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
        return Fault("doc_validation", "_attachments is not an object.", id)
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


SERVICES = {"text": "search", "nouveau": "nouveau"}
"""The type of an index, and what a server's welcome names among its features where it has that type."""

_GROUPS = ("admins", "members", "readers")
_INDEX_TYPES = ("json", *SERVICES)
_FUNCTIONS = ("filters", "lists", "shows", "updates")
# A server answers 500 or 503 to some of this, as if it could pass later. Each function says in one sentence what
# is wrong, "" where nothing is known against it.


def security_fault(security: object) -> str:
    """Why a database's `_security` cannot be written: CouchDB answers 500 `no_majority` to it."""
    if not isinstance(security, Mapping):
        return f"_security is {_kind(security)}, and must be an object"
    for group in _GROUPS:
        if group not in security:
            continue
        found = security[group]
        if not isinstance(found, Mapping):
            return f"{group} of _security is {_kind(found)}, and must be an object with names and roles"
        for key in ("names", "roles"):
            if key in found and not _texts(found[key]):
                return f"{group}.{key} of _security must be a list of texts"
    return ""


def design_fault(document: Mapping[str, Any]) -> str:
    """Why a design document is malformed: CouchDB answers `invalid_design_doc`."""
    views = document.get("views", {})
    mango = document.get("language") == "query"
    if not isinstance(views, dict):
        return f"views is {_kind(views)}, and must be an object"
    for name, view in views.items():
        if not isinstance(view, dict):
            return f"the view {name!r} is {_kind(view)}, and must be an object"
        if name == "lib":
            continue
        if "map" not in view:
            return f"the view {name!r} has no map function"
        if not isinstance(view["map"], dict if mango else str):
            wanted = "an object" if mango else "a text"
            return f"map of the view {name!r} is {_kind(view['map'])}, and must be {wanted}"
        if not isinstance(view.get("reduce", ""), str):
            return f"reduce of the view {name!r} is {_kind(view['reduce'])}, and must be a text"
    for name in _FUNCTIONS:
        functions = document.get(name, {})
        if not isinstance(functions, dict):
            return f"{name} is {_kind(functions)}, and must be an object"
        for key, function in functions.items():
            if not isinstance(function, (str, dict)):
                return f"{name}.{key} is {_kind(function)}, and must be a text"
    for name, kinds, wanted in (
        ("language", (str,), "a text"),
        ("validate_doc_update", (str,), "a text"),
        ("rewrites", (list, str), "a list or a text"),
        ("options", (dict,), "an object"),
    ):
        if name in document and not isinstance(document[name], kinds):
            return f"{name} is {_kind(document[name])}, and must be {wanted}"
    partitioned = document.get("options", {}).get("partitioned", False)
    return "" if isinstance(partitioned, bool) else "options.partitioned must be true or false"


def index_fault(definition: Mapping[str, Any]) -> str:
    """Why a Mango index cannot be created, whatever the server has."""
    kind = definition.get("type", "json")
    if kind not in _INDEX_TYPES:
        return f"type is {kind!r}, and an index's type is {', '.join(_INDEX_TYPES[:-1])} or {_INDEX_TYPES[-1]}"
    for name in ("ddoc", "name"):
        if name in definition and not (isinstance(definition[name], str) and definition[name]):
            return f"{name} of an index is a text that is not empty"
    if not isinstance(definition.get("partitioned", False), bool):
        return "partitioned of an index is true or false"
    index = definition["index"]
    selector = index.get("partial_filter_selector", {})
    if not isinstance(selector, dict):
        return f"partial_filter_selector is {_kind(selector)}, and must be an object"
    return _fields_fault(index.get("fields", [])) if kind == "json" else ""


def _fields_fault(fields: object) -> str:
    if not isinstance(fields, list):
        return f"fields is {_kind(fields)}, and must be a list"
    directions = set()
    for field in fields:
        pair = {field: "asc"} if isinstance(field, str) else field
        if not isinstance(pair, dict) or len(pair) != 1 or not {"asc", "desc"}.issuperset(map(str, pair.values())):
            return f'the field {field!r:.80} is neither a text nor {{"name": "asc"}} or {{"name": "desc"}}'
        directions |= set(pair.values())
    return "an index has one direction for all its fields" if len(directions) > 1 else ""


def options_fault(options: Mapping[str, Any]) -> str:
    """Why a database cannot be created with these options."""
    for key in ("q", "n"):
        if options.get(key, 1) < 1:
            return f"{key} is {options[key]}, and must be 1 or more"
    return ""


def lacking_service(kind: str, welcome: Mapping[str, Any]) -> bool:
    """True when a server's welcome says what it has, and the service for a type of index is not among it."""
    features = welcome.get("features")
    return kind in SERVICES and isinstance(features, list) and SERVICES[kind] not in features


def index_refused(answer: Answer) -> str:
    """Why a server refused an index for good; "" where it may take it later."""
    error, reason = answer.error()
    lacks = error == "required index service unavailable"
    if lacks or error == "error_saving_ddoc" or "mango_" in reason or 400 <= answer.status < 401:
        return f"the server has no {reason} indexes" if lacks else f"{error} ({reason})"
    return ""


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds = ((bool, "a truth value"), (str, "a text"), (int, "a number"), (float, "a number"), (list, "a list"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "an object")
