"""What a CouchDB refuses for good other than documents, found before it is sent.

To some of it a server answers 500 or 503, as if the same request could pass later. Each function gives one
sentence that says what is wrong, "" where nothing is known against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migrator.couch.responses import Answer

SERVICES = {"text": "search", "nouveau": "nouveau"}
"""The type of an index, and what a server's welcome names among its features where it has that type."""

_GROUPS = ("admins", "members", "readers")
_INDEX_TYPES = ("json", *SERVICES)
_FUNCTIONS = ("filters", "lists", "shows", "updates")


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
