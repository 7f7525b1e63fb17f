"""Documents in CouchDB, a database per name, created on first access: of a client, or of a URL and an account."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from migrator import errors, naming
from migrator.codec import Unencodable, decode, encode
from migrator.couch.client import CouchClient
from migrator.couch.copies import settle
from migrator.couch.locate import locate
from migrator.couch.places import redact
from migrator.couch.trouble import CONFLICT
from migrator.database import couch_bulk, service
from migrator.database.couch_bulk import MAX_RACES, SaveMany, Write, delete_many, delete_once, post
from migrator.database.selector import check_find, check_index_fields, found_in
from migrator.database.service import Documents, Row, Saved
from migrator.retry.retrier import repeat_while

T = TypeVar("T")

# A database that is deleted again and again while it is used is somebody's mistake.
MAX_CREATIONS = 3
JSON_HINT = "Make a JSON value of it."
REFUSED_HINT = "Fix the document, or the validation function in the database's design documents."
STUB_HINT = "Its data is not there: attachments are carried by migrator run --from URL --to TARGET."
# CouchDB up to 3.5 fails so at null, arrays and larger objects within `$in` and its like, once there is an index.
SELECTOR_FAULT = "function_clause"
# Two that make one index at the same moment can both be refused once.
MAX_INDEX_ATTEMPTS = 4


class CouchDatabase:
    """A DatabaseService on one CouchDB server.

    Args:
        client: the server.
    """

    def __init__(self, client: CouchClient) -> None:
        self._client = client
        self._owners: dict[str, str] = {}
        # Databases that were there when they were used last.
        self._known: set[str] = set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client.url!r})"

    def get(self, db_name: str, doc_id: str) -> dict[str, Any]:
        """See DatabaseService.get."""
        service.check_id(doc_id)

        def read(database: str) -> dict[str, Any] | None:
            document = self._client.get_document(database, doc_id)
            if document is None and database not in self._known and self._client.database_info(database) is None:
                # The answer is the same for both, and a database is made on first access.
                self._client.create_database(database)
            return document

        document = self._within(db_name, read)
        if document is None:
            raise service.not_found(db_name, doc_id)
        return document

    def save(self, db_name: str, doc_id: str, doc: Mapping[str, Any]) -> Saved:
        """See DatabaseService.save; a race with other writers is run again with the fresh revision."""
        service.check_id(doc_id)
        try:
            body = encode({"_id": doc_id, **service.check_fields(doc)})
        except Unencodable as error:
            raise errors.DatabaseError(
                f"Document {doc_id!r} of {db_name}: {error.reason}.", hint=JSON_HINT
            ) from None

        def write(database: str) -> str | None:
            state = self._client.lookup(database, [doc_id])[doc_id]
            rev = None if state is None or state.get("deleted") else str(state["rev"])
            return _settled(post(self._client, database, [Write(doc_id, body, rev)])[0], db_name)

        return Saved(id=doc_id, rev=self._race(write, db_name, doc_id))

    def delete(self, db_name: str, doc_id: str) -> None:
        """See DatabaseService.delete; a race is run again as in save."""
        service.check_id(doc_id)

        def write(database: str) -> str | None:
            (row,) = delete_once(self._client, database, [doc_id])
            if row["ok"] and "rev" not in row:
                # Of a cluster, lists come from one copy, which may lag behind; this asks more of them.
                if self._client.get_document(database, doc_id) is None:
                    raise service.not_found(db_name, doc_id)
                return None
            return _settled(row, db_name)

        self._race(write, db_name, doc_id)

    def list_all(self, db_name: str) -> list[dict[str, Any]]:
        """See DatabaseService.list_all; design documents are not listed."""
        return self._within(db_name, lambda database: list(self._listed(database)))

    def find(
        self,
        db_name: str,
        selector: Mapping[str, Any],
        fields: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """See DatabaseService.find; the order is that of the index that the server chooses, by id without one."""
        wanted, paths, most = check_find(selector, fields, limit)

        def read(database: str) -> list[dict[str, Any]]:
            try:
                return list(couch_bulk.find(self._client, database, wanted, fields=paths, limit=most))
            except errors.TransientError as error:
                if not (error.status == 500 and SELECTOR_FAULT in (error.signature or "")):
                    raise
                return found_in(self._listed(database), wanted, paths, most)

        return self._asked(db_name, f"The selector for {db_name}", read)

    def ensure_index(self, db_name: str, fields: Sequence[Any], index_name: str | None = None) -> None:
        """See DatabaseService.ensure_index; the server builds it in the background."""
        wanted = check_index_fields(fields)
        names = [next(iter(each)) if isinstance(each, Mapping) else each for each in wanted]
        name = index_name or f"idx-{'_'.join(names)}"

        def create(database: str) -> errors.EndpointError | None:
            try:
                couch_bulk.create_index(self._client, database, wanted, name)
            except (errors.TargetMissing, errors.Unauthorized, errors.Forbidden):
                raise
            except errors.EndpointError as error:
                # Two that make the same index at one moment can both be refused; the second try finds it.
                return error
            return None

        error = repeat_while(
            lambda result: result is not None,
            lambda: self._asked(db_name, f"The index {name!r:.100} of {db_name}", create),
            max_attempts=MAX_INDEX_ATTEMPTS,
        )
        if error is not None:
            raise error

    def save_many(self, db_name: str, docs: Iterable[Mapping[str, Any]]) -> list[Row]:
        """See DatabaseService.save_many; one request, and more only where documents are there already."""
        rows: list[Row] = []
        waiting = iter(docs)
        while True:
            part = SaveMany(self._client, waiting)
            rows += self._within(db_name, part.run)
            if part.last:
                return rows

    def get_many(self, db_name: str, doc_ids: Iterable[str]) -> Documents:
        """See DatabaseService.get_many."""
        ids = service.check_ids(doc_ids)
        wanted = list(dict.fromkeys(id for id in ids if service.is_id(id)))

        def read(database: str) -> dict[str, dict[str, Any]]:
            rows = self._client.lookup(database, wanted, include_docs=True) if wanted else {}
            return {id: row["doc"] for id, row in rows.items() if row and row["doc"]}

        return Documents(ids, self._within(db_name, read))

    def delete_many(self, db_name: str, doc_ids: Iterable[str]) -> list[Row]:
        """See DatabaseService.delete_many; two requests, one of them for the revisions."""
        ids = service.check_ids(doc_ids)
        return self._within(db_name, lambda database: delete_many(self._client, database, ids))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _listed(self, database: str) -> Iterator[dict[str, Any]]:
        # A cluster lists one copy, which can lack what was saved a moment ago.
        settle(self._client, database)
        for row in self._client.listing(database).rows(include_docs=True):
            if row.document and not row.id.startswith("_design/"):
                yield {"_id": row.id, "_rev": row.rev, **service.own_fields(decode(row.document))}

    def _asked(self, db_name: str, what: str, question: Callable[[str], T]) -> T:
        try:
            return self._within(db_name, question)
        except errors.BatchRefused as refused:
            raise errors.DatabaseError(
                f"{what} is refused: {refused.error} ({refused.reason}).",
                hint="See docs.couchdb.org, under Find, for what may stand in it.",
            ) from refused
        except Unencodable as error:
            raise errors.DatabaseError(f"{what} cannot be sent: {error.reason}.", hint=JSON_HINT) from None

    def _within(self, db_name: str, action: Callable[[str], T]) -> T:
        """Do something in the database of this name, which is created where it is missing."""
        database = naming.database_name(db_name)
        owner = self._owners.setdefault(database, db_name)
        if owner != db_name:
            raise errors.ConfigError(
                f"{owner!r} and {db_name!r} would both be kept in the database {database!r}.",
                hint="Rename one of them.",
            )
        for _ in range(MAX_CREATIONS):
            try:
                result = action(database)
            except errors.TargetMissing:
                # Not there yet, or somebody has deleted it.
                self._client.create_database(database)
            else:
                self._known.add(database)
                return result
        return action(database)

    def _race(self, write: Callable[[str], str | None], db_name: str, doc_id: str) -> str:
        rev = repeat_while(
            lambda result: result is None, lambda: self._within(db_name, write), max_attempts=MAX_RACES
        )
        if rev is None:
            raise errors.DocumentConflict(
                f"Document {doc_id!r} of {db_name} was changed by others {MAX_RACES} times while it was saved.",
                hint="Try again when fewer write to it.",
            )
        return rev


class CouchDBService(CouchDatabase):
    """A DatabaseService on the CouchDB server of a URL; before the first use nothing is asked but where
    the server of a URL with a path begins.

    Args:
        url: `http(s)://host:5984`, without a database.
        username: the account; it counts before one in the URL. When left out, it is the URL's, else that of
            COUCHDB_USER and COUCHDB_PASSWORD or of `~/.netrc`.
        password: its password, which is in no name, message or repr.

    Raises:
        ConfigError: the URL names no server, or a database.
    """

    def __init__(self, url: str, username: str | None = None, password: str | None = None) -> None:
        environ: Mapping[str, str] = os.environ
        url = str(url)
        if username:
            url = redact(url)
            environ = _with_account(environ, str(username), str(password or ""))
        super().__init__(_client_of(url, environ))

    @classmethod
    def of_settings(cls, url: str, username: str, password: str, environ: Mapping[str, str]) -> CouchDBService:
        """A service as settings have it: like the command, they take an account in the URL first.

        Args:
            url: the server.
            username: the account; "" for none.
            password: its password; "" for that of COUCHDB_PASSWORD_FILE.
            environ: certificates and the password's file are looked up here.

        Returns:
            The service; it has not asked the server anything but where it begins.

        Raises:
            ConfigError: the URL names no server, or a database.
        """
        made = cls.__new__(cls)
        CouchDatabase.__init__(made, _client_of(url, _with_account(environ, username, password)))
        return made


def _with_account(environ: Mapping[str, str], username: str, password: str) -> dict[str, str]:
    """An environment with this account in place of its own; a key is another one's."""
    given = {"COUCHDB_USER": username, "COUCHDB_PASSWORD": password}
    others = {*given, *(("COUCHDB_IAM_API_KEY", "COUCHDB_IAM_API_KEY_FILE") if username else ())}
    kept = {name: value for name, value in environ.items() if name not in others}
    return kept | {name: value for name, value in given.items() if value}


def _settled(row: Row, db_name: str) -> str | None:
    """The revision of what was written, or None after a conflict."""
    if row["ok"] or row["error"] == CONFLICT:
        return row.get("rev")
    stub = row["error"] == "missing_stub"
    raise errors.DatabaseError(
        f"Document {row['id']!r:.100} cannot be saved in {db_name}: {row['error']} ({row['reason']}).",
        hint=STUB_HINT if stub else REFUSED_HINT,
    )


def _client_of(url: str, environ: Mapping[str, str]) -> CouchClient:
    endpoint, database = locate(url, environ=environ, server_only=True)
    if database is not None:
        raise errors.ConfigError(
            f"The URL names the database {database}, but a service uses one for each collection.",
            hint=f"Set it to {endpoint.url}; where the server itself is below that path, write a slash after it.",
        )
    return CouchClient(endpoint)
