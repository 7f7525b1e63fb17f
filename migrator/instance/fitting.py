"""Holds a plan against both servers as they are now, and names what has changed since it was made."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from migrator.care.server import Server
from migrator.errors import ConfigError
from migrator.instance.plan import ABSENT, PlanError, ServerFacts, ServerPlan
from migrator.instance.planning import movable
from migrator.instance.surveying import facts_of

MAX_NAMED = 20


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
    if plan.problems:
        raise PlanError(
            f"The plan has problems: {'; '.join(plan.problems[:MAX_NAMED])}.",
            hint="Mend them, and make a new plan: migrator plan --from URL --to URL --output FILE",
        )
    changes = [*_servers(plan, source, target)]
    if not changes:
        changes = [*_gone_and_new(plan, source), *_occupied(plan, target, ours)]
    if changes:
        more = f" (and {len(changes) - MAX_NAMED:,} more)" if len(changes) > MAX_NAMED else ""
        raise PlanError(
            f"The plan of {plan.made} does not fit any more: {'; '.join(changes[:MAX_NAMED])}{more}.",
            hint="Nothing was written. Make a new plan: migrator plan --from URL --to URL --output FILE",
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


def _gone_and_new(plan: ServerPlan, source: Server) -> Iterator[str]:
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
            yield f"{name} was deleted and made anew at the source"


def _occupied(plan: ServerPlan, target: Server, ours: Collection[str]) -> Iterator[str]:
    for database in plan.databases:
        if database.source in ours:
            continue
        info = target.info(database.target)
        if info is None:
            continue
        held = (info.get("doc_count") or 0) + (info.get("doc_del_count") or 0)
        if database.target_state == ABSENT or held:
            yield f"{database.target} is there at the target by now" + (
                f" with {held:,} documents" if held else ""
            )
