"""Reads a folder of fixtures whole and finds every fault in it, before anything is written.

Fixtures are test data that lives beside code, so they are held in memory; `migrator run` moves what is larger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from migrator import naming
from migrator.codec import BOOKKEEPING, Unencodable, canonical, encode
from migrator.couch.refused import design_fault
from migrator.couch.screen import screen
from migrator.couch.size import DEFAULT_MAX_DOCUMENT_BYTES
from migrator.errors import ConfigError
from migrator.seeding import declared, users
from migrator.seeding.declared import SpecialFiles
from migrator.seeding.design import read_design
from migrator.seeding.model import Fixture, FixtureDatabase, Fixtures
from migrator.seeding.problems import FixtureError, Place, Problem
from migrator.seeding.rows import SUFFIXES, read_rows
from migrator.seeding.texts import JsonText, Line, Malformed, Text, read_json
from migrator.seeding.values import Expander

LAYOUT = (
    "A folder of fixtures holds <database>/<id>.json, <database>.ndjson, .jsonl, .json, .yaml, .yml or .csv, "
    "and in <database>/ also _security.json, _database.json, _design/<name>/ and _index/<name>.json."
)
_DESIGN = "_design/"


def read_fixtures(folder: Path, *, environ: Mapping[str, str], now: datetime, prefix: str = "") -> Fixtures:
    """Read a folder of fixtures.

    Args:
        folder: the folder.
        environ: the variables for `${NAME}`.
        now: the time for `${now}`.
        prefix: goes before each database's name but `_users`.

    Raises:
        FixtureError: what is wrong, all of it.
        ConfigError: there is no such folder, or the prefix cannot begin a name.
    """
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder} of fixtures.", hint=LAYOUT)
    if prefix:
        naming.database_names([], prefix=prefix)
    reading = _Reading(folder, Expander(environ, now, []), prefix)
    databases = reading.read()
    if reading.problems:
        raise FixtureError(reading.problems)
    return Fixtures(folder, databases, reading.names)


class _Reading:
    def __init__(self, folder: Path, expander: Expander, prefix: str) -> None:
        self._folder = folder
        self._expander = expander
        self._prefix = prefix
        self._databases: dict[str, FixtureDatabase] = {}
        self._texts: dict[str, dict[str, Text]] = {}
        self.problems = expander.problems
        self.names: dict[str, str] = {}

    def read(self) -> dict[str, FixtureDatabase]:
        entries = [path for path in sorted(self._folder.iterdir()) if not _ignored(path)]
        # What belongs to a database as a whole is known before its documents are looked at.
        for path in entries:
            if path.is_dir():
                self._folder_of(path)
        links: Path | None = None
        for path in entries:
            if path.name == declared.REFERENCES:
                links = path
            elif path.is_file():
                self._file_of(path)
        for database in self._databases.values():
            database.documents.sort(key=lambda fixture: fixture.id.encode())
            database.designs.sort(key=lambda fixture: fixture.id.encode())
        self._check_references()
        if links is not None:
            self.problems += declared.check_links(
                links.name,
                links.read_bytes(),
                {name: database.documents for name, database in self._databases.items()},
                self._texts,
            )
        return self._databases

    # -- databases --------------------------------------------------------------------------------------------

    def _database(self, stem: str, place: Place) -> FixtureDatabase:
        name = naming.collection_name(stem)
        if name not in self._databases:
            self._databases[name] = FixtureDatabase(name, place)
            self._texts[name] = {}
            try:
                wanted = name if name in naming.SYSTEM_DATABASES else self._prefix + name
                self.names[name] = naming.legal_database(wanted, allow_system=name == users.USERS)
            except ConfigError as error:
                self._problem(place, f"illegal database name: {error}")
        return self._databases[name]

    def _folder_of(self, folder: Path) -> None:
        database = self._database(folder.name, Place(folder.name))
        paths = [path for path in sorted(folder.iterdir()) if not _ignored(path)]
        special = SpecialFiles(database, self._expander, self.problems)
        for path in [path for path in paths if path.name.startswith("_")]:
            shown = f"{folder.name}/{path.name}"
            if path.name == "_design" and path.is_dir():
                self._designs(database, path, shown)
            elif not special.read(path, shown):
                self._problem(Place(shown), f"{path.name} is nothing that a database's folder holds. {LAYOUT}")
        for path in [path for path in paths if not path.name.startswith("_")]:
            shown = f"{folder.name}/{path.name}"
            if path.suffix != ".json" or path.is_dir():
                self._problem(Place(shown), f"this is no fixture; a document is a file <id>.json. {LAYOUT}")
                continue
            value, text = self._json(path, shown)
            if text is not None:
                self._add(database, value, text, naming.collection_name(path.name.removesuffix(".json")))

    def _designs(self, database: FixtureDatabase, folder: Path, shown: str) -> None:
        for path in sorted(folder.iterdir()):
            name = f"{shown}/{path.name}"
            if _ignored(path):
                continue
            if path.is_dir():
                before = len(self.problems)
                value: Any = read_design(path, name, self.problems)
                if len(self.problems) > before:
                    continue
                self._put(database, {"_id": _DESIGN + naming.collection_name(path.name), **value}, Line(name))
            elif path.suffix == ".json":
                value, text = self._json(path, name)
                if text is not None and isinstance(value, dict):
                    id = _DESIGN + naming.collection_name(path.name.removesuffix(".json"))
                    self._put(database, {**value, "_id": id}, text)
                elif text is not None:
                    self._problem(text.place(), "a design document is an object.")
            else:
                self._problem(Place(name), "a design document is a folder or a file <name>.json.")

    def _file_of(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            self._problem(Place(path.name), f"this is no fixture. {LAYOUT}")
            return
        database = self._database(path.name[: -len(suffix)], Place(path.name))
        try:
            for row in read_rows(path, suffix):
                if isinstance(row, Malformed):
                    self._problem(row.place, str(row))
                    continue
                self._add(database, row.value, row.text, row.id, row.line)
        except Malformed as malformed:
            self._problem(malformed.place, str(malformed))
        except OSError as error:
            self._problem(Place(path.name), f"cannot be read: {error.strerror}.")

    def _json(self, path: Path, shown: str) -> tuple[Any, JsonText | None]:
        try:
            return read_json(shown, path.read_bytes())
        except Malformed as malformed:
            self._problem(malformed.place, str(malformed))
        except OSError as error:
            self._problem(Place(shown), f"cannot be read: {error.strerror}.")
        return None, None

    # -- documents --------------------------------------------------------------------------------------------

    def _add(
        self, database: FixtureDatabase, value: Any, text: Text, id: str | None, line: bytes | None = None
    ) -> None:
        """Take one document in, under the id of its file or key, its own, or one that its content makes."""
        if not isinstance(value, dict):
            self._problem(text.place(), "a document is an object.")
            return
        if line is not None and b"\\ud" in line.lower():
            # Half a surrogate pair shows when the text is made anew.
            line = None
        if line is None or b"${" in line:
            expanded = self._expander.expand(value, database.name, text)
            if expanded != value:
                line = None
            document: dict[str, Any] = expanded
        else:
            document = value
        own = document.get("_id")
        if id is not None:
            if database.name == users.USERS:
                document = users.complete({**document, "_id": document.get("_id", id)})
            elif own is not None and own != id:
                self._problem(text.place(["_id"]), f"the file or key gives the id {id!r}, but _id is {own!r}.")
                return
            else:
                document = {"_id": id, **document}
            line = None
        elif database.name == users.USERS:
            document, line = users.complete(document), None
        if "_id" not in document:
            # Of the text as it stands, so that a relative date leaves the id as it is.
            try:
                made = hashlib.sha256(canonical(value)).hexdigest()[:32]
            except Unencodable as error:
                self._problem(text.place(), f"{error.reason}.")
                return
            document, line = {"_id": made, **document}, None
        if not isinstance(document["_id"], str) or not document["_id"]:
            self._problem(
                text.place(["_id"]), f"the _id is a text that is not empty, not {document['_id']!r:.80}."
            )
            return
        self._put(database, document, text, line)

    def _put(
        self, database: FixtureDatabase, document: dict[str, Any], text: Text, line: bytes | None = None
    ) -> None:
        id: str = document["_id"]
        known = self._texts[database.name]
        if id in known:
            self._problem(text.place(["_id"]), f"duplicate id {id!r}: it is also at {known[id].place()}.")
            return
        known[id] = text
        if line is None or not BOOKKEEPING.isdisjoint(document):
            try:
                line = encode(document)
            except Unencodable as error:
                self._problem(text.place(), f"{error.reason}.")
                return
        if database.name == users.USERS and not id.startswith(_DESIGN) and (fault := users.fault(document)):
            self._problem(text.place(), fault)
            return
        if id.startswith(_DESIGN) and (fault := design_fault(document)):
            self._problem(text.place(), f"{fault}: CouchDB refuses it for good.")
            return
        refused = screen(
            id,
            document,
            line,
            max_document_bytes=DEFAULT_MAX_DOCUMENT_BYTES,
            partitioned=database.partitioned,
        )
        if refused is not None:
            self._problem(text.place(), refused.reason)
            return
        (database.designs if id.startswith(_DESIGN) else database.documents).append(Fixture(id, line, text))

    # -- references -------------------------------------------------------------------------------------------

    def _check_references(self) -> None:
        for reference in self._expander.references:
            if reference.database not in self._databases:
                self._problem(
                    reference.place(),
                    f"wrong reference: there is no database {reference.database!r} among the fixtures.",
                )
            elif reference.id not in self._texts[reference.database]:
                self._problem(
                    reference.place(),
                    f"wrong reference: there is no {reference.id!r} in {reference.database!r}"
                    f"{declared.nearest(reference.id, self._texts[reference.database])}.",
                )

    def _problem(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))


def _ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name.upper().startswith("README")
