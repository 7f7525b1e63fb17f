"""What a folder declares besides documents: security, options, indexes, and fields that refer to documents."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from migrator.codec import decode
from migrator.couch.refused import index_fault, options_fault, security_fault
from migrator.naming import collection_name
from migrator.seeding.indexes import key_of
from migrator.seeding.model import Fixture, FixtureDatabase
from migrator.seeding.problems import Place, Problem
from migrator.seeding.texts import JsonText, Malformed, read_json
from migrator.seeding.values import Expander

REFERENCES = "_references.json"
_OPTIONS = {"partitioned": bool, "q": int, "n": int}
_INDEX_KEYS = frozenset({"ddoc", "name", "type", "index", "partitioned"})
_FORM = 'Write it like {"index": {"fields": ["name"]}}.'


class SpecialFiles:
    """Reads the files of a database's folder that begin with an underscore."""

    def __init__(self, database: FixtureDatabase, expander: Expander, problems: list[Problem]) -> None:
        self._database = database
        self._expander = expander
        self._problems = problems

    def read(self, path: Path, shown: str) -> bool:
        """Read one; False when it is none."""
        if path.name == "_security.json":
            self._database.security = self._object(path, shown)
            if self._database.security is not None:
                self._refused(shown, security_fault(self._database.security))
        elif path.name == "_database.json":
            self._options(path, shown)
        elif path.name == "_index" and path.is_dir():
            for inner in sorted(path.iterdir()):
                if not inner.name.startswith("."):
                    self._index(inner, f"{shown}/{inner.name}")
        else:
            return False
        return True

    def _options(self, path: Path, shown: str) -> None:
        options = self._object(path, shown) or {}
        wrong = [key for key, value in options.items() if type(value) is not _OPTIONS.get(key)]
        for key in wrong:
            self._problem(Place(shown), f"{key!r}: options are partitioned (true or false), q and n (numbers).")
        self._refused(shown, "" if wrong else options_fault(options))
        self._database.options = options

    def _index(self, path: Path, shown: str) -> None:
        if path.suffix != ".json":
            self._problem(Place(shown), "an index is a file <name>.json.")
            return
        definition = self._object(path, shown)
        if definition is None:
            return
        stem = collection_name(path.name.removesuffix(".json"))
        index = definition.get("index")
        fields = index.get("fields") if isinstance(index, dict) else None
        unknown = definition.keys() - _INDEX_KEYS
        if unknown or not isinstance(index, dict):
            wrong = f"there is no {min(unknown)!r} in an index" if unknown else "there is no 'index'"
            self._problem(Place(shown), f"{wrong}. {_FORM}")
            return
        if definition.get("type", "json") == "json" and not (fields and isinstance(fields, list)):
            self._problem(Place(shown), f"the index has no list of fields. {_FORM}")
            return
        definition = {"ddoc": stem, "name": stem, "type": "json", **definition}
        if fault := index_fault(definition):
            self._refused(shown, fault)
            return
        key = key_of(definition)
        if key in self._database.indexes:
            self._problem(Place(shown), f"duplicate id: another file gives the index {key} too.")
        self._database.indexes[key] = definition
        self._database.index_files[key] = shown

    def _object(self, path: Path, shown: str) -> dict[str, Any] | None:
        try:
            value, text = read_json(shown, path.read_bytes())
        except Malformed as malformed:
            self._problem(malformed.place, str(malformed))
            return None
        except OSError as error:
            self._problem(Place(shown), f"cannot be read: {error.strerror}.")
            return None
        if not isinstance(value, dict):
            self._problem(Place(shown), "this file holds one object.")
            return None
        expanded: dict[str, Any] = self._expander.expand(value, self._database.name, text)
        return expanded

    def _refused(self, shown: str, fault: str) -> None:
        if fault:
            self._problem(Place(shown), f"{fault}: CouchDB refuses it for good.")

    def _problem(self, place: Place, message: str) -> None:
        self._problems.append(Problem(place, message))


def check_links(
    shown: str,
    data: bytes,
    documents: Mapping[str, Iterable[Fixture]],
    ids: Mapping[str, Mapping[str, Any]],
) -> list[Problem]:
    """Check the fields that `_references.json` names: each value is the id of a document among the fixtures.

    Args:
        shown: the file's name.
        data: its text: `{"orders.customer": "customers"}`.
        documents: by database.
        ids: what there is, by database.
    """
    problems: list[Problem] = []
    try:
        links, text = read_json(shown, data)
    except Malformed as malformed:
        return [Problem(malformed.place, str(malformed))]
    if not isinstance(links, dict):
        return [Problem(Place(shown), 'this file holds one object, {"orders.customer": "customers"}.')]
    for link, target in links.items():
        problem = _link_problem(link, target, text, ids)
        if problem:
            problems.append(problem)
            continue
        database, *path = link.split(".")
        for fixture in documents[database]:
            for steps, id in _values(decode(fixture.body), path, ()):
                if not isinstance(id, str) or id not in ids[target]:
                    near = nearest(id, ids[target]) if isinstance(id, str) else ""
                    message = f"wrong reference: there is no {id!r:.80} in {target!r}{near}."
                    problems.append(Problem(fixture.text.place(steps), message))
    return problems


def nearest(id: str, ids: Iterable[str]) -> str:
    """Say which id may have been meant."""
    near = difflib.get_close_matches(id, ids, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _link_problem(link: str, target: Any, text: JsonText, ids: Mapping[str, Any]) -> Problem | None:
    database, dot, field = link.partition(".")
    if not (dot and field) or not isinstance(target, str):
        return Problem(
            text.place([link]), 'write a database\'s field and a database: {"orders.customer": "customers"}.'
        )
    for name in (database, target):
        if name not in ids:
            return Problem(
                text.place([link]), f"wrong reference: there is no database {name!r} among the fixtures."
            )
    return None


def _values(
    value: Any, path: list[str], steps: tuple[str | int, ...]
) -> Iterable[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _values(item, path, (*steps, index))
    elif not path:
        if value is not None:
            yield steps, value
    elif isinstance(value, dict) and path[0] in value:
        yield from _values(value[path[0]], path[1:], (*steps, path[0]))
