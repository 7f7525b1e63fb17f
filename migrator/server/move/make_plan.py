"""Makes the plan of a whole server's move by reading, and by one sample into a scratch database.

Documents are read for it: attachments and conflicts are counted, and what the target is sure to refuse is found.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Unpack

from migrator import naming
from migrator.codec import decode
from migrator.config import Connection
from migrator.couch.validate import document_size
from migrator.errors import EndpointError
from migrator.jobs.open import Around, surroundings
from migrator.model.events import TaskProgressed, one_at_a_time
from migrator.model.revisions import Leaf, LeafFault
from migrator.server.admin import replications
from migrator.server.admin.connection import Limits, Server, both_servers
from migrator.server.admin.probes import SCRATCH_PREFIX, free_space, scratch_database
from migrator.server.admin.secure import USERS
from migrator.server.move.options import PlanOptions
from migrator.server.move.plan import CannotGo, DatabasePlan, Estimate, ServerPlan
from migrator.server.move.survey import between_versions, facts_of, movable, survey, target_names

# More than that nobody reads; what is beyond is counted.
MAX_NAMED = 1_000
MAX_GZIP_FACTOR = 1_032
SIDE_BY_SIDE = 2
TELL_EVERY = 5_000
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
    **around: Unpack[Around],
) -> ServerPlan:
    """Look at both servers and write down the move; nothing lasting is written on either.

    Args:
        source_url: the server that is left; credentials as everywhere.
        target_url: the server that is moved to.
        options: what to plan.
        config: timeouts, tries and files for TLS.
        around: as in `open_job`; the listener is called by several threads, one at a time.

    Raises:
        ConfigError: a URL, a pattern or a map cannot be.
        EndpointError: a side is out of reach.
    """
    options = options or PlanOptions()
    environ, listener, stopping = surroundings(around)
    listener = one_at_a_time(listener)
    more: Around = {"environ": environ, "listener": listener, "stopping": stopping}
    with both_servers(source_url, target_url, config, **more) as (source, target):
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
    counted, cannot_go, more, how = _look_inside(source, target, databases, everything=not options.quick)
    if more:
        warnings.append(f"{naming.counted(more, 'more document')} cannot go than are named")
    users = None
    if options.users and USERS in all_names:
        params = {"startkey": '"org.couchdb.user:"', "endkey": '"org.couchdb.user;"'}
        users = len(source.value("Counting users", "GET", USERS, "_all_docs", params=params)["rows"])
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
        databases=tuple(counted.values()),
        cannot_go=tuple(cannot_go),
        found_by=how,
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
            why = "a scratch database of a command that was killed or is at work; it is removed after an hour"
            yield name, why
        elif name.startswith("_"):
            yield name, "the server's own"
        else:
            yield name, "no --database fits it"


def estimate(source: Server, target: Server, databases: Sequence[DatabasePlan]) -> tuple[Estimate | None, str]:
    """Time expected for these databases, and a sentence where it cannot be told."""
    largest = max(databases, key=lambda database: database.documents, default=None)
    if largest is None or not largest.documents:
        return None, "there are no documents to take a sample of"
    try:
        started = time.monotonic()
        bodies = _sample(source, largest.source)
        if not bodies:
            return None, "there are no documents to take a sample of"
        with scratch_database(target.client) as scratch:
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


def _look_inside(
    source: Server, target: Server, databases: Sequence[DatabasePlan], *, everything: bool
) -> tuple[dict[str, DatabasePlan], list[CannotGo], int, str]:
    """Count what the server does not count, and find documents and attachments over the target's limits.

    Where not everything is read, a database is read only where one of its documents can be too large: the source's
    own limit is above the target's, and so is the database's `sizes.external`, which the server sums up by the
    measure of that limit. Gives the databases with their counts, what cannot go, how much more than is named, and
    how it was found.
    """
    have, bears = source.limits(), target.limits()
    chosen = [d for d in databases if everything or _can_be_too_large(d, have, bears)]
    found = {each.source: each for each in databases}
    named: list[CannotGo] = []
    unnamed = 0
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="look") as pool:
        for database, cannot_go, more in pool.map(lambda each: _count(source, each, bears), chosen):
            found[database.source] = database
            room = MAX_NAMED - len(named)
            named += cannot_go[:room]
            unnamed += more + len(cannot_go[room:])
    return found, named, unnamed, _how(len(databases), len(chosen), have, bears, everything=everything)


def _can_be_too_large(database: DatabasePlan, have: Limits, bears: Limits) -> bool:
    for own, other, factor in (
        (have.document_bytes, bears.document_bytes, 1),
        # Attachments are summed up as they are stored, which can be compressed.
        (have.attachment_bytes, bears.attachment_bytes, MAX_GZIP_FACTOR),
    ):
        if other is None or (own is not None and own <= other):
            continue
        if database.external_bytes is None or database.external_bytes * factor > other:
            return True
    return False


def _count(source: Server, database: DatabasePlan, bears: Limits) -> tuple[DatabasePlan, list[CannotGo], int]:
    """A database with its counts, what of it cannot go, and how much more than is named."""
    leaves = attachments = conflicts = more = 0
    cannot_go: list[CannotGo] = []
    total = max(1, database.documents + database.deleted_documents)
    with source.leaves(database.source) as reader:
        for documents, (_, group) in enumerate(groupby(reader.leaves(), key=lambda leaf: leaf.id), 1):
            living = 0
            for leaf in group:
                leaves += 1
                if isinstance(leaf, Leaf):
                    attachments += len(leaf.attachments)
                    living += not leaf.deleted
                for reason in _why_not(leaf, bears):
                    if len(cannot_go) < MAX_NAMED:
                        cannot_go.append(CannotGo(database.source, leaf.id, leaf.rev, reason))
                    else:
                        more += 1
            conflicts += living > 1
            if documents % TELL_EVERY == 0:
                source.listener(TaskProgressed("reading", database.source, min(1.0, documents / total)))
    return replace(database, leaves=leaves, attachments=attachments, conflicts=conflicts), cannot_go, more


def _why_not(leaf: Leaf | LeafFault, bears: Limits) -> Iterator[str]:
    if isinstance(leaf, LeafFault):
        yield f"the source cannot give it: {leaf.reason}"
        return
    limit = bears.document_bytes
    # A text within the limit needs no computing.
    if limit is not None and len(leaf.body) > limit and (size := document_size(decode(leaf.body))) > limit:
        yield f"{size:,} bytes, where the target takes {limit:,}"
    limit = bears.attachment_bytes
    for attachment in leaf.attachments:
        length = attachment.length_bytes or 0
        if limit is not None and length > limit:
            yield f"its attachment {attachment.name} has {length:,} bytes, where the target takes {limit:,}"


def _how(databases: int, read: int, have: Limits, bears: Limits, *, everything: bool) -> str:
    if bears.document_bytes is None:
        told = "the target tells its limits to admins only, so nothing was looked for"
        return f"every document was read, but {told}" if everything else told
    if everything:
        return (
            f"all documents of {databases:,} databases were read; the target takes {bears.document_bytes:,} bytes"
        )
    if have.document_bytes is not None and have.document_bytes <= bears.document_bytes and not read:
        return (
            f"none should be: the source takes none over {have.document_bytes:,} bytes, the target none over "
            f"{bears.document_bytes:,}; without --quick all are read"
        )
    return (
        f"{read:,} of {databases:,} databases were read; each other holds less in all than the target takes in "
        f"one document ({bears.document_bytes:,} bytes)"
    )
