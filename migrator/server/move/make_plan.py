"""Makes the plan of a whole server's move by reading, and by one sample into a scratch database."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from migrator.config import Connection
from migrator.errors import EndpointError
from migrator.model.events import Listener, ignore, one_at_a_time
from migrator.naming import counted
from migrator.server.admin import replications
from migrator.server.admin.connection import Server, whole_server
from migrator.server.admin.probes import SCRATCH_PREFIX, free_space, scratch_database
from migrator.server.admin.secure import USERS
from migrator.server.move.options import PlanOptions
from migrator.server.move.plan import DatabasePlan, Estimate, ServerPlan
from migrator.server.move.scan import look_inside
from migrator.server.move.survey import between_versions, facts_of, movable, survey, target_names

SAMPLE_DOCUMENTS = 500
SAMPLE_BYTES = 4_000_000
# What databases side by side gain on a server with few processors.
GAIN = 1.2
# Never part of a move: the server makes it of what happens there.
OWN = frozenset({"_global_changes", "_nodes", "_dbs", "_metadata"})


def plan_server(
    source_url: str,
    target_url: str,
    options: PlanOptions | None = None,
    *,
    config: Connection | None = None,
    environ: Mapping[str, str] | None = None,
    listener: Listener = ignore,
    stopping: threading.Event | None = None,
) -> ServerPlan:
    """Look at both servers and write down the move; nothing lasting is written on either.

    Args:
        source_url: the server that is left; credentials as everywhere.
        target_url: the server that is moved to.
        options: what to plan.
        config: timeouts, tries and files for TLS.
        environ: the environment; the process's own by default.
        listener: receives waits.
        stopping: set it to stop.

    Raises:
        ConfigError: a URL, a pattern or a map cannot be.
        EndpointError: a side is out of reach.
    """
    options = options or PlanOptions()
    stopping = stopping or threading.Event()
    listener = one_at_a_time(listener)
    with (
        whole_server(source_url, "source", config or Connection(), environ, listener, stopping) as source,
        whole_server(target_url, "target", config or Connection(), environ, listener, stopping) as target,
    ):
        return _plan(source, target, options)


def _plan(source: Server, target: Server, options: PlanOptions) -> ServerPlan:
    facts, target_facts = facts_of(source), facts_of(target)
    all_names = source.databases()
    names = movable(all_names, options.patterns, source.url)
    mapped, problems = target_names(names, options.map)
    if facts.is_same(target_facts):
        problems += [
            f"source and target are one server, so {name} would go onto itself: use --map {name}=NEW"
            for name, other in mapped.items()
            if name == other
        ]
    surveyed = survey(source, target, mapped)
    databases = tuple(found.plan for found in surveyed)
    problems += [text for found in surveyed for text in found.problems]
    warnings = [text for found in surveyed for text in found.warnings]
    warnings += between_versions(facts, target_facts, databases)
    looked = look_inside(source, databases, source.limits(), target.limits(), everything=not options.quick)
    if looked.more:
        warnings.append(f"{counted(looked.more, 'more document')} cannot go than are named")
    users = _users(source) if options.users and USERS in all_names else None
    jobs = len(replications.listed(source)) if options.replicator else None
    time_expected, why_not = estimate(source, target, databases) if options.probe else (None, "")
    if why_not:
        warnings.append(f"the time cannot be told: {why_not}")
    warnings += [f"not confirmed: {text}" for text in (*source.client.doubts, *target.client.doubts)]
    needed = sum(((s.plan.active_bytes or 0) + s.index_bytes) * max(s.plan.n or 1, 1) for s in surveyed)
    space = free_space(target)
    if space is not None and space[0] < needed:
        warnings.append(f"the target has {space[0]:,} bytes free at {space[2]}, about {needed:,} are needed")
    return ServerPlan(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        source=facts,
        target=target_facts,
        patterns=options.patterns,
        databases=tuple(looked.databases.values()),
        cannot_go=tuple(looked.cannot_go),
        found_by=looked.how,
        users=users,
        replications=jobs,
        left_out=dict(_left_out(all_names, names, options)),
        problems=tuple(problems),
        warnings=tuple(warnings),
        disk_needed_bytes=needed,
        disk_free_bytes=space[0] if space else None,
        estimate=time_expected,
    )


def _left_out(all_names: Sequence[str], names: Sequence[str], options: PlanOptions) -> Iterator[tuple[str, str]]:
    going = set(names)
    for name in all_names:
        if name in going or name in OWN:
            continue
        if name == USERS:
            if not options.users:
                yield name, "--no-users was given"
        elif name == replications.DATABASE:
            if not options.replicator:
                yield name, "replications go only with --replicator, and then paused"
        elif name.startswith(SCRATCH_PREFIX):
            yield (
                name,
                "a scratch database of a command that was killed or is at work; it is removed after an hour",
            )
        elif name.startswith("_"):
            yield name, "the server's own"
        else:
            yield name, "no --database fits it"


def _users(source: Server) -> int:
    params = {"startkey": '"org.couchdb.user:"', "endkey": '"org.couchdb.user;"'}
    return len(source.value("Counting users", "GET", USERS, "_all_docs", params=params)["rows"])


def estimate(source: Server, target: Server, databases: Sequence[DatabasePlan]) -> tuple[Estimate | None, str]:
    """Time expected for these databases, and a sentence where it cannot be told."""
    largest = max(databases, key=lambda database: database.documents, default=None)
    if largest is None or not largest.documents:
        return None, "there are no documents to take a sample of"
    try:
        started = time.monotonic()
        bodies = _sample(source, largest.source)
        with scratch_database(target.client) as scratch:
            if not bodies:
                return None, "there are no documents to take a sample of"
            target.client.bulk_docs(scratch, bodies)
            seconds = max(time.monotonic() - started, 0.001)
    except EndpointError as error:
        return None, f"no sample could be taken: {error.message}"
    size = sum(map(len, bodies))
    per_second, bytes_per_second = len(bodies) / seconds, size / seconds
    documents = sum(database.documents + database.deleted_documents for database in databases)
    external = sum(database.external_bytes or 0 for database in databases)
    needed = max(documents / per_second, external / bytes_per_second) / GAIN
    return Estimate(round(needed, 1), round(per_second, 1), round(bytes_per_second, 1), len(bodies)), ""


def _sample(source: Server, database: str) -> list[bytes]:
    params = {"include_docs": "true", "limit": SAMPLE_DOCUMENTS}
    answer = source.client.ask(f"Reading a sample of {database}", "GET", database, "_all_docs", params=params)
    bodies: list[bytes] = []
    size = 0
    for row in answer.json("A sample")["rows"]:
        document: dict[str, Any] = row.get("doc") or {}
        if document.get("_id", "_").startswith("_"):
            continue
        # Attachments are told by the database's size; the sample leaves them where they are.
        kept = {key: value for key, value in document.items() if key == "_id" or not key.startswith("_")}
        body = json.dumps(kept).encode()
        if bodies and size + len(body) > SAMPLE_BYTES:
            break
        bodies.append(body)
        size += len(body)
    return bodies
