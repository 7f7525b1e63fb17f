"""Design documents by what they hold: views, Mango indexes, validation functions, foreign search engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from migrator.server.admin.connection import Server, view_names

PREFIX = "_design/"
# What comes after every design document in the order of ids.
END = "_design0"
# Of these the first is built into CouchDB; search engines beside it are not.
ENGINES = {"indexes": "search (Clouseau)", "st_indexes": "geo", "nouveau": "nouveau"}
KNOWN_LANGUAGES = frozenset({"javascript", "query"})


@dataclass(frozen=True)
class Design:
    """One design document. `name` is its id without `_design/`; `views` are those that an index is built of."""

    name: str
    language: str
    views: tuple[str, ...]
    validates: bool
    engines: tuple[str, ...]

    @property
    def mango(self) -> bool:
        """True when it holds Mango indexes."""
        return self.language == "query"


def designs_of(server: Server, database: str) -> Iterator[Design]:
    """The design documents of a database."""
    params = {"startkey": f'"{PREFIX}"', "endkey": f'"{END}"', "include_docs": "true"}
    what = f"Reading design documents of {database}"
    for row in server.value(what, "GET", database, "_all_docs", params=params)["rows"]:
        if isinstance(row.get("doc"), Mapping):
            yield design_from(row["doc"])


def design_from(document: Mapping[str, Any]) -> Design:
    """What a design document holds."""
    return Design(
        str(document["_id"]).removeprefix(PREFIX),
        str(document.get("language", "javascript")),
        tuple(view_names(document)),
        "validate_doc_update" in document,
        tuple(name for key, name in ENGINES.items() if document.get(key)),
    )
