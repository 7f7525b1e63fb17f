"""Compares both servers after a move: every leaf, every setting, every index, every user."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from migrator.couch.changes import BEGINNING
from migrator.couch.leaf_equality import proofs, unlike
from migrator.couch.leaves import LeafReader
from migrator.couch.settings import ANSWERED, index_of, read_facts
from migrator.events import TaskProgressed
from migrator.files.merging import side_by_side
from migrator.model import BatchLimits
from migrator.naming import shown
from migrator.retry.dividing import in_batches
from migrator.revisions import DatabaseFacts, LeafFault
from migrator.server.admin import replications
from migrator.server.admin.connection import Server
from migrator.server.admin.secure import ID_PREFIX, USERS
from migrator.server.move.comparison import Compared
from migrator.server.move.designs import designs_of
from migrator.server.move.listing import listed
from migrator.server.move.plan import ABSENT, DatabasePlan

# So many revisions are asked about at once.
ASKED = BatchLimits(max_docs=500)
TELL_EVERY = 20_000


@dataclass(frozen=True)
class Comparer:
    """Compares databases of two servers; several at once, each by one thread.

    Args:
        source: what was moved.
        target: where it is now.
        contents: read every document and attachment on both sides; else revisions are compared, which CouchDB
            makes of the content.
    """

    source: Server
    target: Server
    contents: bool = False

    def database(self, plan: DatabasePlan, since: str) -> Compared:
        """Compare one database.

        Args:
            plan: the database.
            since: where its move had ended; what the source changed after it was not carried.

        Raises:
            EndpointError: a side does not answer.
        """
        compared = Compared()
        with contextlib.ExitStack() as stack:
            ours = stack.enter_context(listed(self.source, plan.source))
            theirs = stack.enter_context(listed(self.target, plan.target))
            # Listed first, so that all of it that came late is in the list of what did.
            _ = ours.last_seq, theirs.last_seq
            late = stack.enter_context(listed(self.source, plan.source, since or BEGINNING))
            changed = late.revisions() if since else iter(())
            for id, revs, changes in side_by_side(self._absent(plan, ours, theirs, compared), changed):
                if changes is not None:
                    compared.changed_since += revs is not None
                    continue
                compared.missing += len(revs or ())
                for rev in revs or ():
                    compared.name(f"{shown(id)} {rev} is missing")
            if self.contents:
                self._contents(ours, theirs, compared)
        self._settings(plan, compared)
        return compared

    def _absent(
        self, plan: DatabasePlan, ours: LeafReader, theirs: LeafReader, compared: Compared
    ) -> Iterator[tuple[str, list[str]]]:
        """Documents with the leaves that the target does not hold, not even as the ancestor of a newer one."""
        doubtful: dict[str, list[str]] = {}
        count = 0
        for number, (id, mine, other) in enumerate(side_by_side(ours.revisions(), theirs.revisions()), 1):
            compared.leaves += len(mine or ())
            lacking = [rev for rev in mine or () if rev not in set(other or ())]
            compared.extra += len([rev for rev in other or () if rev not in set(mine or ())])
            if lacking:
                doubtful[id] = lacking
                count += len(lacking)
            if count >= ASKED.max_docs:
                yield from self._missing(plan.target, doubtful)
                doubtful, count = {}, 0
            if number % TELL_EVERY == 0:
                share = min(1.0, number / max(1, ours.listed))
                self.source.listener(TaskProgressed("comparing", plan.source, share))
        yield from self._missing(plan.target, doubtful)

    def _missing(self, database: str, asked: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
        if not asked:
            return
        what = f"Looking for revisions in {database}"
        found = self.target.value(what, "POST", database, "_revs_diff", value=asked)
        for id in asked:
            if revs := list(found.get(id, {}).get("missing", ())):
                yield id, revs

    def _contents(self, ours: LeafReader, theirs: LeafReader, compared: Compared) -> None:
        faults: list[str] = []

        def note(leaf: LeafFault) -> None:
            faults.append(f"{shown(leaf.id)} {leaf.rev} cannot be read: {leaf.reason}")

        mine, other = (proofs(reader.leaves(), note) for reader in (ours, theirs))
        for id, one, two in side_by_side(mine, other):
            for text in (*faults, *unlike(id, one or {}, two or {})):
                compared.different += 1
                compared.name(text)
            faults.clear()
        compared.different += len(faults)
        for text in faults:
            compared.name(text)

    def _settings(self, plan: DatabasePlan, compared: Compared) -> None:
        one, other = _facts(self.source, plan.source), _facts(self.target, plan.target)
        found: list[str] = []
        if one.q is not None and one.q != other.q:
            text = f"q is {other.q}, where the source has {one.q}"
            # A database that stood there already was made by somebody who knew why.
            (found if plan.target_state == ABSENT else compared.notes).append(text)
        if one.partitioned is not other.partitioned:
            found.append("it is partitioned on one side only")
        if one.revs_limit != other.revs_limit:
            found.append(f"revs_limit is {other.revs_limit}, where the source has {one.revs_limit}")
        if dict(one.security) != dict(other.security):
            found.append("_security is not the source's")
        indexes = [design.name for design in designs_of(self.source, plan.source) if design.views]
        found += [
            f"_design/{name} has no index"
            for name in indexes
            if _has_index(self.source, plan.source, name) and not _has_index(self.target, plan.target, name)
        ]
        compared.settings += found

    def users(self) -> Compared:
        """Compare the users.

        Raises:
            EndpointError: a side does not answer.
        """
        compared = Compared()
        with listed(self.source, USERS) as ours:
            users = ((id, revs) for id, revs in ours.revisions() if id.startswith(ID_PREFIX))
            for part in map(dict, in_batches(users, ASKED, lambda _: 0)):
                compared.leaves += sum(map(len, part.values()))
                for id, revs in self._missing(USERS, part):
                    compared.missing += len(revs)
                    compared.name(f"{shown(id)} is not there with its past")
        return compared

    def replications(self) -> Compared:
        """Look whether each replication of the source has one of its name at the target.

        Raises:
            EndpointError: a side does not answer.
        """
        compared = Compared()
        there = {job.name for job in replications.listed(self.target)}
        for job in replications.listed(self.source):
            compared.leaves += 1
            if job.name not in there:
                compared.missing += 1
                compared.name(f"{shown(job.name)} is missing")
        return compared


def _facts(server: Server, database: str) -> DatabaseFacts:
    return server.retrier.call(f"look at {database}", lambda _: read_facts(server.client, database))


def _has_index(server: Server, database: str, name: str) -> bool:
    what = f"Looking at {database}/_design/{name}"
    answer = server.ask(what, "GET", database, "_design", name, "_info", ok=ANSWERED)
    return index_of(answer, what, server.url) is not None
