"""Compares a plan with both servers as they are now, and names what has changed since it was made."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from migrator.errors import ConfigError
from migrator.server.admin.connection import Server
from migrator.server.move.designs import designs_of
from migrator.server.move.make_plan import movable, problems_of
from migrator.server.move.plan import ABSENT, DatabasePlan, PlanError, ServerFacts, ServerPlan
from migrator.server.move.survey import facts_of

MAX_NAMED = 20
# A source that lives grows; so much more is another disk and another night than were planned.
MAX_GROWTH = 2
MIN_GROWN_DOCUMENTS = 10_000
MIN_GROWN_BYTES = 1 << 30


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
            hint="Fix them, and make a new plan: migrator plan-server --from URL --to URL --output FILE",
        )
    changes = [*_servers(plan, source, target)]
    if not changes:
        changes = [*_gone_and_new(plan, source, ours), *_occupied(plan, target, ours)]
    if changes:
        more = f" (and {len(changes) - MAX_NAMED:,} more)" if len(changes) > MAX_NAMED else ""
        raise PlanError(
            f"The plan of {plan.made} does not fit any more: {'; '.join(changes[:MAX_NAMED])}{more}.",
            hint="Nothing was written. Make a new plan: migrator plan-server --from URL --to URL --output FILE",
        )


def _servers(plan: ServerPlan, source: Server, target: Server) -> Iterator[str]:
    for side, planned, now in (
        ("source", plan.source, facts_of(source)),
        ("target", plan.target, facts_of(target)),
    ):
        if not _same(planned, now):
            yield f"the {side} was {planned.url} ({planned.uuid or '?'}), now it is {now.url} ({now.uuid or '?'})"


def _same(planned: ServerFacts, now: ServerFacts) -> bool:
    # One server can have several addresses; one address can have had several servers.
    if planned.uuid and now.uuid:
        return planned.uuid == now.uuid
    return planned.url == now.url


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
    held = (info.get("doc_count") or 0) + (info.get("doc_del_count") or 0)
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


def _occupied(plan: ServerPlan, target: Server, ours: Collection[str]) -> Iterator[str]:
    for database in plan.databases:
        if database.source in ours:
            continue
        info = target.settled_info(database.target)
        if info is None:
            continue
        held = (info.get("doc_count") or 0) + (info.get("doc_del_count") or 0)
        if database.target_state == ABSENT or held:
            yield f"{database.target} is there at the target by now" + (
                f" with {held:,} documents" if held else ""
            )
