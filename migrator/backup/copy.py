"""Copies snapshots to another place: each file is compared with its digest as it is read and after it was written.

A snapshot is there when all of its files are, as when it was made, so that a copy can be stopped anywhere and goes
on with what is missing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrator.backup.catalog import Catalog, open_catalog, snapshot_folder
from migrator.backup.check import Problem
from migrator.backup.format.cipher import Cipher, fitting, open_cipher
from migrator.backup.format.manifest import COPY, FIND_OUT, PROGRESS, Manifest
from migrator.backup.format.snapshot_writer import publish
from migrator.backup.listing import chains, snapshot_at
from migrator.backup.merging import refuse_changed, refuse_others
from migrator.backup.options import CopyOptions
from migrator.backup.storage.base import LocalPlace, Place, open_place
from migrator.backup.transfer import Transfer, text_of
from migrator.errors import EXIT_DIFFERENCES, EXIT_OK, ConfigError, DamagedBackup
from migrator.naming import counted, printable
from migrator.report.result import Result
from migrator.report.summary import table

COUNTS = ("snapshots", "snapshots_there", "files", "files_there", "size_bytes", "size_bytes_there")


@dataclass(frozen=True, repr=False)
class CopyResult(Result):
    """What was copied.

    Args:
        source: where from.
        target: where to.
        databases: of each what was copied and what was there already: snapshots, files and their bytes.
        problems: what could not be copied, and why.
        seconds: how long it took.
    """

    source: str
    target: str
    databases: dict[str, Counter[str]]
    problems: list[Problem]
    seconds: float

    @property
    def exit_code(self) -> int:
        """4 where something could not be copied as it was written."""
        return EXIT_DIFFERENCES if self.problems else EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """The line of JSON that the command prints."""
        totals = sum(self.databases.values(), Counter[str]())
        return {
            "schema": 1,
            "command": "backups copy",
            "ok": self.ok,
            "from": self.source,
            "to": self.target,
            "databases": {name: {each: found[each] for each in COUNTS} for name, found in self.databases.items()},
            "totals": {each: totals[each] for each in COUNTS},
            "problems": [problem._asdict() for problem in self.problems],
            "seconds": round(self.seconds, 3),
        }

    def as_text(self) -> str:
        """The same for people."""
        rows: list[Sequence[str]] = [("database", *(name.replace("_", " ") for name in COUNTS))]
        rows += [
            (printable(name), *(f"{found[each]:,}" for each in COUNTS)) for name, found in self.databases.items()
        ]
        lines = [table(rows, left=1)]
        lines += [f"NOT COPIED {printable(each.database)} {each.snapshot}: {each.what}" for each in self.problems]
        lines.append(
            f"{counted(len(self.databases), 'database')} in {self.seconds:.1f} s, "
            f"from {self.source} to {self.target}"
        )
        return "".join(f"{line}\n" for line in lines)


def run_copy(
    options: CopyOptions,
    *,
    tell: Callable[[str], None] = lambda _: None,
    stopping: threading.Event | None = None,
) -> CopyResult:
    """Copy the finished snapshots of a place that another place does not have.

    Args:
        options: both places, and which snapshots.
        tell: receives a line for people now and then.
        stopping: set it to stop after the file that is being copied.

    Raises:
        ConfigError: something that is asked cannot be; nothing was written.
        DamagedBackup: a stream was cut off or changed; or what was to be sent through one is damaged.
        EndpointError: a place cannot be read or written.
        LockedError: another run writes to the target.
        Interrupted: asked to stop; the same command goes on.
    """
    started = time.monotonic()
    cipher = open_cipher(options.recipients) if options.recipients else None
    # As they are, bytes need no key, and a wrong one is in nobody's way.
    identity = options.identity if cipher else ""
    source = open_catalog(options.source, identity, stopping=stopping)
    target = Catalog(open_place(options.target, output=True))
    _refuse_same(source.place, target.place)
    names = source.chosen(options.databases)
    with target.place.lock():
        stopping = stopping or threading.Event()
        copies = [
            _Copy(source, target, name, options, cipher, Transfer(source, target.place, tell, stopping))
            for name in names
        ]
        for each in copies:
            each.plan(named=bool(options.databases))
        missing = [each.missing for each in copies if each.missing]
        if len(missing) == len(copies):
            raise missing[0]
        for each in copies:
            each.carry()
        target.place.finish()
    problems = [problem for each in copies for problem in each.problems]
    counts = {each.database: each.counts for each in copies}
    return CopyResult(
        source.place.describe(), target.place.describe(), counts, problems, time.monotonic() - started
    )


def _refuse_same(source: Place, target: Place) -> None:
    same = source.describe() == target.describe() and not target.streamed
    if isinstance(source, LocalPlace) and isinstance(target, LocalPlace):
        with contextlib.suppress(OSError):
            same = same or Path(source.describe()).samefile(target.describe())
    if same:
        raise ConfigError(f"{target.describe()} is the source too.", hint="Name another place to copy to.")


@dataclass(eq=False)
class _Copy:
    """One database.

    Args:
        source: where from.
        target: where to.
        database: its name.
        options: what was asked.
        cipher: encrypts the copy again; None to copy the bytes as they are.
        transfer: carries its files.
    """

    source: Catalog
    target: Catalog
    database: str
    options: CopyOptions
    cipher: Cipher | None
    transfer: Transfer
    wanted: list[Manifest] = field(default_factory=list)
    missing: ConfigError | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        """What was copied, and what was there."""
        return self.transfer.counts

    def plan(self, *, named: bool) -> None:
        """Find out what is to be copied, and refuse what must not be, before anything is written.

        Args:
            named: the database was named, so that it must have what is asked for.

        Raises:
            ConfigError: the target has something else; or what is asked for is not there.
        """
        survey = self.source.survey(self.database)
        if at := self.options.at:
            with self._noted(""):
                try:
                    self.wanted = self.source.chain(snapshot_at(self.source, self.database, at))
                except ConfigError as error:
                    # Of all databases some are younger than that time; one that was named must be there.
                    if named:
                        raise
                    self.missing = error
        else:
            for manifest, _, broken in chains(survey):
                survey.damaged.update({manifest.snapshot: broken} if broken else {})
                self.wanted += [] if broken else [manifest]
            for snapshot, problem in sorted(survey.damaged.items()):
                with self._noted(snapshot):
                    raise DamagedBackup(problem, hint=FIND_OUT)
        self._there = {each.snapshot: each for each in self.target.survey(self.database).manifests}
        self._head = self.target.head(self.database)
        known = {*survey.damaged, *(each.snapshot for each in survey.manifests)}
        others = [each for each in self._there.values() if each.snapshot not in known]
        refuse_others(survey.manifests, others, self.source.place, self.target.place)
        for each in self.wanted:
            if found := self._there.get(each.snapshot):
                refuse_changed(each, found, self.target.place_of(found), sealed=self.cipher is not None)
            if self.cipher:
                fitting(self.source.cipher, each.encryption, self.source.place_of(each))

    def carry(self) -> None:
        """Copy what is missing, the oldest first.

        Raises:
            EndpointError: a place cannot be read or written.
            Interrupted: asked to stop.
        """
        for manifest in self.wanted:
            with self._noted(manifest.snapshot):
                self._carry(manifest)

    def _carry(self, manifest: Manifest) -> None:
        folder = snapshot_folder(self.database, manifest.snapshot)
        found = self._there.get(manifest.snapshot)
        names = self.target.place.names(f"{folder}/") if found else []
        if found and {f"{folder}/{file.name}" for file in found.files}.issubset(names):
            # It was finished after its files were compared; what became of them since is for a check to say.
            sizes = [file.size_bytes for file in found.files]
            self.counts.update(snapshots_there=1, files_there=len(sizes), size_bytes_there=sum(sizes))
            noted = self._head.get(found.snapshot) == found.digest
            if not noted or f"{folder}/{PROGRESS}" in names or not self.target.place.exists(f"{folder}/{COPY}"):
                # The run that finished it was stopped in that very moment.
                publish(self.target.place, found, text_of(self.target, found))
            return
        parent = self._there.get(manifest.parent or "")
        if manifest.parent and parent is None:
            problem = f"The snapshot {manifest.parent} that it adds to was not copied."
            raise DamagedBackup(problem, hint=FIND_OUT)
        if self.cipher:
            copy, text = self.transfer.sealed(manifest, parent, self.cipher, self.options.recipients)
        else:
            copy, text = manifest, self.transfer.as_it_is(manifest)
        publish(self.target.place, copy, text)
        self._there[copy.snapshot] = copy
        self.counts["snapshots"] += 1

    @contextlib.contextmanager
    def _noted(self, snapshot: str) -> Iterator[None]:
        """Note what is damaged and go on with the others; through a pipe go all or none."""
        try:
            yield
        except DamagedBackup as error:
            if self.target.place.streamed:
                raise
            if snapshot and snapshot not in self.source.ids(self.database):
                self.transfer.tell(f"{printable(self.database)} {snapshot} was removed meanwhile")
                self.target.place.remove_folder(snapshot_folder(self.database, snapshot))
                return
            self.problems.append(Problem(self.database, snapshot, error.message))
