"""One server as the commands about whole servers ask it: with retries, and by patterns of databases."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Unpack

from migrator.config import Connection
from migrator.config.connection import BASIC
from migrator.couch.changes import BEGINNING
from migrator.couch.client import CouchClient
from migrator.couch.copies import settled_info
from migrator.couch.endpoint import Endpoint
from migrator.couch.leaves import LeafReader, listed_leaves
from migrator.couch.locate import locate
from migrator.couch.responses import Answer
from migrator.couch.settings import ANSWERED, index_of, missing, read_facts
from migrator.couch.validate import DEFAULT_MAX_DOCUMENT_BYTES
from migrator.errors import ConfigError, Interrupted
from migrator.jobs.open import Around, surroundings
from migrator.model.events import Listener, TaskProgressed, ignore
from migrator.model.revisions import DatabaseFacts
from migrator.retry.retrier import Retrier, RetryPolicy

DEFAULT_MAX_ATTACHMENT_BYTES = 1 << 30
UNLIMITED = 1 << 62
LISTING_MEMORY_BYTES = 8_000_000
LISTING_PARALLEL = 2


@dataclass(frozen=True)
class Limits:
    """What a server takes; None where it does not tell this user."""

    document_bytes: int | None
    attachment_bytes: int | None


@dataclass(eq=False)
class Server:
    """A server whose answers are asked for again when they may come later.

    Args:
        endpoint: where it is.
        config: the tries and the longest outage of a job.
        listener: receives waits and progress.
        stopping: set it to stop.
    """

    endpoint: Endpoint
    config: Connection = field(default_factory=Connection)
    listener: Listener = ignore
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.url = self.endpoint.url
        self.client = CouchClient(self.endpoint, max_connections=16)
        self.retrier = Retrier(RetryPolicy.of(self.config), self.listener, None, self.stopping)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def ask(
        self,
        what: str,
        method: str,
        *path: str,
        ok: Iterable[int] = (200,),
        again: Iterable[int] = (),
        value: Any = None,
        **request: Any,
    ) -> Answer:
        """Send a request that may be sent twice, until it is answered with a status of `ok`.

        Args:
            what: what is asked for, for people.
            method: the HTTP method.
            path: its segments, not quoted.
            ok: statuses that are answers.
            again: statuses that say that an earlier try, whose answer was lost, had been carried out.
            value: is sent as JSON.
            request: as in `CouchClient.call`.

        Raises:
            EndpointError: any other status, or none in time.
        """
        if value is not None:
            request["body"] = json.dumps(value).encode()

        def attempt(number: int) -> Answer:
            answers = {*ok, *(again if number > 1 else ())}
            return self.client.ask(what, method, *path, ok=answers, **request)

        return self.retrier.call(what, attempt)

    def value(self, what: str, method: str, *path: str, **request: Any) -> Any:
        """As `ask`, and give the answer's JSON."""
        return self.ask(what, method, *path, **request).json(f"{what} at {self.url}")

    def found(self, what: str, *path: str, **request: Any) -> Any:
        """The JSON of what is there; None where there is nothing."""
        answer = self.ask(what, "GET", *path, ok=(200, 404), **request)
        return answer.json(f"{what} at {self.url}") if answer.status == 200 else None

    def databases(self) -> list[str]:
        """The names of all databases."""
        return self.retrier.call("Listing databases", lambda _: self.client.databases())

    def info(self, database: str, *, settled: bool = False) -> dict[str, Any] | None:
        """`GET /{db}`, or None where there is none.

        Args:
            database: its name.
            settled: with counts that hold all that was acknowledged before, as `couch.copies` has it.
        """
        look = settled_info if settled else CouchClient.database_info
        return self.retrier.call(f"look at {database}", lambda _: look(self.client, database))

    def require(self, database: str) -> None:
        """Refuse a database that is not there.

        Raises:
            DatabaseMissing: it is not.
        """
        if self.info(database) is None:
            raise missing(self.url, database)

    def facts(self, database: str, *, settled: bool = False) -> DatabaseFacts:
        """Settings and counts of a database, as `couch.settings` has them."""
        return self.retrier.call(
            f"look at {database}", lambda _: read_facts(self.client, database, settled=settled)
        )

    def leaves(self, database: str, since: str = BEGINNING) -> contextlib.AbstractContextManager[LeafReader]:
        """A reader of the leaves that changed after a sequence; several databases are listed side by side."""
        options = {"since": since, "max_memory_bytes": LISTING_MEMORY_BYTES, "parallel": LISTING_PARALLEL}
        return listed_leaves(self.client, database, self.retrier, **options)

    def index(self, database: str, design: str) -> Mapping[str, Any] | None:
        """What the server says of the index of a design document; None where there is none."""
        what = f"Looking at {database}/_design/{design}"
        answer = self.ask(what, "GET", database, "_design", design, "_info", ok=ANSWERED)
        return index_of(answer, what, self.url)

    def setting(self, *path: str, default: Any = None) -> Any:
        """A setting or a section of them; `default` where nobody has set it, None where this user is not told."""
        answer = self.client.call("GET", "_node", "_local", "_config", *path)
        if answer.status == 404:
            return default
        return json.loads(answer.body) if answer.status == 200 else None

    def limits(self) -> Limits:
        """What the server takes at most, by its settings, which admins are told."""
        return Limits(
            self._limit("max_document_size", DEFAULT_MAX_DOCUMENT_BYTES),
            self._limit("max_attachment_size", DEFAULT_MAX_ATTACHMENT_BYTES),
        )

    def _limit(self, name: str, default: int) -> int | None:
        # What nobody has set is what the program has.
        found = self.setting("couchdb", name, default=default)
        if found is None:
            return None
        return int(found) if str(found).isdigit() else UNLIMITED

    @contextlib.contextmanager
    def client_as(self, user: str | None = None, password: str | None = None) -> Iterator[CouchClient]:
        """A client with a user's credentials, or with none."""
        endpoint = replace(self.endpoint, user=user, password=password, auth=BASIC)
        with contextlib.closing(CouchClient(endpoint, max_connections=1)) as client:
            yield client

    def tell_progress(self, kinds: Container[str], database: str = "") -> None:
        """Tell the listener of the server's own work of some kinds, at one database or at all.

        Nothing where the server does not tell this user.
        """
        answer = self.ask("Reading _active_tasks", "GET", "_active_tasks", ok=(200, 401, 403, 404))
        found = answer.json("_active_tasks") if answer.status == 200 else []
        for task in found if isinstance(found, list) else ():
            if not isinstance(task, dict) or task.get("type") not in kinds:
                continue
            # A shard's file: shards/80000000-ffffffff/NAME.1700000000
            name = str(task.get("database")).removeprefix("shards/").partition("/")[2].rpartition(".")[0]
            if database in {"", name}:
                what = f"{name}/{task['design_document']}" if task.get("design_document") else name
                share = min(100, int(task.get("progress") or 0)) / 100
                self.listener(TaskProgressed(str(task["type"]), what, share))

    def pause(self, seconds: float) -> None:
        """Wait, but not when asked to stop.

        Raises:
            Interrupted: the run was asked to stop.
        """
        if self.stopping.wait(seconds):
            raise Interrupted(
                "Stopped while waiting for the server; what it was told to do goes on there.",
                hint="See how far it is with: curl URL/_active_tasks",
            )


def open_server(
    url: str, *, config: Connection | None = None, role: str = "target", **around: Unpack[Around]
) -> tuple[Server, str | None]:
    """The server that a URL names, and the database where it names one.

    Raises:
        ConfigError: it is not a server's URL.
    """
    environ, listener, stopping = surroundings(around)
    config = config or Connection()
    endpoint, database = locate(url, config=config, role=role, environ=environ)
    return Server(endpoint, config, listener, stopping), database


@contextlib.contextmanager
def both_servers(
    source: str, target: str, config: Connection | None, **around: Unpack[Around]
) -> Iterator[tuple[Server, Server]]:
    """Two whole servers, closed afterwards.

    Raises:
        ConfigError: the URL of one names a database.
    """
    with contextlib.ExitStack() as stack:
        servers = []
        for role, url in (("source", source), ("target", target)):
            server, database = open_server(url, config=config, role=role, **around)
            stack.callback(server.close)
            if database is not None:
                hint = "Write its URL without a database."
                raise ConfigError(f"The {role} of a plan is a whole server.", hint=hint)
            servers.append(server)
        yield servers[0], servers[1]
