"""Restores databases from a place: exact revisions, into databases made as the old ones were."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Unpack

from migrator.backup.catalog import Catalog, open_catalog
from migrator.backup.format.cipher import fitting
from migrator.backup.format.manifest import Manifest
from migrator.backup.format.snapshot_reader import SnapshotReader
from migrator.backup.listing import snapshots_at
from migrator.backup.options import RestoreOptions
from migrator.backup.result import SYSTEM, DatabaseResult, Progress, RevisionsResult, attempted
from migrator.config import JobConfig
from migrator.couch.claim import Claim
from migrator.couch.client import CouchClient
from migrator.couch.leaf_writer import LeafWriter
from migrator.couch.settings import apply_revs_limit, apply_security, check_security, read_facts
from migrator.errors import ConfigError, DamagedBackup, Forbidden, Unauthorized
from migrator.jobs.open import Around, surroundings
from migrator.jobs.registry import open_client
from migrator.model import BatchLimits
from migrator.model.revisions import DESIGN, Leaf, LeafFault, is_design
from migrator.naming import legal_database, shown
from migrator.pipeline.leaves import carry_leaves
from migrator.retry.retrier import FIRST_CONTACT, Retrier, RetryPolicy

# Design documents that the server makes in its own databases, which the backup's would be in conflict with.
SERVERS_OWN = {"_users": ("_design/_auth",), "_replicator": ("_design/_replicator",)}
ELSEWHERE = "Restore to another name with --map OLD=NEW, or into this one with --into-existing."
REPLICATOR = "_replicator"


def run_restore(config: JobConfig, options: RestoreOptions, **around: Unpack[Around]) -> RevisionsResult:
    """Restore databases to `config.target`, one after the other.

    After an interruption the same call writes what is missing and nothing else.

    Raises:
        ConfigError: something that is asked cannot be; nothing was written.
        EndpointError: server or place are out of reach.
        DamagedBackup: what says what is in the place is damaged.
        Interrupted: asked to stop.
    """
    environ, listener, stopping = surroundings(around)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        catalog = open_catalog(options.place, options.identity, stopping=stopping)
        # Without a choice, none of the server's own.
        manifests, broken = snapshots_at(catalog, options.databases, options.at, unnamed=["*"])
        unreadable = [DatabaseResult(name, error=error) for name, error in broken.items()]
        named = [*manifests, *(result.database for result in unreadable)]
        client, one = open_client(config, "target", environ)
        stack.callback(client.close)
        names = {name: to for name, to in _targets(one, options, named).items() if name in manifests}
        first = Retrier(FIRST_CONTACT, listener, None, stopping)
        # The list of databases is for admins, and whoever may write to one may restore into it.
        first.call("reach the target", lambda _: client.welcome())
        files = {"rejects": config.rejects, "again": options.again}
        progress = Progress("restore", listener, catalog.place.describe(), client.url, names, **files)
        stack.callback(progress.close)
        retrier = Retrier(RetryPolicy.of(config), listener, None, stopping)
        run = _Run(config, options, catalog, client, retrier, progress)
        for manifest in manifests.values():
            # One that is damaged is told when its turn comes, and stops no other.
            with contextlib.suppress(DamagedBackup):
                run.chains[manifest.database] = catalog.chain(manifest)
        chains = {name: run.chains.get(name) or [manifests[name]] for name in names}
        targets = [Target(client, names[name], chain, retrier, options) for name, chain in chains.items()]
        # Before anything is written anywhere.
        for each in targets:
            first.call("look at the target", each.refuse)
        results = [*(run.result_of(target) for target in targets), *unreadable]
        results.sort(key=lambda result: result.database)
        return progress.finished(results, time.monotonic() - started)


def _targets(one: str | None, options: RestoreOptions, names: list[str]) -> dict[str, str]:
    """Target name by name; `one` is the database that the target's URL names."""
    if unknown := [name for name in options.map if name not in names]:
        raise ConfigError(
            f"--map names {shown(unknown[0])}, which is not restored.", hint=f"Restored are: {', '.join(names)}."
        )
    if one and len(names) > 1:
        raise ConfigError(
            f"The target names one database, {one}, but {len(names)} are to be restored.",
            hint="Leave the database out of the target's URL, or choose one with --database NAME.",
        )
    targets = {name: one or options.map.get(name, name) for name in names}
    for name, target in targets.items():
        legal_database(target, of=f"the backup of {shown(name)}")
        if sum(other == target for other in targets.values()) > 1:
            raise ConfigError(f"Two databases would go to {target}.", hint="Give each another name with --map.")
        if target == REPLICATOR and not options.start_replications:
            raise ConfigError(
                f"The server starts every replication that is written to {REPLICATOR} at once.",
                hint=f"Add --start-replications, or look at them elsewhere: --map {name}=replications",
            )
    return targets


@dataclass
class _Run:
    config: JobConfig
    options: RestoreOptions
    catalog: Catalog
    client: CouchClient
    retrier: Retrier
    progress: Progress
    chains: dict[str, list[Manifest]] = field(default_factory=dict)

    def result_of(self, target: Target) -> DatabaseResult:
        """Restore one database, whatever comes of it."""
        result = DatabaseResult(target.manifest.database, snapshot=target.manifest)
        return attempted(result, lambda: self._restore(target.manifest, target, result))

    def _restore(self, manifest: Manifest, target: Target, result: DatabaseResult) -> None:
        name = manifest.database
        chain = self.chains.get(name) or self.catalog.chain(manifest)
        for each in chain:
            # Before anything is written.
            fitting(self.catalog.cipher, each.encryption, self.catalog.place_of(each))
        ids = self.options.ids or None
        fresh = target.prepare(result.notes)
        # Of more than one snapshot nobody knows without reading.
        total = chain[0].counts.leaves if len(chain) == 1 and not ids else None
        self.progress.started(name, total, resumed=target.resumed)
        limits = BatchLimits(self.config.batch_docs, self.config.batch_bytes)
        writer = LeafWriter(
            self.client, target.database, self.retrier, limits=limits, fresh=fresh, check=target.check
        )
        seen: set[str] = set()

        def wanted(leaf: Leaf | LeafFault) -> bool:
            seen.add(leaf.id) if ids else None
            if isinstance(leaf, LeafFault):
                self.progress.fault(name, leaf)
            return isinstance(leaf, Leaf) and leaf.id not in target.kept

        with SnapshotReader(self.catalog.place, chain, self.catalog.cipher, ids=ids) as reader:
            # Validation functions judge what is written after them, and indexes are built once.
            designs = itertools.takewhile(is_design, reader.leaves(after=DESIGN))
            leaves = itertools.chain(itertools.filterfalse(is_design, reader.leaves()), designs)
            carry_leaves(
                name,
                filter(wanted, leaves),
                writer.write,
                lambda settled: self.progress.settled(name, settled.tally),
                limits=limits,
                at_once=self.config.in_flight,
                stopping=self.retrier.stopping,
            )
        for id in sorted(set(ids or ()) - seen):
            reason = f"the backup as of {manifest.finished} does not hold it"
            self.progress.fault(name, LeafFault(id, "", "not_found", reason))
        self.progress.flush(name)
        target.complete(result.notes)
        result.unconfirmed += self.client.doubts_of(target.database)
        counts = self.progress.report.collections[name].counts
        result.rejected = counts.rejected
        result.numbers = {
            "database": target.database,
            "as_of": manifest.finished,
            "leaves": counts.read,
            "written": counts.written,
            "unchanged": counts.unchanged,
            "rejected": counts.rejected,
        }
        self.progress.done(name)


class Target(Claim):
    """One target database, claimed for a restore.

    Args:
        client: its server.
        database: its name.
        chain: the snapshots that are restored, the full one first.
        retrier: tries again.
        options: what was asked.

    `kept` are design documents of the server's own, which the backup's would be in conflict with.
    """

    def __init__(
        self,
        client: CouchClient,
        database: str,
        chain: Sequence[Manifest],
        retrier: Retrier,
        options: RestoreOptions,
    ) -> None:
        self.manifest = chain[-1]
        self._options = options
        # What an older snapshot of the chain left is part of what this one comes to.
        older = {_job(each) for each in chain[:-1]}
        own = SERVERS_OWN.get(database, ())
        super().__init__(client, database, "restore", _job(self.manifest), retrier, own=own, takes_over=older)
        self.kept: set[str] = set()

    def refuse(self, _attempt: int = 1) -> None:
        """Refuse a database that must not be written to.

        Raises:
            ConfigError: it holds documents.
        """
        self.look()
        if not self._options.into_existing:
            self.refuse_occupied(ELSEWHERE)
        self.kept = {id for id in self.own if self.client.get_document(self.database, id) is not None}

    def prepare(self, notes: list[str]) -> bool:
        """Make the database, or what is left of making it; True when nothing of the backup can be in it."""
        wanted = self.manifest.facts
        mine = self.found.empty or self.resumed
        if self._options.security or (self._options.security is None and mine):
            check_security(wanted.security, _job(self.manifest))
        made = not self.found.exists
        fresh = self.take(
            lambda: self.client.create_database(self.database, **wanted.creation),
            ELSEWHERE,
            shared=self._options.into_existing,
        )
        found = self._call("look at", lambda _: read_facts(self.client, self.database))
        if made and wanted.partitioned and not found.partitioned:
            notes.append("the server knows no partitioned databases")
        shorter = (found.revs_limit or 0) < (wanted.revs_limit or 0)
        # A shorter limit would cut ancestry; what somebody else's database has beyond that stays.
        if wanted.revs_limit not in {None, found.revs_limit} and (self.ours or shorter):
            self._give(
                notes,
                "limit",
                lambda _: apply_revs_limit(self.client, self.database, wanted),
                "the server knows no limit of revisions",
                must=shorter or made,
            )
        return fresh

    def complete(self, notes: list[str]) -> None:
        """Let in whom the old database let in, now that everything is there.

        Raises:
            CheckpointError: the database was deleted or replaced meanwhile.
        """
        self.confirm()
        wanted = self._options.security
        facts = self.manifest.facts
        if wanted is True or (wanted is None and self.secures and not self.database.startswith(SYSTEM)):
            self._give(
                notes,
                "secure",
                lambda _: apply_security(self.client, self.database, facts),
                "the server knows no security objects",
                must=wanted is True or self.made,
            )
        elif facts.security and wanted is None:
            notes.append("the security object was left as it is; --restore-security gives the backup's")
        self.finish()

    def _give(self, notes: list[str], what: str, step: Callable[[int], bool], unknown: str, *, must: bool) -> None:
        """Give the database a setting; one that was there is restored by whoever may only write documents, too."""
        try:
            if not self._call(what, step):
                notes.append(unknown)
        except (Forbidden, Unauthorized) as error:
            if must:
                raise
            notes.append(f"not set, as this user is not an admin of the database: {error.message}")


def _job(manifest: Manifest) -> str:
    return f"{manifest.database} {manifest.snapshot}"
