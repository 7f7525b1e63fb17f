"""Writes databases back as fixtures: sorted, pretty, and such that seeding them makes the same databases."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from migrator.codec import BOOKKEEPING, decode
from migrator.couch.client import CouchClient
from migrator.errors import ConfigError
from migrator.files.durable import sync_folder
from migrator.files.failures import write_error
from migrator.model import Extractor
from migrator.naming import file_name
from migrator.seeding import users
from migrator.seeding.design import write_design
from migrator.seeding.differences import AUTH_DESIGN, read_security
from migrator.seeding.indexes import listed, short
from migrator.seeding.values import escaped

DESIGN = "_design/"
# What a server gives a database that nobody secured; it is no fixture's business.
DEFAULT_SECURITIES: tuple[Any, ...] = (
    {},
    {"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}},
    {"members": {"names": [], "roles": ["_admin"]}, "admins": {"names": [], "roles": ["_admin"]}},
)
FORMATS = ("json", "ndjson")
ANOTHER = "choose another folder"


@dataclass
class Snapshot:
    """What was written of one database."""

    documents: int = 0
    designs: int = 0
    indexes: int = 0
    filtered: int = 0


def snapshot(
    client: CouchClient,
    extractor: Extractor,
    databases: Sequence[str],
    folder: Path,
    *,
    format: str = "json",
    proof: Callable[[Path], None] | None = None,
) -> dict[str, Snapshot]:
    """Write databases as fixtures; what the folder holds of these databases is replaced, all else stays.

    Args:
        client: the server.
        extractor: reads the documents, in the order of their ids or not.
        databases: which.
        folder: where to.
        format: json for a file a document, ndjson for a file a database.
        proof: looks at what was written before it is put in place; what it raises leaves the folder as it was.

    Raises:
        StorageError: there is no room, or no right to write; what was there stays.
        ConfigError: the path is wrong.
        EndpointError: the server is out of reach.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Written beside, and put in place whole: a snapshot that breaks off leaves the old one.
        work = Path(tempfile.mkdtemp(prefix=".snapshot-", dir=folder))
    except OSError as error:
        raise write_error(error, error.filename or folder, instead=ANOTHER) from error
    try:
        taken = {name: _Writing(client, extractor, name, work, format).write() for name in databases}
        if proof is not None:
            proof(work)
        for name in databases:
            _replace(work, folder, file_name(name))
    except OSError as error:
        raise write_error(error, error.filename or folder, instead=ANOTHER) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if made:
            # Of a snapshot that broke off nothing stays, and of one that did not this does.
            with contextlib.suppress(OSError):
                folder.rmdir()
    return taken


def _replace(work: Path, folder: Path, stem: str) -> None:
    from migrator.seeding.rows import SUFFIXES  # noqa: PLC0415 only here

    old = [folder / stem, *(folder / f"{stem}{suffix}" for suffix in SUFFIXES)]
    aside: list[tuple[Path, Path]] = []
    try:
        # The old ones go only when the new ones are there.
        for path in (each for each in old if each.exists() or each.is_symlink()):
            kept = work / f".old-{path.name}"
            path.rename(kept)
            aside.append((kept, path))
        for path in (work / stem, work / f"{stem}.ndjson"):
            if path.exists():
                path.rename(folder / path.name)
        sync_folder(folder)
    except OSError:
        for kept, path in aside:
            if not path.exists():
                kept.rename(path)
        raise


class _Writing:
    def __init__(self, client: CouchClient, extractor: Extractor, database: str, work: Path, format: str) -> None:
        self._client = client
        self._extractor = extractor
        self._database = database
        self._format = format
        self._folder = work / file_name(database)
        self._rows = work / f"{file_name(database)}.ndjson"
        self._taken = Snapshot()

    def write(self) -> Snapshot:
        self._folder.mkdir()
        info = self._client.database_info(self._database) or {}
        partitioned = bool(info.get("props", {}).get("partitioned"))
        if partitioned:
            self._write("_database.json", {"partitioned": True})
        security = read_security(self._client, self._database)
        if security not in DEFAULT_SECURITIES:
            self._write("_security.json", escaped(security))
        indexes = listed(self._client, self._database)
        for key, definition in indexes.items():
            same = key.design == f"{DESIGN}{key.name}"
            self._write(
                f"_index/{file_name(key.name if same else str(key))}.json",
                escaped(short(definition, partitioned=partitioned)),
            )
            self._taken.indexes += 1
        self._documents({key.design for key in indexes})
        if self._database != users.USERS and not any(self._folder.iterdir()) and not self._rows.exists():
            # Git keeps no empty folder, and an empty database is a fixture too.
            self._rows.write_bytes(b"")
        if not any(self._folder.iterdir()):
            self._folder.rmdir()
        return self._taken

    def _documents(self, hidden: set[str]) -> None:
        with ExitStack() as stack:
            rows: BinaryIO | None = None
            for document in self._read(hidden):
                id: str = document["_id"]
                if id.startswith(DESIGN):
                    for path, text in write_design(document):
                        self._text(f"_design/{file_name(id.removeprefix(DESIGN))}/{path}", text)
                    self._taken.designs += 1
                    continue
                self._taken.documents += 1
                name = self._file_name(id)
                if self._format == "json" and name is not None:
                    self._write(name, escaped({key: value for key, value in document.items() if key != "_id"}))
                    continue
                if rows is None:
                    rows = stack.enter_context(self._rows.open("wb"))
                line = json.dumps(_sorted(escaped(document)), ensure_ascii=False, separators=(", ", ": "))
                rows.write(line.encode() + b"\n")

    def _read(self, hidden: set[str]) -> Iterator[dict[str, Any]]:
        for record in self._extractor.extract(self._database):
            self._taken.filtered += record.filtered
            if record.filtered:
                continue
            if record.fault is not None:
                raise ConfigError(
                    f"{self._database}: {record.fault.reason}",
                    hint="Mend the document or the flags, and try again.",
                )
            document = dict(record.document) if record.document is not None else decode(record.text or b"")
            if document["_id"] in hidden or (self._database == users.USERS and document["_id"] == AUTH_DESIGN):
                continue
            yield {key: value for key, value in document.items() if key not in BOOKKEEPING}

    def _file_name(self, id: str) -> str | None:
        try:
            stem = file_name(id.removeprefix(users.ID_PREFIX) if self._database == users.USERS else id)
        except ConfigError:
            # Too long for a file's name.
            return None
        # README files are for people.
        return None if stem.upper().startswith("README") else f"{stem}.json"

    def _write(self, name: str, value: Any) -> None:
        self._text(name, json.dumps(_sorted(value), indent=2, ensure_ascii=False) + "\n")

    def _text(self, name: str, text: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Fixtures are for a repository and for everybody who works with it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())


def _sorted(value: Any) -> Any:
    """Objects by their keys, `_id` first; the order of an index's fields lies in a list and stays."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=lambda key: (key != "_id", key))}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
