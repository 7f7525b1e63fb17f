"""Users go along with the hashes of their passwords, and replications so that none of them starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from migrator.checkpoint.target_guard import RESTART, TargetGuard
from migrator.couch.leaf_writer import LeafWriter
from migrator.couch.settings import guard_database
from migrator.model import BatchLimits, Outcome, Status
from migrator.model.revisions import Leaf
from migrator.pipeline.accounting import account_leaves
from migrator.pipeline.leaves import Settled, carry_leaves
from migrator.server.admin import replications
from migrator.server.admin.connection import Server
from migrator.server.admin.secure import ID_PREFIX, USERS
from migrator.server.move.copy import START_OVER, Journal, told

IDENTITY = "identity"
BATCH = BatchLimits(max_docs=100)


def carry_users(source: Server, target: Server, journal: Journal) -> None:
    """Carry `_users`: who is at the target already with another past stays as it is there, and is rejected.

    Deleted users and conflicts go along, so that what was settled stays so.
    """
    guard = _guarded_users(target, journal)
    if journal.state(USERS).finished:
        return
    writer = LeafWriter(
        target.client, USERS, target.retrier, limits=BATCH, check=lambda: guard and guard.check(USERS)
    )
    with source.leaves(USERS) as reader:
        # What is not a user, as `_design/_auth`, is each server's own.
        after = str(journal.state(USERS).position or ID_PREFIX)
        users = (leaf for leaf in reader.leaves(after=after) if leaf.id.startswith(ID_PREFIX))
        carry_leaves(
            USERS,
            users,
            lambda leaves: _written(target, writer, leaves),
            lambda settled: journal.settle(USERS, settled),
            limits=BATCH,
            at_once=1,
            stopping=target.stopping,
            # Which past is whose is told by all leaves of a user.
            together=True,
            reason=told,
        )
    if guard is not None:
        guard.check(USERS)
    journal.finish(USERS)


def _guarded_users(target: Server, journal: Journal) -> TargetGuard | None:
    """Make sure that the target's `_users` is the one that holds what is settled; None where nobody noted it."""
    recorded = journal.detail(IDENTITY, USERS) or None
    if recorded is None:
        if journal.state(USERS).finished:
            return None
        _make(target, USERS)
    guard = guard_database(target.client, target.retrier, USERS, recorded, hint=START_OVER, flag=RESTART)
    journal.note(IDENTITY, USERS, guard.known.get(USERS) or "")
    return guard


def _written(target: Server, writer: LeafWriter, leaves: Sequence[Leaf]) -> list[Outcome]:
    there = _revisions(target, sorted({leaf.id for leaf in leaves}))
    mine: dict[str, set[str]] = defaultdict(set)
    for leaf in leaves:
        history = orjson.loads(leaf.body)["_revisions"]
        mine[leaf.id].update(f"{history['start'] - back}-{rev}" for back, rev in enumerate(history["ids"]))
    foreign = {id for id, rev in there.items() if rev not in mine[id]}
    welcome = iter(writer.write([leaf for leaf in leaves if leaf.id not in foreign]))
    reason = "the target has a user of this name with another past, who stays"
    return [
        Outcome(leaf.id, Status.REJECTED, "conflict", reason, conflict=True, http_status=409)
        if leaf.id in foreign
        else next(welcome)
        for leaf in leaves
    ]


def _revisions(server: Server, ids: Sequence[str]) -> dict[str, str]:
    """The winning revision of those that are there."""
    rows = server.value("Looking for users", "POST", USERS, "_all_docs", value={"keys": ids})["rows"]
    return {
        row["id"]: row["value"]["rev"] for row in rows if "error" not in row and not row["value"].get("deleted")
    }


def carry_replications(source: Server, target: Server, journal: Journal) -> None:
    """Carry the documents of `_replicator`, each so that the target's replicator takes it for one that had failed.

    One of the same name that is there already with other content stays, and is rejected.
    """
    part = replications.DATABASE
    if journal.state(part).finished:
        return
    _make(target, part)
    params = {"include_docs": "true"}
    rows = source.value("Reading replications", "GET", part, "_all_docs", params=params)["rows"]
    for row in rows:
        document = row.get("doc")
        if not isinstance(document, dict) or row["id"].startswith("_design/"):
            continue
        paused = replications.as_paused(document)
        paused.pop("_rev", None)
        leaf = Leaf(row["id"], str(document.get("_rev", "")), orjson.dumps(paused))
        tally = account_leaves(part, [leaf], [_laid_down(target, row["id"], paused)], told)
        journal.settle(part, Settled(tally, "", 0.0), position=False)
    journal.finish(part)


def _laid_down(target: Server, name: str, paused: Mapping[str, Any]) -> Outcome:
    there = replications.document(target, name)
    if there is not None:
        if {**there, "_rev": 0, "owner": 0} == {**paused, "_rev": 0, "owner": 0}:
            return Outcome(name, Status.UNCHANGED)
        reason = "the target has a replication of this name, which stays"
        return Outcome(name, Status.REJECTED, "conflict", reason, conflict=True, http_status=409)
    path = (replications.DATABASE, name)
    what = f"Laying down the replication {name}"
    answer = target.ask(what, "PUT", *path, ok=(201, 202, 400, 403), again=(409,), value=paused)
    if answer.status in {400, 403}:
        error, reason = answer.error()
        return Outcome(name, Status.REJECTED, error, reason, http_status=answer.status)
    return Outcome(name, Status.WRITTEN)


def _make(server: Server, database: str) -> None:
    if server.info(database) is None:
        server.retrier.call(
            f"create {database}",
            lambda _: server.client.create_database(database),
            retry_on=lambda _error: False,
        )
