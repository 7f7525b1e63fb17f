"""What a database is beside its documents: settings, indexes, and what tells it from a later one of its name."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from migrator.checkpoint.target_guard import MISSING, NOTHING_THERE, UNKNOWN, TargetGuard
from migrator.couch.client import CouchClient
from migrator.couch.copies import settled_info
from migrator.couch.responses import Answer, refuse
from migrator.couch.validate import security_fault
from migrator.errors import ConfigError, DatabaseMissing, TransientError
from migrator.model.revisions import DatabaseFacts
from migrator.naming import printable
from migrator.retry.retrier import Retrier

ADMIN_ROLE = "_admin"


def missing(url: str, database: str) -> DatabaseMissing:
    """The error of a database that is not there.

    Args:
        url: the server's.
        database: its name.
    """
    hint = f"Check the name; list what there is with: curl {url}/_all_dbs"
    return DatabaseMissing(f"There is no database {printable(database)} at {url}.", hint=hint)


def read_facts(client: CouchClient, database: str, *, settled: bool = False) -> DatabaseFacts:
    """Settings and counts of a database, as far as this server has them.

    Args:
        client: the server.
        database: its name.
        settled: with counts that hold all that was acknowledged before, as `couch.copies` has it.

    Raises:
        DatabaseMissing: there is no such database.
        EndpointError: they cannot be read.
    """
    info = settled_info(client, database) if settled else client.database_info(database)
    if info is None:
        raise missing(client.url, database)
    cluster, sizes = info.get("cluster") or {}, info.get("sizes") or {}
    limit = _setting(client, database, "_revs_limit")
    security = read_security(client, database)
    return DatabaseFacts(
        name=database,
        q=cluster.get("q"),
        n=cluster.get("n"),
        partitioned=(info.get("props") or {}).get("partitioned") is True,
        revs_limit=limit if isinstance(limit, int) else None,
        security=security if isinstance(security, Mapping) else {},
        instance_start_time=str(info.get("instance_start_time", "")),
        documents=info.get("doc_count"),
        deleted_documents=info.get("doc_del_count"),
        size_bytes=sizes.get("active"),
    )


def read_security(client: CouchClient, database: str) -> Any:
    """The security object of a database; empty where this server knows none, or this user may not read it.

    Raises:
        EndpointError: it cannot be read.
    """
    security = _setting(client, database, "_security")
    return {} if security is None else security


def is_default_security(security: Any) -> bool:
    """True for what a server gives a database that nobody secured: it names nobody and no role but admins'."""
    if not isinstance(security, Mapping):
        return False
    groups = [security.get(name, {}) for name in ("admins", "members")]
    return security.keys() <= {"admins", "members"} and all(
        isinstance(group, Mapping)
        and group.keys() <= {"names", "roles"}
        and not group.get("names")
        and set(group.get("roles") or ()) <= {ADMIN_ROLE}
        for group in groups
    )


def apply_revs_limit(client: CouchClient, database: str, facts: DatabaseFacts) -> bool:
    """Set how many ancestors are kept: before documents come, else their ancestry is cut.

    False where this server knows no such setting.

    Raises:
        EndpointError: the server does not take it.
    """
    return facts.revs_limit is None or _set(client, database, "_revs_limit", facts.revs_limit)


def apply_security(client: CouchClient, database: str, facts: DatabaseFacts) -> bool:
    """Let in whom the other database let in; False where this server knows no such setting.

    Raises:
        EndpointError: the server does not take it.
    """
    if not facts.security:
        return True
    check_security(facts.security, database)
    return _set(client, database, "_security", dict(facts.security))


def write_security(client: CouchClient, database: str, security: Mapping[str, Any]) -> None:
    """Set a database's `_security`.

    Raises:
        ConfigError: no server takes it.
        EndpointError: this server does not take it.
    """
    check_security(security, database)
    body = json.dumps(security).encode()
    client.ask(f"Setting _security of {database}", "PUT", database, "_security", ok=(200, 201, 202), body=body)


def check_security(security: object, database: str) -> None:
    """See that a `_security` is one that a server takes.

    Raises:
        ConfigError: no server takes it.
    """
    if fault := security_fault(security):
        raise ConfigError(
            f"{database}: {fault}. CouchDB refuses it for good.",
            hint='Write it like {"members": {"names": ["ada"], "roles": []}}.',
        )


def _setting(client: CouchClient, database: str, name: str) -> Any:
    what = f"Reading {name} of {database}"
    answer = client.ask(what, "GET", database, name, ok=(200, 403, 404, 405, 501))
    # A server that has no such setting, or a user that may read documents only.
    return answer.json(f"{what} at {client.url}") if answer.status == 200 else None


def _set(client: CouchClient, database: str, name: str, value: Any) -> bool:
    answer = client.call("PUT", database, name, body=json.dumps(value).encode())
    if answer.status not in {200, 201, 202}:
        if _setting(client, database, name) is None and client.database_info(database) is not None:
            return False
        refuse(answer, f"Setting {name} of {database}", client.url)
    return True


# No other answer says anything: a 500, as while a node starts again, proves neither that there is no index nor
# that it is built.
ANSWERED = (200, 400, 404)


def index_of(answer: Answer, what: str, url: str) -> Mapping[str, Any] | None:
    """What `_info` tells of an index; None where there is none, empty where the server keeps it to itself.

    Args:
        answer: the answer to `_design/NAME/_info`.
        what: what was asked for, for people.
        url: the server's URL without credentials.

    Raises:
        TransientError: the server is in trouble, and nothing is known.
    """
    if answer.status not in ANSWERED:
        refuse(answer, what, url)
    if answer.status != 200:
        return None
    value = answer.json(what)
    index = value.get("view_index") if isinstance(value, dict) else None
    # The sandbox builds within the query, and has words in the place of numbers.
    return index if isinstance(index, dict) else {}


def left_to_index(index: Mapping[str, Any] | None) -> int:
    """How many changes an index has yet to see; at least 1 while it is being built."""
    pending = (index or {}).get("updates_pending")
    left = int(pending.get("total") or 0) if isinstance(pending, dict) else 0
    return left or int((index or {}).get("updater_running") is True)


# A database is told from a later one of its name by the time of its creation and by a mark. CouchDB tells the time
# in whole seconds, older ones and PouchDB Server something else; so a `_local` document with a random token goes
# with it, which is not replicated and goes when its database goes.
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


def read_identity(client: CouchClient, database: str, mark: str = MARK) -> str | None:
    """The identity of a database: creation and mark; "" where it is missing, None where the server tells neither.

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
    ok, body = (200, 201, 202, 409, *NOT_FOR_US), json.dumps({TOKEN: secrets.token_hex(16)}).encode()
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
    if recorded is None:
        retrier.call(f"mark {database}", lambda _: mark_database(client, database))
    guard = TargetGuard(DatabaseTarget(client, retrier), hint=hint, flag=flag)
    guard.begin(database, recorded)
    return guard
