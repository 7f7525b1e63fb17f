"""Looks at both servers by reading only: what goes, where it would go, and what the target bears."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from migrator.couch.refused import security_fault
from migrator.server.admin.compact import sizes
from migrator.server.admin.connection import Server
from migrator.server.admin.secure import open_to_everybody
from migrator.server.move.designs import KNOWN_LANGUAGES, Design, designs_of
from migrator.server.move.plan import ABSENT, EMPTY, OCCUPIED, DatabasePlan, ServerFacts

PARALLEL = 4


@dataclass(frozen=True)
class Surveyed:
    """One database as both sides have it; `index_bytes` are in use by its indexes at the source."""

    plan: DatabasePlan
    designs: tuple[Design, ...]
    index_bytes: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def facts_of(server: Server) -> ServerFacts:
    """Which server this is.

    Raises:
        EndpointError: it is out of reach or no CouchDB.
    """
    greeting = server.retrier.call("greet", lambda _: server.client.welcome())
    return ServerFacts(server.url, str(greeting.get("version", "")), str(greeting.get("uuid", "")))


def survey(source: Server, target: Server, names: Mapping[str, str]) -> list[Surveyed]:
    """Look at each database, in the order of names, a few at once.

    Raises:
        EndpointError: a side does not answer.
    """
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="survey") as pool:
        return list(pool.map(lambda pair: _survey(source, target, *pair), names.items()))


def _survey(source: Server, target: Server, name: str, target_name: str) -> Surveyed:
    facts = source.facts(name, settled=True)
    own = (source.info(name) or {}).get("sizes") or {}
    designs = tuple(designs_of(source, name))
    index_bytes = sizes(source, name, [design.name for design in designs if design.views]).views_active or 0
    problems, warnings = list[str](), [f"{name}: {text}" for design in designs for text in _oddities(design)]
    # A name that no database can have would be another question.
    there = target.settled_info(target_name) if target_name[:1].islower() else None
    state = ABSENT
    if there is not None:
        state = OCCUPIED if (there.get("doc_count") or 0) + (there.get("doc_del_count") or 0) else EMPTY
        problems += _occupied(name, target_name, state, facts.partitioned, there)
    if fault := security_fault(facts.security):
        problems.append(f"{name}: {fault}, which the target refuses for good")
    views = sum(len(design.views) for design in designs if not design.mango)
    plan = DatabasePlan(
        source=name,
        target=target_name,
        target_state=state,
        started=facts.instance_start_time,
        documents=facts.documents or 0,
        deleted_documents=facts.deleted_documents or 0,
        file_bytes=own.get("file"),
        active_bytes=own.get("active"),
        external_bytes=own.get("external"),
        leaves=None,
        attachments=None,
        conflicts=None,
        q=facts.q,
        n=facts.n,
        partitioned=facts.partitioned,
        revs_limit=facts.revs_limit,
        security=not open_to_everybody(facts.security),
        design_documents=tuple(design.name for design in designs),
        views=views,
        indexes=sum(len(design.views) for design in designs if design.mango),
        validators=tuple(design.name for design in designs if design.validates),
    )
    if not plan.security:
        warnings.append(f"{name}: its _security names no members, so everybody may read and write it")
    return Surveyed(plan, designs, index_bytes, tuple(problems), tuple(warnings))


def _occupied(source: str, target: str, state: str, partitioned: bool, there: Mapping[str, Any]) -> Iterator[str]:
    if state == OCCUPIED:
        yield (
            f"{source} would go to {target}, which holds {there.get('doc_count') or 0:,} documents and "
            f"{there.get('doc_del_count') or 0:,} deletions: use --map {source}=NEW, or delete it"
        )
    elif bool((there.get("props") or {}).get("partitioned")) is not partitioned:
        kind = "not partitioned" if partitioned else "partitioned"
        yield f"{target} is there, empty, and {kind}, unlike {source}: delete it"


def _oddities(design: Design) -> Iterator[str]:
    for engine in design.engines:
        yield f"_design/{design.name} needs {engine}, which must run beside the target too"
    if design.language not in KNOWN_LANGUAGES and design.views:
        yield f"_design/{design.name} is written in {design.language}, which the target must be set up for"


def between_versions(source: ServerFacts, target: ServerFacts, databases: Sequence[DatabasePlan]) -> Iterator[str]:
    """What changes when a server is left for one of another version."""
    old, new = _version(source.version), _version(target.version)
    if old and new and new < old:
        yield f"the target is older: CouchDB {target.version}, after {source.version} at the source"
    if new and new < (3, 0) and any(database.partitioned for database in databases):
        yield f"CouchDB {target.version} knows no partitioned databases"
    if old and new and old < (3, 0) <= new:
        yield "since 3.0 a database without members is for admins only; _security goes along as it is"


def _version(text: str) -> tuple[int, ...]:
    parts = text.split(".")[:2]
    return tuple(int(part) for part in parts) if len(parts) == 2 and all(part.isdigit() for part in parts) else ()
