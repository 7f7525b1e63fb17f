"""Carries one database: made with the options of the old one, its leaves, and its design documents."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import filterfalse, takewhile

from migrator.checkpoint.file import Checkpoint, CheckpointFile, CollectionState
from migrator.checkpoint.reject_file import RejectFile
from migrator.checkpoint.target_guard import RESTART, TargetGuard
from migrator.couch.leaf_writer import LeafWriter
from migrator.couch.settings import apply_revs_limit, apply_security, guard_database
from migrator.model import BatchLimits, Outcome
from migrator.model.events import BatchLoaded, CheckpointSaved, DocumentRejected, Listener, ignore
from migrator.model.revisions import DESIGN, DatabaseFacts, Leaf, LeafFault, is_design
from migrator.pipeline.leaves import Settled, carry_leaves
from migrator.server.admin.connection import Server
from migrator.server.admin.secure import ADMIN_ROLE
from migrator.server.move.plan import ABSENT, DatabasePlan

CLOSED = {"admins": {"roles": [ADMIN_ROLE]}, "members": {"roles": [ADMIN_ROLE]}}
MADE = "made"
START_OVER = "Start over with --restart, after deleting what is there."
SEQUENCE = "sequence"
# Of each database, several of which are carried side by side.
AT_ONCE = 2
# A save costs a flush to disk, and databases side by side would save all the time.
SAVE_INTERVAL_S = 1.0


class Journal:
    """Settles leaves: rejects to disk first, then counts and position into the checkpoint, saved now and then.

    Args:
        checkpoint: what earlier runs have settled.
        file: where it is kept.
        rejects: where rejects go.
        listener: receives what was settled.
    """

    def __init__(
        self, checkpoint: Checkpoint, file: CheckpointFile, rejects: RejectFile, listener: Listener = ignore
    ) -> None:
        self.checkpoint = checkpoint
        self._file = file
        self._rejects = rejects
        self._listener = listener
        self._lock = threading.RLock()
        self._saved = 0.0

    def state(self, part: str) -> CollectionState:
        """What is settled of a part; a new one begins."""
        with self._lock:
            return self.checkpoint.collections.setdefault(part, CollectionState())

    def detail(self, kind: str, database: str) -> str:
        """What was noted of a database."""
        with self._lock:
            return str(self.checkpoint.details.get(kind, {}).get(database, ""))

    def note(self, kind: str, database: str, value: str) -> None:
        """Note something of a database, durably, before what follows from it is done."""
        with self._lock:
            self.checkpoint.details.setdefault(kind, {})[database] = value
            self.save()

    def settle(self, part: str, settled: Settled, *, position: bool = True) -> None:
        """Note what became of leaves, and with `position` up to which id everything has its end."""
        tally = settled.tally
        with self._lock:
            state = self.state(part)
            if tally.rejects:
                self._rejects.write(tally.rejects)
            state.counts.add(tally.counts)
            if position:
                state.position = settled.position
            if time.monotonic() - self._saved >= SAVE_INTERVAL_S:
                self.save()
                self._listener(CheckpointSaved(part))
            for reject in tally.rejects:
                self._listener(DocumentRejected(reject))
            self._listener(BatchLoaded(part, tally.counts, tally.size_bytes, settled.seconds))

    def finish(self, part: str) -> None:
        """A part is complete."""
        with self._lock:
            self.state(part).finished = True
            self.save()

    def save(self) -> None:
        """Write the checkpoint, after the rejects that it vouches for."""
        with self._lock:
            self.checkpoint.vouch_for(self._rejects)
            self._file.save(self.checkpoint)
            self._saved = time.monotonic()


def told(leaf: Leaf, outcome: Outcome) -> str:
    """What a reject says of a leaf."""
    return f"revision {leaf.rev}: {outcome.reason}"


@dataclass
class Copier:
    """Carries databases from one server to another; several at once, each by one thread.

    Args:
        source: is read.
        target: is written.
        journal: keeps what is settled.
        limits: the largest request.
        listener: receives divided batches.
        guards: know the target's databases again, by name.
    """

    source: Server
    target: Server
    journal: Journal
    limits: BatchLimits
    listener: Listener = ignore
    guards: dict[str, TargetGuard] = field(default_factory=dict)

    def create(self, plan: DatabasePlan) -> bool:
        """Make the target's database with the old one's options, closed to all but admins; True when it is new.

        Raises:
            TargetReplaced: what this move had made there is gone, or another now.
        """
        noted, client = self.journal.detail(MADE, plan.source), self.target.client
        facts = DatabaseFacts(plan.target, plan.q, plan.n, plan.partitioned, plan.revs_limit)
        if noted.startswith("!"):
            self._remember(plan, noted[1:] or None)
            return False
        # Noted before it is made: after a kill in between, what is there is known to be ours.
        state = self.journal.state(plan.source)
        # Something is made, so that the checkpoint is none to be written over.
        state.position = state.position or ""
        self.journal.note(MADE, plan.source, "begun")
        self._retried(f"create {plan.target}", lambda: client.create_database(plan.target, **facts.creation))
        self._retried(f"set up {plan.target}", lambda: apply_revs_limit(client, plan.target, facts))
        self.target.ask(
            f"Closing {plan.target}", "PUT", plan.target, "_security", ok=(200, 201, 202, 404, 405), value=CLOSED
        )
        self._remember(plan, None)
        return plan.target_state == ABSENT and not noted

    def _remember(self, plan: DatabasePlan, recorded: str | None) -> None:
        guard = guard_database(
            self.target.client, self.target.retrier, plan.target, recorded, hint=START_OVER, flag=RESTART
        )
        self.guards[plan.target] = guard
        self.journal.note(MADE, plan.source, f"!{guard.known.get(plan.target) or ''}")

    def check(self, plan: DatabasePlan) -> None:
        """Make sure that the target's database is still the one that was written to.

        Raises:
            TargetReplaced: it is gone, or another now.
        """
        self.guards[plan.target].check(plan.target)

    def documents(self, plan: DatabasePlan) -> None:
        """Carry all leaves but those of design documents, from where an earlier run had ended."""
        state = self.journal.state(plan.source)
        fresh = self.create(plan)
        if state.finished:
            return
        with self.source.leaves(plan.source) as reader:
            if not self.journal.detail(SEQUENCE, plan.source):
                # What changes from here on is caught up with at the end.
                self.journal.note(SEQUENCE, plan.source, reader.last_seq)
            after = str(state.position) if state.position else None
            writer = self._writer(plan, fresh=fresh and after is None)
            self._carry(plan.source, writer, filterfalse(is_design, reader.leaves(after=after)))
        self.journal.finish(plan.source)

    def designs(self, plan: DatabasePlan, *, validating: bool) -> None:
        """Carry the design documents with a validation function, or the others."""
        part = designs_part(plan.source, validating=validating)
        state = self.journal.state(part)
        if state.finished:
            return
        names = {f"{DESIGN}{name}" for name in plan.validators}
        with self.source.leaves(plan.source) as reader:
            designs = takewhile(is_design, reader.leaves(after=str(state.position or DESIGN)))
            chosen = (leaf for leaf in designs if (leaf.id in names) is validating)
            self._carry(part, self._writer(plan), chosen)
        self.journal.finish(part)

    def catch_up(self, plan: DatabasePlan) -> int:
        """Carry documents that have changed at the source since the listing began; the number of leaves."""
        since = self.journal.detail(SEQUENCE, plan.source)
        with self.source.leaves(plan.source, since) as reader:
            sequence = reader.last_seq
            before = self.journal.state(plan.source).counts.read
            if reader.listed:
                self._carry(
                    plan.source, self._writer(plan), filterfalse(is_design, reader.leaves()), positions=False
                )
        self.journal.note(SEQUENCE, plan.source, sequence)
        return self.journal.state(plan.source).counts.read - before

    def security(self, plan: DatabasePlan) -> None:
        """Let in whom the old database let in."""
        old = self.source.value(f"Reading _security of {plan.source}", "GET", plan.source, "_security")
        facts = DatabaseFacts(plan.target, security=old)
        if not old:
            # What everybody may use there stays so, and the plan has warned of it.
            self.target.ask(f"Opening {plan.target}", "PUT", plan.target, "_security", ok=(200, 201), value={})
            return
        self._retried(f"let into {plan.target}", lambda: apply_security(self.target.client, plan.target, facts))

    def _carry(
        self,
        part: str,
        writer: LeafWriter,
        leaves: Iterator[Leaf | LeafFault],
        *,
        positions: bool = True,
    ) -> None:
        carry_leaves(
            part,
            leaves,
            writer.write,
            partial(self.journal.settle, part, position=positions),
            limits=self.limits,
            at_once=AT_ONCE,
            stopping=self.target.stopping,
            reason=told,
        )

    def _writer(self, plan: DatabasePlan, *, fresh: bool = False) -> LeafWriter:
        return LeafWriter(
            self.target.client,
            plan.target,
            self.target.retrier,
            limits=self.limits,
            fresh=fresh,
            listener=self.listener,
            check=lambda: self.check(plan),
        )

    def _retried(self, what: str, step: Callable[[], object]) -> None:
        self.target.retrier.call(what, lambda _: step())


def designs_part(database: str, *, validating: bool) -> str:
    """The checkpoint's name for the design documents of a database; no database has a space in its name."""
    return f"{database} {'validation functions' if validating else 'indexes and views'}"
