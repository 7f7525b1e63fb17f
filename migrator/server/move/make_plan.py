"""Makes the plan of a whole server's move by reading, and by one sample into a scratch database."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from migrator.config import Connection
from migrator.events import Listener, ignore
from migrator.naming import counted
from migrator.server.admin import replications
from migrator.server.admin.connection import Server, selected
from migrator.server.admin.limits import limits_of
from migrator.server.admin.probes import SCRATCH_PREFIX, free_space
from migrator.server.admin.secure import USERS
from migrator.server.move.context import one_at_a_time, opened
from migrator.server.move.estimate import estimate
from migrator.server.move.mapping import target_names
from migrator.server.move.options import PlanOptions
from migrator.server.move.plan import DatabasePlan, ServerFacts, ServerPlan
from migrator.server.move.scan import Looked, look_inside
from migrator.server.move.survey import Surveyed, between_versions, facts_of, survey

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
    looked = look_inside(source, databases, limits_of(source), limits_of(target), everything=not options.quick)
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
