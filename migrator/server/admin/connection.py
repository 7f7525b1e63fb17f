"""One server as the commands about whole servers ask it: with retries, and by patterns of databases."""

from __future__ import annotations

import fnmatch
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from migrator.config import Connection
from migrator.couch.client import CouchClient
from migrator.couch.copies import settled_info
from migrator.couch.endpoint import Endpoint
from migrator.couch.locate import server_of
from migrator.couch.responses import Answer
from migrator.errors import ConfigError, Interrupted
from migrator.events import Listener, ignore
from migrator.naming import shown
from migrator.retry.retrier import Retrier, RetryPolicy


class Server:
    """A server whose answers are asked for again when they may come later.

    Args:
        endpoint: where it is.
        config: the tries and the longest outage of a job.
        listener: receives waits and progress.
        stopping: set it to stop.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        config: Connection | None = None,
        *,
        listener: Listener = ignore,
        stopping: threading.Event | None = None,
    ) -> None:
        config = config or Connection()
        self.url = endpoint.url
        self.endpoint = endpoint
        self.listener = listener
        self.stopping = stopping or threading.Event()
        self.client = CouchClient(endpoint, max_connections=16)
        self.retrier = Retrier(RetryPolicy.of(config), listener, None, self.stopping)

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

    def databases(self) -> list[str]:
        """The names of all databases."""
        return [str(name) for name in self.value("Listing databases", "GET", "_all_dbs")]

    def info(self, database: str) -> dict[str, Any] | None:
        """`GET /{db}`, or None where there is none."""
        answer = self.ask(f"Looking at database {database}", "GET", database, ok=(200, 404))
        return None if answer.status == 404 else dict(answer.json(f"Looking at database {database} at {self.url}"))

    def settled_info(self, database: str) -> dict[str, Any] | None:
        """The same with counts that hold all that was acknowledged before, as `couch.copies` has it."""
        return self.retrier.call(f"look at {database}", lambda _: settled_info(self.client, database))

    def tasks(self) -> list[dict[str, Any]]:
        """What the server is at in the background; nothing where it does not tell this user."""
        answer = self.ask("Reading _active_tasks", "GET", "_active_tasks", ok=(200, 401, 403, 404))
        found = answer.json("_active_tasks") if answer.status == 200 else []
        return [task for task in found if isinstance(task, dict)] if isinstance(found, list) else []

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
    url: str,
    *,
    config: Connection | None = None,
    role: str = "target",
    environ: Mapping[str, str] | None = None,
    listener: Listener = ignore,
    stopping: threading.Event | None = None,
) -> tuple[Server, str | None]:
    """The server that a URL names, and the database where it names one.

    Raises:
        ConfigError: it is no server's URL.
    """
    config = config or Connection()
    endpoint, database = server_of(config, url, role=role, environ=environ)
    return Server(endpoint, config, listener=listener, stopping=stopping), database


def selected(names: Sequence[str], patterns: Sequence[str], where: str) -> list[str]:
    """The names that a pattern fits, in their order; all where there is no pattern.

    Raises:
        ConfigError: a pattern fits nothing, so that a mistyped one does not pass for done.
    """
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise ConfigError(
                f"No database at {where} fits --database {shown(pattern)}.",
                hint=f"* stands for any characters; list what there is with: curl {where}/_all_dbs",
            )
    return [n for n in names if not patterns or any(fnmatch.fnmatchcase(n, pattern) for pattern in patterns)]


def view_names(design: Mapping[str, Any]) -> list[str]:
    """The views of a design document that have a map function."""
    views = design.get("views")
    if not isinstance(views, dict):
        return []
    return [name for name, view in views.items() if isinstance(view, dict) and "map" in view]
