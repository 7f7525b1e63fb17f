"""Makes the plan of a whole server's move by reading, and by one sample into a scratch database."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from migrator.config import Connection
from migrator.errors import ConfigError, EndpointError
from migrator.model.events import Listener, ignore
from migrator.naming import counted, legal_database, shown
from migrator.server.admin import replications
from migrator.server.admin.connection import Server, selected
from migrator.server.admin.probes import SCRATCH_PREFIX, free_space, scratch_database
from migrator.server.admin.secure import USERS
from migrator.server.move.context import one_at_a_time, opened
from migrator.server.move.options import PlanOptions
from migrator.server.move.plan import DatabasePlan, Estimate, ServerFacts, ServerPlan
from migrator.server.move.scan import Looked, look_inside
from migrator.server.move.survey import Surveyed, between_versions, facts_of, survey

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
        opened(source_url, "source", config or Connection(), environ, listener, stopping) as source,
        opened(target_url, "target", config or Connection(), environ, listener, stopping) as target,
    ):
        return _plan(source, target, options)


def movable(names: Sequence[str], patterns: Sequence[str], where: str) -> list[str]:
    """The databases that a plan is about: all but the system's, or those that fit."""
    plain = [name for name in names if not name.startswith(("_", SCRATCH_PREFIX))]
    return selected(plain, patterns, where)


def _plan(source: Server, target: Server, options: PlanOptions) -> ServerPlan:
    facts, target_facts = facts_of(source), facts_of(target)
    all_names = source.databases()
    names = movable(all_names, options.patterns, source.url)
    mapped, problems = target_names(names, options.map)
    problems += _same_server(facts, target_facts, mapped)
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
    needed = _disk_needed(surveyed)
    space = free_space(target)
    if space is not None and space[0] < needed:
        warnings.append(f"the target has {space[0]:,} bytes free at {space[2]}, about {needed:,} are needed")
    return ServerPlan(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        source=facts,
        target=target_facts,
        patterns=options.patterns,
        databases=tuple(_counted(database, looked) for database in databases),
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


def _counted(database: DatabasePlan, looked: Looked) -> DatabasePlan:
    found = looked.counted.get(database.source)
    if found is None:
        return database
    return replace(database, leaves=found.leaves, attachments=found.attachments, conflicts=found.conflicts)


def _same_server(source: ServerFacts, target: ServerFacts, mapped: Mapping[str, str]) -> Iterator[str]:
    same = source.uuid == target.uuid if source.uuid and target.uuid else source.url == target.url
    if same:
        for name, other in mapped.items():
            if name == other:
                yield f"source and target are one server, so {name} would go onto itself: use --map {name}=NEW"


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


def _disk_needed(surveyed: Sequence[Surveyed]) -> int:
    return sum(
        ((found.plan.active_bytes or 0) + found.index_bytes) * max(found.plan.n or 1, 1) for found in surveyed
    )


def target_names(databases: Sequence[str], pairs: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The target's name of each database, and what is wrong with them, as sentences.

    Args:
        databases: names at the source.
        pairs: new names by old ones; `old_*` with `new_*` maps whatever a star stands for.

    Raises:
        ConfigError: a pair is no pair, or fits no database.
    """
    for old, new in pairs.items():
        if old.count("*") != new.count("*") or old.count("*") > 1:
            raise ConfigError(
                f"--map {old}={new} needs one * on both sides, or none.", hint="As in 'old_*=new_*'."
            )
    used = set()
    names = {}
    for name in databases:
        names[name], pair = _mapped(name, pairs)
        used.add(pair)
    if unused := [old for old in pairs if old not in used]:
        raise ConfigError(
            f"--map {unused[0]}={pairs[unused[0]]} fits no database that goes.", hint="Check the name."
        )
    return names, problems_of(names)


def _mapped(name: str, pairs: Mapping[str, str]) -> tuple[str, str]:
    if name in pairs:
        return pairs[name], name
    for old, new in pairs.items():
        head, star, tail = old.partition("*")
        if star and len(name) >= len(head) + len(tail) and name.startswith(head) and name.endswith(tail):
            middle = name[len(head) : len(name) - len(tail)]
            return new.replace("*", middle), old
    return name, ""


def problems_of(names: Mapping[str, str]) -> list[str]:
    """What is wrong with the target's names by those of the source, as sentences."""
    found = []
    owners: dict[str, str] = {}
    for source, target in names.items():
        try:
            legal_database(target, allow_system=False)
        except ConfigError:
            what = f"{shown(source)} would go to {shown(target)}"
            found.append(f"{what}, which is not a legal name: use --map OLD=NEW")
        if (owner := owners.setdefault(target, source)) != source:
            found.append(f"{shown(owner)} and {shown(source)} would both go to {shown(target)}: use --map OLD=NEW")
    return found


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
