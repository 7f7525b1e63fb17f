"""Proves that backups can be restored: into a scratch database, compared leaf by leaf, and removed again."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Unpack

from migrator.backup.catalog import open_catalog
from migrator.backup.format.manifest import Manifest
from migrator.backup.format.snapshot_reader import SnapshotReader
from migrator.backup.options import RestoreOptions
from migrator.backup.restore import run_restore
from migrator.config import JobConfig
from migrator.couch.documents import Proof, proofs, unlike
from migrator.couch.leaves import listed_leaves
from migrator.errors import ConfigError, EndpointError, MigratorError
from migrator.files.failures import temporary_folder
from migrator.files.sorting import side_by_side
from migrator.jobs.open import Around, surroundings
from migrator.jobs.registry import open_client
from migrator.model.revisions import Leaf, LeafFault
from migrator.naming import shown
from migrator.retry.retrier import Retrier, RetryPolicy

DEFAULT_REVS_LIMIT = 1_000
"""The server's own, of a database that nobody gave another one."""

MAX_DIFFERENCES = 20
"""More of one database tell nobody more."""


@dataclass(slots=True)
class Drill:
    """What came of one database: of how many leaves and attachments equality was shown, and what was not equal.

    `faults` could not be read when the backup was made, so nobody can restore them; `unconfirmed` says what could
    not be made sure of.
    """

    database: str
    snapshot: str
    leaves: int = 0
    attachments: int = 0
    faults: int = 0
    differences: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True when the restored database is what the backup holds."""
        return not self.differences


def drill(
    config: JobConfig,
    options: RestoreOptions,
    databases: Sequence[str],
    *,
    told: Callable[[Manifest], None] = lambda _: None,
    **around: Unpack[Around],
) -> Iterator[Drill]:
    """Restore the newest snapshot of each database into one that is made for it, compare, and remove it.

    Args:
        config: `target` is the server.
        options: the place and its key.
        databases: which.
        told: receives each snapshot before it is restored.
        around: as in `open_job`; the listener receives the restores.

    Raises:
        ConfigError: there is no key, or none that fits.
        EndpointError: the server or the place is out of reach.
    """
    environ, listener, stopping = surroundings(around)
    catalog = open_catalog(options.place, options.identity, stopping=stopping)
    retrier = Retrier(RetryPolicy.of(config), listener, None, stopping)
    patient = Retrier(retrier.policy, listener)
    with contextlib.closing(open_client(config, "target", environ)[0]) as client:
        for database in databases:
            # What is wrong with a newer one is the check's to say.
            manifests = catalog.snapshots(database)
            if not manifests:
                continue
            manifest = manifests[-1]
            told(manifest)
            scratch = scratch_name()
            result = Drill(database, manifest.snapshot)
            with contextlib.ExitStack() as stack:
                folder = stack.enter_context(temporary_folder("migrator-drill-"))
                # Whatever happens, also when the run was asked to stop.
                stack.callback(patient.call, f"remove {scratch}", lambda _, db=scratch: client.delete_database(db))
                asked = replace(
                    options,
                    databases=(database,),
                    at=manifest.snapshot,
                    map={database: scratch},
                    security=False,
                    start_replications=True,
                )
                rejects = f"{folder}/rejects.ndjson"
                restored = run_restore(
                    replace(config, rejects=rejects), asked, environ=environ, listener=listener, stopping=stopping
                )
                [outcome] = restored.databases
                if isinstance(outcome.error, ConfigError | EndpointError):
                    # A key that does not fit, or a server that went away, says nothing of the backup.
                    raise outcome.error
                if outcome.error is not None:
                    result.differences.append(f"it cannot be restored: {outcome.error.message}")
                else:
                    with (
                        SnapshotReader(catalog.place, catalog.chain(manifest), catalog.cipher) as backup,
                        listed_leaves(client, scratch, retrier) as there,
                    ):
                        limit = manifest.facts.revs_limit or DEFAULT_REVS_LIMIT
                        _compare(backup.leaves(), there.leaves(), result, limit)
                        result.unconfirmed += client.doubts_of(scratch)
            yield result


def scratch_name() -> str:
    """A name that no database has."""
    return f"migrator-drill-{secrets.token_hex(8)}"


def _compare(
    backup: Iterator[Leaf | LeafFault], there: Iterator[Leaf | LeafFault], result: Drill, revs_limit: int
) -> None:
    """Hold what is in the database against what is in the backup; both come in the order of ids."""

    def faulty(_: LeafFault) -> None:
        result.faults += 1

    try:
        for id, one, other in side_by_side(proofs(backup, faulty), proofs(there, _refuse)):
            if one is not None and other is not None:
                result.differences += _differences(id, one, other, revs_limit)
                result.leaves += len(one)
                result.attachments += sum(len(proof.attachments) for proof in one.values())
            elif one is None:
                result.differences.append(f"{shown(id)} is not in the backup")
            elif one:
                result.differences.append(f"{shown(id)} is missing")
            if len(result.differences) >= MAX_DIFFERENCES:
                break
    except MigratorError as error:
        result.differences.append(error.message)
    del result.differences[MAX_DIFFERENCES:]


def _differences(id: str, ours: dict[str, Proof], theirs: dict[str, Proof], revs_limit: int) -> Iterator[str]:
    for rev in sorted(ours.keys() ^ theirs.keys()):
        what = f"{shown(id)} {rev}"
        yield f"{what} is missing" if rev in ours else f"{what} is not in the backup"
    yield from unlike(id, ours, theirs, revs_limit=revs_limit)


def _refuse(fault: LeafFault) -> None:
    raise MigratorError(
        f"{shown(fault.id)} cannot be read back: {fault.reason}",
        hint="Look into the server's log; then try again: migrator backups check --drill --to URL",
    )
