"""Replications that the server itself runs: set up, listed with their states, stopped, and laid down paused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import Endpoint, database_url, redact
from migrator.couch.places import divide_credentials, refuse_itself
from migrator.couch.replicator import Replicator, side
from migrator.couch.responses import refuse
from migrator.errors import ConfigError, EndpointError, TransientError, without_passwords
from migrator.naming import printable, shown
from migrator.report.summary import table
from migrator.server.admin.connection import Server

DATABASE = "_replicator"
STATE = "_replication_state"
PAUSED = "paused"
# What the replicator writes into a document itself. A document that is in state "failed" is not started.
OWN_FIELDS = frozenset({STATE, "_replication_state_time", "_replication_state_reason", "_replication_id"}) | {
    "_replication_stats"
}
PAUSED_REASON = "paused by migrator; start it with: migrator replicate start"
GOING_WRONG = frozenset({"crashing", "error", "failed"})
ENDED = frozenset({"completed", "failed"})
QUIET_S = 5.0
INTERVAL_S = 0.2


@dataclass(frozen=True)
class Replication:
    """One job of `_replicator`; no credentials are in it."""

    name: str
    source: str
    target: str
    continuous: bool
    state: str
    reason: str = ""
    documents_written: int | None = None
    write_failures: int | None = None


def set_up(
    server: Server,
    source: tuple[Endpoint, str],
    target: tuple[Endpoint, str],
    *,
    name: str = "",
    continuous: bool = False,
    create_target: bool = False,
    paused: bool = False,
    wait_s: float = 15.0,
    dry_run: bool = False,
) -> Replication:
    """Lay down a replication and wait until the server says how it begins.

    The same call again goes on where a killed one was: one that is there as it is wanted is taken up, and started
    again where it has ended.

    Args:
        server: the server that runs it.
        source: where it reads.
        target: where it writes.
        name: of the document; made from what it is to do when empty, the same each time.
        continuous: go on with what comes later.
        create_target: let it make the target's database.
        paused: create it paused.
        wait_s: how long to wait for its first state.
        dry_run: look only.

    Raises:
        ConfigError: there is another one of that name.
        EndpointError: it does not begin, or a side refuses its credentials.
    """
    wanted = {"continuous": continuous, "create_target": create_target}
    words = json.dumps([database_url(*source), database_url(*target), wanted])
    name = name or f"migrator-{hashlib.sha256(words.encode()).hexdigest()[:12]}"
    if name.startswith("_"):
        raise ConfigError(
            f"{shown(name)} is not a legal name for a replication.", hint="It must not begin with '_'."
        )
    body: dict[str, Any] = {"_id": name, "source": side(*source), "target": side(*target), **wanted}
    stored = document(server, name)
    if stored is not None and any(stored.get(key) != value for key, value in body.items()):
        raise ConfigError(
            f"There is another replication {name} at {server.url} already.",
            hint=f"Stop it first: migrator replicate stop {server.url} {name}",
        )
    for each in (source, target):
        _refuse_wrong_credentials(*each)
    refuse_itself(database_url(*source), database_url(*target), instead="Name another with --to.")
    if dry_run:
        return _replication(body, {"state": "not set up (dry run)"})
    if paused:
        body = as_paused(body)
    resting = paused and stored is not None and stored.get("_replication_state_reason") == PAUSED_REASON
    if stored is None or (stored.get(STATE) in ENDED and not resting):
        body |= {"_rev": stored["_rev"]} if stored else {}
        what = f"Setting up the replication {name}"
        server.ask(what, "PUT", DATABASE, name, ok=(201, 202), again=(409,), value=body)
    return find(server, name) if paused else _first_state(server, name, wait_s)


def _refuse_wrong_credentials(endpoint: Endpoint, database: str) -> None:
    """Try each side's credentials once: the server would try on with wrong ones, which locks the account.

    Whether a side is there is for the server to tell: it may reach what this machine does not.

    Raises:
        Unauthorized, Forbidden: a side refuses them.
    """
    with contextlib.closing(CouchClient(endpoint, max_connections=1)) as client:
        try:
            answer = client.call("GET", database)
        except TransientError:
            return
        if answer.status in {401, 403}:
            refuse(answer, f"Looking at {database}", client.url)


def _first_state(server: Server, name: str, wait_s: float) -> Replication:
    begun = time.monotonic()
    while True:
        found = find(server, name)
        waited = time.monotonic() - begun
        if found.state in GOING_WRONG:
            raise EndpointError(
                f"The replication {name} is set up at {server.url}, but {found.state}: {found.reason}",
                hint=f"The server tries on. To give it up: migrator replicate stop {server.url} {name}",
            )
        # A job that cannot reach its source is called running, too, until it has tried a few times.
        known = found.documents_written is not None or waited > QUIET_S
        if waited > wait_s or found.state == "completed" or (found.state == "running" and known):
            return found
        server.pause(INTERVAL_S)


def as_paused(body: Mapping[str, Any]) -> dict[str, Any]:
    """The document as one that the replicator does not start: it takes it for one that had failed for good."""
    plain = {key: value for key, value in body.items() if key not in OWN_FIELDS}
    return {**plain, STATE: "failed", "_replication_state_reason": PAUSED_REASON}


def start(server: Server, name: str, *, wait_s: float = 15.0, dry_run: bool = False) -> Replication:
    """Start a replication that is paused or has failed for good.

    Raises:
        ConfigError: there is none of that name, or it is at work.
        EndpointError: it does not begin.
    """
    stored = _existing(server, name)
    if stored.get(STATE) != "failed":
        raise ConfigError(
            f"The replication {name} is not paused.", hint=f"See: migrator replicate list {server.url}"
        )
    if dry_run:
        return find(server, name)
    body = {key: value for key, value in stored.items() if key not in OWN_FIELDS}
    server.ask(f"Starting the replication {name}", "PUT", DATABASE, name, ok=(201, 202), again=(409,), value=body)
    return _first_state(server, name, wait_s)


def stop(server: Server, name: str, *, wait_s: float = 15.0, dry_run: bool = False) -> Replication:
    """Take a replication away, and wait until no job of it is left. What it wrote stays.

    Raises:
        ConfigError: there is none of that name.
        EndpointError: its job is still there after `wait_s`.
    """
    found = find(server, name)
    if dry_run:
        return replace(found, state=f"{found.state}, would be stopped")
    server.retrier.call(f"stop the replication {name}", lambda _: Replicator(server.client).remove(name))
    deadline = time.monotonic() + wait_s
    while any(job.get("doc_id") == name for job in _scheduled(server, "jobs")):
        if time.monotonic() > deadline:
            raise EndpointError(
                f"The document of the replication {name} is gone, but its job still runs at {server.url}.",
                hint=f"Look again: migrator replicate list {server.url}",
            )
        server.pause(INTERVAL_S)
    return replace(found, state="stopped", reason="")


def listed(server: Server) -> list[Replication]:
    """All replications of the server with their states, in order of their names."""
    found = server.found("Listing replications", DATABASE, "_all_docs", params={"include_docs": "true"})
    rows = found["rows"] if found else ()
    states = {str(state.get("doc_id")): state for state in _scheduled(server, "docs")}
    docs = [row["doc"] for row in rows if row.get("doc") and not row["id"].startswith("_design/")]
    return [_replication(doc, states.get(doc["_id"], {})) for doc in docs]


def find(server: Server, name: str) -> Replication:
    """One replication with its state.

    Raises:
        ConfigError: there is none of that name.
    """
    stored = _existing(server, name)
    what = f"Looking at the replication {name}"
    return _replication(stored, server.found(what, "_scheduler", "docs", DATABASE, name) or {})


def document(server: Server, name: str) -> dict[str, Any] | None:
    """The document of a replication, or None."""
    found: dict[str, Any] | None = server.found(f"Looking at the replication {name}", DATABASE, name)
    return found


def _existing(server: Server, name: str) -> dict[str, Any]:
    stored = None if name.startswith("_") else document(server, name)
    if stored is None:
        raise ConfigError(
            f"There is no replication {name} at {server.url}.",
            hint=f"List them with: migrator replicate list {server.url}",
        )
    return stored


def _scheduled(server: Server, what: str) -> list[dict[str, Any]]:
    # The sandbox has no scheduler; its documents tell their state themselves.
    path = ("_scheduler", "docs", DATABASE) if what == "docs" else ("_scheduler", what)
    found = server.found("Reading _scheduler", *path, params={"limit": 100_000})
    return list(found.get(what, ())) if found else []


def _replication(doc: Mapping[str, Any], scheduled: Mapping[str, Any]) -> Replication:
    info = scheduled.get("info") or {}
    state = str(scheduled.get("state") or doc.get(STATE) or "not yet taken up")
    reason = info.get("error") or doc.get("_replication_state_reason") or ""
    reason = reason if isinstance(reason, str) else json.dumps(reason)
    if doc.get("_replication_state_reason") == PAUSED_REASON:
        state, reason = PAUSED, ""
    return Replication(
        str(doc["_id"]),
        _shown_place(doc.get("source")),
        _shown_place(doc.get("target")),
        bool(doc.get("continuous")),
        state,
        _without_credentials(reason, doc),
        info.get("docs_written"),
        info.get("doc_write_failures"),
    )


def _shown_place(place: Any) -> str:
    text = place.get("url", "?") if isinstance(place, Mapping) else place
    return redact(text) if isinstance(text, str) else "?"


def _without_credentials(text: str, doc: Mapping[str, Any]) -> str:
    """What the server says of a failure can quote the URLs of the document, password and all."""
    secrets = []
    for place in (doc.get("source"), doc.get("target")):
        url = place.get("url") if isinstance(place, Mapping) else place
        user, _, password = divide_credentials(url)[0].partition(":") if isinstance(url, str) else ("", "", "")
        auth = place.get("auth", {}).get("basic", {}) if isinstance(place, Mapping) else {}
        secrets += [password or user, str(auth.get("password") or "")]
    return without_passwords(text, *secrets)


def replications_to_text(found: Sequence[Replication]) -> str:
    """A table for people."""
    if not found:
        return "There are no replications.\n"
    rows: list[Sequence[str]] = [("name", "from", "to", "state", "written", "failed writes")]
    for job in found:
        kind = f"{job.state}, continuous" if job.continuous else job.state
        counts = ["" if n is None else f"{n:,}" for n in (job.documents_written, job.write_failures)]
        rows.append((printable(job.name), printable(job.source), printable(job.target), kind, *counts))
    lines = [table(rows, left=4)]
    lines += [f"{printable(job.name)}: {printable(job.reason)}" for job in found if job.reason]
    return "\n".join(lines) + "\n"
