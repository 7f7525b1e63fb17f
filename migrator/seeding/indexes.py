"""Mango indexes as fixtures and as a server lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from migrator.couch.answers import refuse
from migrator.couch.client import CouchClient
from migrator.couch.refused import index_refused
from migrator.errors import ConfigError
from migrator.seeding.writing import remove_all, write_all

_PREFIX = "_design/"


class IndexKey(NamedTuple):
    """What names an index: its design document's id and its own name."""

    design: str
    name: str

    def __str__(self) -> str:
        return f"{self.design.removeprefix(_PREFIX)}/{self.name}"


def key_of(definition: Mapping[str, Any]) -> IndexKey:
    """The key of an index in a fixture or in a list."""
    return IndexKey(_PREFIX + str(definition["ddoc"]).removeprefix(_PREFIX), str(definition["name"]))


def listed(client: CouchClient, database: str) -> dict[IndexKey, dict[str, Any]]:
    """The indexes of a database in the form of fixtures, without the built-in one."""
    answer = client.call("GET", database, "_index")
    what = f"Listing the indexes of {database}"
    if answer.status != 200:
        refuse(answer, what, client.url)
    found: dict[IndexKey, dict[str, Any]] = {}
    for index in answer.json(what)["indexes"]:
        if index.get("ddoc"):
            key = key_of(index)
            found[key] = _plain(
                {
                    "ddoc": key.design.removeprefix(_PREFIX),
                    "name": key.name,
                    "type": index["type"],
                    "index": index["def"],
                    "partitioned": index.get("partitioned", False),
                }
            )
    return found


def short(definition: Mapping[str, Any], *, partitioned: bool) -> dict[str, Any]:
    """A definition as people write it: an ascending field is its name alone, and what is usual is not said."""
    index = dict(definition["index"])
    if definition.get("type") == "json":
        index["fields"] = [
            next(iter(field)) if isinstance(field, dict) and list(field.values()) == ["asc"] else field
            for field in index["fields"]
        ]
    shortened = {**definition, "index": index}
    if definition.get("partitioned", partitioned) == partitioned:
        shortened.pop("partitioned", None)
    return shortened


def equal(fixture: Mapping[str, Any], there: Mapping[str, Any], *, partitioned: bool) -> bool:
    """True when a server would make of the fixture what is there."""
    ours = _plain({"type": "json", "partitioned": partitioned, **fixture})
    theirs = _plain({"partitioned": partitioned, **there})
    if ours["type"] != "json":
        # The server rewrites the fields of other kinds, so that only their presence is known.
        return bool(ours["type"] == theirs["type"])
    return all(ours.get(name) == theirs.get(name) for name in ("type", "index", "partitioned"))


def create(client: CouchClient, database: str, definition: Mapping[str, Any], file: str = "") -> None:
    """Create an index.

    Raises:
        ConfigError: the server refuses it for good; the message names the file that declares it.
    """
    answer = client.call("POST", database, "_index", body=json.dumps(definition).encode())
    if answer.status in {200, 201}:
        return
    if reason := index_refused(answer):
        place = f"{file}: " if file else ""
        raise ConfigError(
            f"{place}{client.url} refuses the index {key_of(definition)} of {database} for good: {reason}.",
            hint="Change the index or remove its file, then seed again.",
        )
    refuse(answer, f"Creating the index {key_of(definition)} of {database}", client.url)


def remove(client: CouchClient, database: str, key: IndexKey) -> None:
    """Remove an index by what all servers have in common: it is a view of a design document."""
    document = client.get_document(database, key.design)
    if document is None:
        return
    views = {name: view for name, view in document.get("views", {}).items() if name != key.name}
    others = {name: view for name, view in document.get("indexes", {}).items() if name != key.name}
    if views or others:
        left = {**document, "views": views, **({"indexes": others} if "indexes" in document else {})}
        write_all(client, database, [json.dumps(left).encode()])
    else:
        remove_all(client, database, [key.design])


def _plain(definition: Mapping[str, Any]) -> dict[str, Any]:
    index = dict(definition["index"])
    if "partial_filter_selector" in index and not index["partial_filter_selector"]:
        del index["partial_filter_selector"]
    if definition.get("type") == "json" and isinstance(index.get("fields"), list):
        index["fields"] = [{field: "asc"} if isinstance(field, str) else field for field in index["fields"]]
    return {**definition, "index": index}
