"""Takes backups: of each database a snapshot, full or of what changed, that exists only when it is whole."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, Unpack

from migrator.backup.catalog import Catalog, open_catalog, snapshot_folder
from migrator.backup.format.manifest import Manifest
from migrator.backup.format.segments import FRAME_BYTES
from migrator.backup.format.snapshot_reader import ChainIndex
from migrator.backup.format.snapshot_writer import SnapshotSizes, SnapshotWriter
from migrator.backup.options import BackupOptions
from migrator.backup.result import DatabaseResult, Progress, RevisionsResult, attempted
from migrator.config import JobConfig
from migrator.couch.changes import BEGINNING, takes_since
from migrator.couch.client import CouchClient
from migrator.couch.documents import Fidelity, fidelity_of, proving
from migrator.couch.endpoint import database_url
from migrator.couch.leaves import Held, Known, LeafReader, listed_leaves
from migrator.couch.settings import read_facts
from migrator.errors import ConfigError, DamagedBackup, Interrupted, TransientError, UnreadableLeaf
from migrator.jobs.open import Around, surroundings
from migrator.jobs.registry import open_client
from migrator.model import EncodedDocument
from migrator.model.revisions import DatabaseFacts, Leaf, LeafFault
from migrator.naming import counted, selected
from migrator.retry.retrier import FIRST_CONTACT, Retrier, RetryPolicy

# So many ids of documents whose revision is not that of their content are named.
MAX_IDS_NAMED = 20


def run_backup(config: JobConfig, options: BackupOptions, **around: Unpack[Around]) -> RevisionsResult:
    """Back up the databases of `config.source`, one after the other.

    A database that fails has no new snapshot and keeps the others from nothing; the result names its error.

    Raises:
        ConfigError: something that is asked cannot be.
        EndpointError: server or place are out of reach.
        LockedError: another run writes to the place.
        Interrupted: asked to stop; the same command goes on.
    """
    environ, listener, stopping = surroundings(around)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        client, named = open_client(config, "source", environ)
        stack.callback(client.close)
        catalog = open_catalog(options.place, options.identity, options.recipients, output=True)
        place = catalog.place
        if place.streamed and options.full_every != BackupOptions.full_every:
            raise ConfigError(
                "A backup through a pipe is always full: nothing is there that it could add to.",
                hint="Leave out --full-every, or name a folder with --to.",
            )
        first = Retrier(FIRST_CONTACT, listener, None, stopping)
        names, missing = _names(named, options, client, first)
        for result in missing if place.streamed else ():
            assert result.error
            raise result.error
        stack.enter_context(place.lock())
        files = {"rejects": config.rejects, "again": options.again}
        progress = Progress(
            "backup", listener, client.url, place.describe(), {name: name for name in names}, **files
        )
        stack.callback(progress.close)
        retrier = Retrier(RetryPolicy.of(config), listener, None, stopping)
        run = _Run(client, catalog, options, retrier, progress, proving(config.prove))
        results: list[DatabaseResult] = []
        for name in names:
            results.append(run.result_of(name, first))
            if place.streamed and (error := results[-1].error):
                if stopping is not None and stopping.is_set():
                    # Ctrl-C ends who reads the pipe as well.
                    raise Interrupted("Stopped.") from error
                results[-1].notes.append("the stream has no end, so nothing of it can be restored")
                break
        else:
            place.finish()
        results += missing
        return progress.finished(results, time.monotonic() - started)


def _names(
    named: str | None, options: BackupOptions, client: CouchClient, first: Retrier
) -> tuple[list[str], list[DatabaseResult]]:
    """The databases, and of each pattern that means none a result that says so: it stops no other."""
    if named and options.databases:
        raise ConfigError(
            f"The source names one database, {named}, and so does --database.",
            hint="Leave one of the two out.",
        )
    if named:
        return [named], []
    known = sorted(first.call("reach the source", lambda _: client.databases()))
    names: set[str] = set()
    missing: list[DatabaseResult] = []
    if not options.databases:
        names.update(name for name in known if not name.startswith("_"))
    for pattern in options.databases:
        try:
            names.update(selected(known, [pattern], client.url))
        except ConfigError as error:
            missing.append(DatabaseResult(pattern, error=error))
    if names:
        return sorted(names), missing
    for result in missing:
        assert result.error
        raise result.error
    raise ConfigError(f"{client.url} has no databases to back up.", hint="Name one of its own: --database _users")


@dataclass
class _Proof:
    """What first revisions, which are computed from content, say of the leaves of one database."""

    fidelity: Fidelity
    proven: int = 0
    unlike: int = 0
    ids: list[str] = field(default_factory=list)

    def proves(self, leaf: Leaf) -> bool:
        """True when its revision proves what was read of it."""
        start, _, digest = leaf.rev.partition("-")
        if start != "1" or leaf.attachments:
            return False
        # Without these the text is that of a plain document, which is read quickly.
        revisions = f',"_rev":"{leaf.rev}","_revisions":{{"start":1,"ids":["{digest}"]}}'
        document = EncodedDocument(leaf.id, leaf.body.replace(revisions.encode(), b"", 1))
        expected = self.fidelity.expected(document)
        self.proven += expected == leaf.rev
        if expected not in {None, leaf.rev}:
            self.unlike += 1
            if len(self.ids) < MAX_IDS_NAMED:
                self.ids.append(leaf.id)
        return expected == leaf.rev

    @property
    def numbers(self) -> dict[str, Any]:
        """For the line of JSON."""
        if not self.fidelity.computes_revisions:
            return {}
        unlike = {"unlike": {"documents": self.unlike, "ids": self.ids}} if self.unlike else {}
        return {"proven": self.proven, **unlike}


@dataclass
class _Run:
    client: CouchClient
    catalog: Catalog
    options: BackupOptions
    retrier: Retrier
    progress: Progress
    prove: bool

    def __post_init__(self) -> None:
        self.place, self.cipher = self.catalog.place, self.catalog.cipher

    def result_of(self, name: str, first: Retrier) -> DatabaseResult:
        """Back up one database, whatever comes of it."""
        result = DatabaseResult(name)

        def step() -> None:
            # After an outage nobody waits for the same server again and again.
            welcome = first.call("reach the source", lambda _: self.client.welcome())
            self.proof = _Proof(fidelity_of(welcome, name) if self.prove else Fidelity(computes_revisions=False))
            self._back_up(name, result)

        return attempted(result, step)

    def _back_up(self, name: str, result: DatabaseResult) -> None:
        facts = self.retrier.call(f"look at {name}", lambda _: read_facts(self.client, name))
        chain, why = self._base(name, facts)
        if why:
            result.notes.append(why)
        parent = chain[-1] if chain else None
        if parent and parent.encryption and not self.cipher.name:
            result.notes.append("not encrypted, as no --recipient was given; the snapshot before it is")
        with contextlib.ExitStack() as stack:
            index = None
            if parent and (self.cipher.can_read or not any(each.encryption for each in chain)):
                index = stack.enter_context(ChainIndex(self.place, chain, self.cipher))
            since = parent.last_seq if parent else BEGINNING
            known = _known(index) if index else None
            reader = stack.enter_context(listed_leaves(self.client, name, self.retrier, since=since, known=known))
            options: dict[str, Any] = {
                "parent": parent,
                "facts": facts,
                "cipher": self.cipher,
                "sizes": SnapshotSizes(self.options.segment_bytes, min(FRAME_BYTES, self.options.segment_bytes)),
            }
            writer = SnapshotWriter.resume(self.place, name, **options)
            resumed = writer is not None
            if writer is None:
                writer = SnapshotWriter.begin(
                    self.place, name, source=reader.describe(), last_seq=reader.last_seq, **options
                )
            begun = writer.manifest.counts
            self.progress.started(name, reader.listed, resumed=resumed, settled=begun.documents + begun.faults)
            result.unconfirmed += self.client.doubts_of(name)
            # Nothing changed, and nothing is owed: then nobody need read what is there.
            if reader.listed or any(each.counts.faults for each in chain):
                self._copy(reader, writer, name)
            result.snapshot = writer.finish()
        # What killed runs left behind and nobody goes on with. The place's lock keeps other runs away.
        for unfinished in self.catalog.unfinished(name):
            self.place.remove_folder(snapshot_folder(name, unfinished))
        counts = result.snapshot.counts
        sizes = {"stored_bytes": result.snapshot.size_bytes, "resumed": resumed}
        result.numbers = {**asdict(counts), **sizes, **self.proof.numbers}
        result.rejected = counts.faults
        self.progress.done(name)

    def _copy(self, reader: LeafReader, writer: SnapshotWriter, name: str) -> None:
        try:
            for leaf in reader.leaves(after=writer.position):
                if isinstance(leaf, LeafFault):
                    self._fault(writer, name, leaf)
                else:
                    self._add(reader, writer, name, leaf)
        except Interrupted:
            if not self.place.streamed:
                # What has come so far need not come again.
                writer.save()
            raise
        finally:
            self.progress.flush(name)

    def _add(self, reader: LeafReader, writer: SnapshotWriter, name: str, leaf: Leaf) -> None:
        for attempt in (1, 2):
            try:
                writer.add(leaf)
            except UnreadableLeaf as error:
                # It may have been replaced since it was read; then its child is what there is.
                now = reader.fetch(leaf.id, [leaf.rev]) if attempt == 1 else []
                grown = next((each for each in now if isinstance(each, Leaf) and each.rev != leaf.rev), None)
                if grown is None:
                    self._fault(writer, name, LeafFault(leaf.id, leaf.rev, error.error, error.message))
                    return
                leaf = grown
            except TransientError as error:
                if error.signature != "attachment_cut_off":
                    raise
                self._fault(writer, name, LeafFault(leaf.id, leaf.rev, "wrong_length", error.message))
                return
            else:
                self.progress.copied(name, leaf, proven=self.proof.proves(leaf))
                return

    def _fault(self, writer: SnapshotWriter, name: str, fault: LeafFault) -> None:
        writer.fault(fault)
        self.progress.fault(name, fault)

    def _base(self, name: str, facts: DatabaseFacts) -> tuple[list[Manifest], str]:
        """The chain to add to, or why a new one begins."""
        if self.options.full:
            return [], "full: asked for"
        try:
            latest = self.catalog.latest(name)
            chain = self.catalog.chain(latest) if latest else []
        except DamagedBackup as error:
            return [], f"full: {error.message}"
        if latest is None:
            return [], ""
        if len(chain) >= self.options.full_every:
            return [], f"full: the chain had {counted(len(chain), 'snapshot')}"
        source = database_url(self.client.endpoint, name)
        if latest.source != source:
            return [], f"full: the chain was read from {latest.source}"
        if latest.facts.instance_start_time != facts.instance_start_time:
            return [], "full: the database was deleted and created again"
        if not self.retrier.call(f"look at {name}", lambda _: takes_since(self.client, name, latest.last_seq)):
            return [], "full: the server does not know how far the chain had come"
        return chain, ""


def _known(index: ChainIndex) -> Known:
    """What a chain holds, as the reader of a live database asks for it."""

    def held(after: str | None) -> Iterator[Held]:
        for id, entries in groupby(index.entries(after=after), key=lambda entry: entry.id):
            found = list(entries)
            yield Held(
                id,
                tuple(entry.rev for entry in found if not entry.fault),
                tuple(entry.rev for entry in found if entry.fault),
            )

    return held
