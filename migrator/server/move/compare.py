"""Compares both servers after a move: every leaf, every setting, every index, every user."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from migrator.couch.changes import BEGINNING
from migrator.couch.documents import proofs, unlike
from migrator.couch.leaves import LeafReader
from migrator.files.sorting import side_by_side
from migrator.model import BatchLimits
from migrator.model.events import TaskProgressed
from migrator.model.revisions import LeafFault
from migrator.naming import counted, printable, shown, was
from migrator.retry.window import in_batches
from migrator.server.admin import replications
from migrator.server.admin.compact import designs_of
from migrator.server.admin.connection import Server
from migrator.server.admin.secure import ID_PREFIX, USERS
from migrator.server.move.plan import ABSENT, DatabasePlan

# Of one database; more of it tell nobody more.
MAX_NAMED = 20
MAX_LINES = 20
# So many documents, or revisions of them, are asked about at once.
ASKED = BatchLimits(max_docs=500, max_bytes=500)
TELL_EVERY = 20_000


@dataclass
class Compared:
    """One database, or the users, on both sides.

    Args:
        leaves: at the source.
        missing: of them at the target.
        different: leaves that both sides have, with another content, ancestry or attachment.
        extra: leaves that only the target has: written there since it was opened, or removed at the source.
        changed_since: documents that changed at the source after they were carried; they are not a difference.
        settings: what else is not as it was, as sentences.
        named: the first leaves that are missing or different, as sentences.
        notes: what is otherwise by intention.
    """

    leaves: int = 0
    missing: int = 0
    different: int = 0
    extra: int = 0
    changed_since: int = 0
    settings: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True when the target has whatever the source has."""
        return not (self.missing or self.different or self.settings)

    def name(self, text: str) -> None:
        """Keep a sentence, unless there are many already."""
        if len(self.named) < MAX_NAMED:
            self.named.append(text)


@dataclass(frozen=True)
class Verified:
    """Both servers compared; with `contents`, every document and attachment was read on both."""

    databases: Mapping[str, Compared]
    contents: bool
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True when nothing is missing and nothing is different."""
        return all(compared.ok for compared in self.databases.values())

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "ok": self.ok,
            "contents": self.contents,
            "seconds": round(self.seconds, 3),
            "databases": {name: {"ok": c.ok, **asdict(c)} for name, c in self.databases.items()},
        }


def verified_lines(verified: Verified) -> Iterator[str]:
    """For people: what is not the same, and the verdict."""
    found = verified.databases.items()
    lines = [f"{name}: {text}" for name, c in found for text in (*c.settings, *c.named)]
    yield from (printable(line) for line in lines[:MAX_LINES])
    if len(lines) > MAX_LINES:
        yield "... and more, in the report"
    yield from (printable(f"{name}: {text}") for name, c in found for text in c.notes)
    counts = [c for _, c in found]
    leaves = sum(c.leaves for c in counts)
    for number, what in (
        (sum(c.changed_since for c in counts), "documents have changed at the source since they were carried"),
        (sum(c.extra for c in counts), "revisions are at the target only"),
    ):
        if number:
            yield f"{number:,} {what}"
    how = "contents, attachments and settings" if verified.contents else "revisions and settings"
    if verified.ok:
        yield f"Compared {how}: nothing of {counted(leaves, 'revision')} is missing. {verified.seconds:.1f} s"
        return
    missing, different = sum(c.missing for c in counts), sum(c.different for c in counts)
    settings = sum(len(c.settings) for c in counts)
    differ = f"{counted(settings, 'setting')} {was(settings, 'differs', 'differ')}"
    yield (
        f"Compared {how}: of {counted(leaves, 'revision')} {missing:,} {was(missing, 'is', 'are')} missing and "
        f"{different:,} different, and {differ}. {verified.seconds:.1f} s"
    )


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
            ours = stack.enter_context(self.source.leaves(plan.source))
            theirs = stack.enter_context(self.target.leaves(plan.target))
            # Listed first, so that all of it that came late is in the list of what did.
            _ = ours.last_seq, theirs.last_seq
            late = stack.enter_context(self.source.leaves(plan.source, since or BEGINNING))
            changed = late.revisions() if since else iter(())
            absent = self._missing(plan.target, self._lacking(plan, ours, theirs, compared))
            for id, revs, changes in side_by_side(absent, changed):
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

    def _lacking(
        self, plan: DatabasePlan, ours: LeafReader, theirs: LeafReader, compared: Compared
    ) -> Iterator[tuple[str, list[str]]]:
        """Documents with the leaves that are none of the target's; it may hold them as ancestors of newer ones."""
        for number, (id, mine, other) in enumerate(side_by_side(ours.revisions(), theirs.revisions()), 1):
            compared.leaves += len(mine or ())
            lacking = [rev for rev in mine or () if rev not in set(other or ())]
            compared.extra += len([rev for rev in other or () if rev not in set(mine or ())])
            if lacking:
                yield id, lacking
            if number % TELL_EVERY == 0:
                share = min(1.0, number / max(1, ours.listed))
                self.source.listener(TaskProgressed("comparing", plan.source, share))

    def _missing(
        self, database: str, doubtful: Iterable[tuple[str, list[str]]]
    ) -> Iterator[tuple[str, list[str]]]:
        """Of documents and their revisions those that the target does not hold."""
        what = f"Looking for revisions in {database}"
        for asked in map(dict, in_batches(doubtful, ASKED, lambda item: len(item[1]))):
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
        one, other = self.source.facts(plan.source), self.target.facts(plan.target)
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
            if self.source.index(plan.source, name) is not None and self.target.index(plan.target, name) is None
        ]
        compared.settings += found

    def users(self) -> Compared:
        """Compare the users.

        Raises:
            EndpointError: a side does not answer.
        """
        compared = Compared()
        with self.source.leaves(USERS) as ours:

            def users() -> Iterator[tuple[str, list[str]]]:
                for id, revs in ours.revisions():
                    if id.startswith(ID_PREFIX):
                        compared.leaves += len(revs)
                        yield id, revs

            for id, revs in self._missing(USERS, users()):
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
