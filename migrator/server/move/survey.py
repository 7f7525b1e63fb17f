"""Looks at both servers by reading only: what goes, where it would go, and what the target bears."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from migrator.couch.validate import security_fault
from migrator.errors import ConfigError
from migrator.naming import counted, legal_database, selected, shown
from migrator.server.admin.compact import KNOWN_LANGUAGES, Design, designs_of, sizes
from migrator.server.admin.connection import Server
from migrator.server.admin.probes import SCRATCH_PREFIX
from migrator.server.admin.secure import open_to_everybody
from migrator.server.move.plan import ABSENT, EMPTY, OCCUPIED, DatabasePlan, PlanError, ServerFacts, ServerPlan

PARALLEL = 4
MAX_NAMED = 20
# A source that lives grows; so much more is another disk and another night than were planned.
MAX_GROWTH = 2
MIN_GROWN_DOCUMENTS = 10_000
MIN_GROWN_BYTES = 1 << 30


@dataclass(frozen=True)
class Surveyed:
    """One database as both sides have it; `index_bytes` are in use by its indexes at the source."""

    plan: DatabasePlan
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
    there = target.info(target_name, settled=True) if target_name[:1].islower() else None
    state = ABSENT
    if there is not None:
        state = OCCUPIED if _held(there) else EMPTY
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
    return Surveyed(plan, index_bytes, tuple(problems), tuple(warnings))


def _occupied(source: str, target: str, state: str, partitioned: bool, there: Mapping[str, Any]) -> Iterator[str]:
    if state == OCCUPIED:
        yield (
            f"{source} would go to {target}, which holds {counted(there.get('doc_count') or 0, 'document')} and "
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


def movable(names: Sequence[str], patterns: Sequence[str], where: str) -> list[str]:
    """The databases that a plan is about: all but the system's, or those that fit."""
    plain = [name for name in names if not name.startswith(("_", SCRATCH_PREFIX))]
    return selected(plain, patterns, where)


def target_names(databases: Sequence[str], pairs: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The target's name of each database, and what is wrong with them, as sentences.

    Args:
        databases: names at the source.
        pairs: new names by old ones; `old_*` with `new_*` maps whatever a star stands for.

    Raises:
        ConfigError: a pair is not one, or fits no database.
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


def refuse_unfit(plan: ServerPlan, source: Server, target: Server, ours: Collection[str] = ()) -> None:
    """Refuse a plan that is not any more what it was made for.

    Args:
        plan: the plan.
        source: the server that is left.
        target: the server that is moved to.
        ours: databases of the source whose copies an earlier run of this plan has begun.

    Raises:
        PlanError: it does not fit; every change is named.
    """
    # A file can have been changed by hand.
    problems = [*plan.problems, *problems_of({database.source: database.target for database in plan.databases})]
    if problems:
        raise PlanError(
            f"The plan has problems: {'; '.join(list(dict.fromkeys(problems))[:MAX_NAMED])}.",
            hint=f"Fix them, and make a new plan: {_again(plan)}",
        )
    changes = [
        f"the {side} was {planned.url} ({planned.uuid or '?'}), now it is {now.url} ({now.uuid or '?'})"
        for side, planned, now in (
            ("source", plan.source, facts_of(source)),
            ("target", plan.target, facts_of(target)),
        )
        if not planned.is_same(now)
    ]
    if not changes:
        changes = [*_gone_and_new(plan, source, ours), *_made_meanwhile(plan, target, ours)]
    if changes:
        more = f" (and {len(changes) - MAX_NAMED:,} more)" if len(changes) > MAX_NAMED else ""
        raise PlanError(
            f"The plan of {plan.made} does not fit any more: {'; '.join(changes[:MAX_NAMED])}{more}.",
            hint=f"Nothing was written. Make a new plan: {_again(plan)}",
        )


def _again(plan: ServerPlan) -> str:
    sides = ["--from", plan.source.url, "--to", plan.target.url]
    return shlex.join(["migrator", "plan-server", *sides, "--output", "plan.json"])


def _gone_and_new(plan: ServerPlan, source: Server, ours: Collection[str]) -> Iterator[str]:
    try:
        names = set(movable(source.databases(), plan.patterns, source.url))
    except ConfigError:
        # A pattern fits nothing any more.
        names = set()
    planned = {database.source: database for database in plan.databases}
    for name in sorted(names - set(planned)):
        yield f"{name} is new at the source"
    for name, database in planned.items():
        info = source.info(name)
        if info is None:
            yield f"{name} is gone from the source"
        elif str(info.get("instance_start_time", "")) != database.started:
            yield f"{name} was deleted and created again at the source"
        elif name not in ours:
            yield from _changed(database, info, source)


def _changed(database: DatabasePlan, info: Mapping[str, Any], source: Server) -> Iterator[str]:
    """What makes a database another one than people have said yes to; a few documents more do not."""
    planned = database.documents + database.deleted_documents
    held = _held(info)
    if held > planned * MAX_GROWTH + MIN_GROWN_DOCUMENTS:
        yield f"{database.source} has grown from {planned:,} documents to {held:,}"
    size = (info.get("sizes") or {}).get("external")
    before = database.external_bytes
    if size is not None and before is not None and size > before * MAX_GROWTH + MIN_GROWN_BYTES:
        yield f"{database.source} has grown from {before:,} bytes to {size:,}"
    designs = list(designs_of(source, database.source))
    now = {design.name for design in designs}, {design.name for design in designs if design.validates}
    if now != (set(database.design_documents), set(database.validators)):
        changed = sorted((now[0] ^ set(database.design_documents)) | (now[1] ^ set(database.validators)))
        named = ", ".join(f"_design/{name}" for name in changed)
        yield f"{database.source} has other design documents by now: {named}"


def _made_meanwhile(plan: ServerPlan, target: Server, ours: Collection[str]) -> Iterator[str]:
    for database in plan.databases:
        if database.source in ours:
            continue
        info = target.info(database.target, settled=True)
        if info is None:
            continue
        held = _held(info)
        if database.target_state == ABSENT or held:
            yield f"{database.target} is there at the target by now" + (
                f" with {counted(held, 'document')}" if held else ""
            )


def _held(info: Mapping[str, Any]) -> int:
    """Documents of a database, deleted ones too."""
    return int((info.get("doc_count") or 0) + (info.get("doc_del_count") or 0))
