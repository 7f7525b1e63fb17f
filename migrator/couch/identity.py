"""Tells a database from a later one of the same name: by the time of its creation and by a mark of our own.

CouchDB tells the time in whole seconds, older ones and PouchDB Server tell something else, so a `_local` document
with a random token goes with it: such a document is no content, is not replicated, and dies with its database.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from migrator.checkpoint.target_guard import MISSING, NOTHING_THERE, UNKNOWN, TargetGuard
from migrator.couch.client import CouchClient
from migrator.errors import TransientError
from migrator.retry.retrier import Retrier

MARK = "migrator-identity"
TOKEN = "token"  # noqa: S105 (the name of a field)
# CouchDB 1.x tells here when it opened the file, in microseconds.
MAX_SECONDS_DIGITS = 11
NOT_FOR_US = frozenset({400, 403, 404, 405, 501})


def start_of(info: Mapping[str, Any]) -> str:
    """The time that `GET /{db}` tells; "" where it says nothing of the database: PouchDB Server tells its own."""
    return "" if "backend_adapter" in info else str(info.get("instance_start_time") or "")


def _creation_of(info: Mapping[str, Any]) -> str:
    started = start_of(info)
    told = started.isdigit() and len(started) <= MAX_SECONDS_DIGITS and int(started) > 0
    return started if told else UNKNOWN


def new_token() -> str:
    """What a mark holds: no other database has it."""
    return secrets.token_hex(16)


def read_identity(client: CouchClient, database: str, mark: str = MARK) -> str | None:
    """The identity of a database: creation and mark; "" where there is none, None where neither is told.

    Args:
        client: the server.
        database: its name.
        mark: the `_local` document that holds the token.

    Raises:
        EndpointError: the server does not answer, or not to this user.
    """
    info = client.database_info(database)
    if info is None:
        return NOTHING_THERE
    created, token = _creation_of(info), _token(client, database, mark)
    return None if created == token == UNKNOWN else f"{created} {token}"


def mark_database(client: CouchClient, database: str) -> None:
    """Give a database its mark, unless it has one or does not take one.

    Raises:
        TransientError: the database is not there yet.
        EndpointError: the server does not answer.
    """
    if _token(client, database, MARK) != MISSING:
        return
    # Of two who give it one at the same time the second is told 409, and reads the first one's.
    ok, body = (200, 201, 202, 409, *NOT_FOR_US), json.dumps({TOKEN: new_token()}).encode()
    answer = client.ask(f"Marking {database}", "PUT", database, "_local", MARK, ok=ok, body=body)
    if answer.status == 404 and client.database_info(database) is None:
        raise TransientError(f"Database {database} is not there.", signature="database not there")


def _token(client: CouchClient, database: str, mark: str) -> str:
    what = f"Reading the mark of {database}"
    answer = client.ask(what, "GET", database, "_local", mark, ok=(200, *NOT_FOR_US))
    if answer.status != 200:
        return MISSING if answer.status == 404 else UNKNOWN
    value = answer.json(f"{what} at {client.url}")
    token = value.get(TOKEN) if isinstance(value, dict) else None
    return token if isinstance(token, str) and token.isalnum() else UNKNOWN


class DatabaseTarget:
    """One server's databases as a TargetGuard asks them, with retries; a collection's name is its database's."""

    def __init__(self, client: CouchClient, retrier: Retrier, mark: str = MARK) -> None:
        self._client = client
        self._retrier = retrier
        self._mark = mark

    def describe(self) -> str:
        """The server's URL."""
        return self._client.url

    def target_name(self, collection: str) -> str:
        """The same."""
        return collection

    def identity(self, collection: str) -> str | None:
        """See `read_identity`."""
        return self._retrier.call(
            f"identify {collection}", lambda _: read_identity(self._client, collection, self._mark)
        )

    def mark(self, collection: str) -> None:
        """See `mark_database`."""
        self._retrier.call(f"mark {collection}", lambda _: mark_database(self._client, collection))


def guard_database(
    client: CouchClient, retrier: Retrier, database: str, recorded: str | None = None, *, hint: str, flag: str = ""
) -> TargetGuard:
    """A guard of one database that is there and about to be written to; it is given its mark.

    Args:
        client: the server.
        retrier: tries again.
        database: its name.
        recorded: the identity that it must have, where something is settled in it.
        hint: what to do about a replaced one.
        flag: what the same command needs for that.

    Raises:
        TargetReplaced: it is another one.
    """
    target = DatabaseTarget(client, retrier)
    if recorded is None:
        target.mark(database)
    guard = TargetGuard(target, hint=hint, flag=flag)
    guard.begin(database, recorded)
    return guard
