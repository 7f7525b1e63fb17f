"""Which databases and snapshots a place holds, and how one snapshot stands on another."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from migrator.backup.format.cipher import PLAIN, Cipher, open_cipher
from migrator.backup.format.heads import head_name, read_head, write_head
from migrator.backup.format.manifest import (
    COPY,
    FILE,
    Manifest,
    damaged,
    is_snapshot_id,
    load_manifest,
    snapshot_time,
)
from migrator.backup.storage.base import Place, open_place
from migrator.errors import ConfigError, DamagedBackup
from migrator.naming import collection_name, file_name, selected, shown

ROOT = "databases"
HINT = "See what there is: migrator backups list --from PLACE"


def database_folder(database: str) -> str:
    """Where the snapshots of a database are."""
    return f"{ROOT}/{file_name(database)}"


def snapshot_folder(database: str, snapshot: str) -> str:
    """Where the files of a snapshot are."""
    return f"{database_folder(database)}/{snapshot}"


class Survey(NamedTuple):
    """The snapshots of a database: those that can be read, oldest first, and what is wrong with others, by id.

    `repaired` ones are among both: their manifest is damaged or gone, and its copy serves.
    """

    manifests: list[Manifest]
    damaged: dict[str, str]
    repaired: dict[str, str]


@dataclass(frozen=True)
class Catalog:
    """The snapshots of a place. Nothing is remembered: each question is answered by what is there.

    Args:
        place: the place.
        cipher: opens what manifests seal; not needed to list.
    """

    place: Place
    cipher: Cipher = PLAIN

    def databases(self, *, unfinished: bool = False) -> list[str]:
        """The databases that have a snapshot, sorted; with `unfinished` those too that have none finished."""
        return [
            name
            for name in sorted(map(collection_name, self.place.folders(ROOT)))
            if unfinished or self.head(name) or any(self.has(name, each) for each in self.folders(name))
        ]

    def folders(self, database: str) -> list[str]:
        """The ids of all snapshots of a database whose folders are there, oldest first, unfinished ones too."""
        return [name for name in self.place.folders(database_folder(database)) if is_snapshot_id(name)]

    def head(self, database: str) -> dict[str, str]:
        """What was noted of finished snapshots: the digest of each one's manifest by its id.

        Empty where there is no list, or none that can be read, which is for a check to say.
        """
        with contextlib.suppress(DamagedBackup):
            return read_head(self.place, database) or {}
        return {}

    def ids(self, database: str) -> list[str]:
        """The ids of all snapshots, oldest first: those whose folders are there, and those that should be."""
        return sorted({*self.folders(database), *self.head(database)})

    def unfinished(self, database: str) -> list[str]:
        """The ids of those that were never finished, oldest first."""
        head = self.head(database)
        return [each for each in self.folders(database) if each not in head and not self.has(database, each)]

    def has(self, database: str, snapshot: str) -> bool:
        """True when a snapshot is finished."""
        folder = snapshot_folder(database, snapshot)
        return any(self.place.exists(f"{folder}/{name}") for name in (FILE, COPY))

    def chosen(self, patterns: Sequence[str] = (), *, unfinished: bool = False) -> list[str]:
        """As `databases`, those that patterns mean; an error where there is none."""
        if found := self.databases(unfinished=unfinished):
            return selected(found, patterns, self.place.describe())
        raise ConfigError(f"There are no backups in {self.place.describe()}.", hint="Check what --from names.")

    def read(self, database: str, snapshot: str, *, digest: str = "") -> Manifest | None:
        """The manifest of a snapshot, or its copy; None when the snapshot is not finished.

        Args:
            database: the database.
            snapshot: its id.
            digest: what is wanted; the copy serves where the manifest is another one than that.

        Raises:
            DamagedBackup: the manifest is damaged or gone, and so is its copy.
        """
        manifest = self._examined(database, snapshot)[0]
        if digest and manifest and manifest.digest != digest:
            with contextlib.suppress(DamagedBackup):
                copy = self._loaded(database, snapshot, COPY)
                return copy if copy and copy.digest == digest else manifest
        return manifest

    def _examined(
        self, database: str, snapshot: str, head: Mapping[str, str] | None = None
    ) -> tuple[Manifest | None, str]:
        """The manifest, and what is wrong with it where its copy serves; compared with the list that is given."""
        errors: list[DamagedBackup] = []
        for name in (FILE, COPY):
            try:
                manifest = self._loaded(database, snapshot, name)
            except DamagedBackup as error:
                errors.append(error)
                continue
            if manifest is None:
                if name == FILE:
                    errors.append(damaged(self._where(database, snapshot, FILE)))
                continue
            if head and head.get(snapshot, manifest.digest) != manifest.digest:
                errors.append(damaged(self._where(database, snapshot, name), "it is another one than was written"))
                continue
            return manifest, f"{errors[0].message} Its copy {COPY} is read." if errors else ""
        if not self.has(database, snapshot) and snapshot not in (self.head(database) if head is None else head):
            return None, ""
        raise errors[0]

    def _loaded(self, database: str, snapshot: str, name: str) -> Manifest | None:
        try:
            text = self.place.read(f"{snapshot_folder(database, snapshot)}/{name}")
        except FileNotFoundError:
            return None
        where = self._where(database, snapshot, name)
        return load_manifest(text, self.cipher, database=database, snapshot=snapshot, place=where)

    def _where(self, database: str, snapshot: str, name: str) -> str:
        return f"{self.place.describe()}/{snapshot_folder(database, snapshot)}/{name}"

    def survey(self, database: str) -> Survey:
        """All finished snapshots of a database, the damaged ones apart: these stand in no other's way."""
        found = Survey([], {}, {})
        head = self.head(database)
        for snapshot in sorted({*self.folders(database), *head}):
            try:
                manifest, problem = self._examined(database, snapshot, head)
            except DamagedBackup as error:
                # One that is being pruned meanwhile is not in the list any more.
                if self.has(database, snapshot) or snapshot in self.head(database):
                    found.damaged[snapshot] = error.message
                continue
            if manifest is not None:
                found.manifests.append(manifest)
            if problem:
                found.repaired[snapshot] = problem
        return found

    def problems(self, database: str, survey: Survey) -> dict[str, list[str]]:
        """What is wrong with manifests, their copies and the list of a database, by snapshot; "" for the list."""
        found = {id: [problem] for id, problem in (survey.damaged | survey.repaired).items()}
        copied = False
        for manifest in survey.manifests:
            id = manifest.snapshot
            try:
                copy = self._loaded(database, id, COPY)
            except DamagedBackup as error:
                found.setdefault(id, []).append(error.message)
                continue
            copied = copied or copy is not None
            if copy is not None and copy.digest != manifest.digest:
                why = f"it is not a copy of {FILE}"
                found.setdefault(id, []).append(damaged(self._where(database, id, COPY), why).message)
        try:
            if read_head(self.place, database) is None and copied:
                found[""] = [f"{self.place.describe()}/{head_name(database)} is missing."]
        except DamagedBackup as error:
            found[""] = [error.message]
        return found

    def snapshots(self, database: str) -> list[Manifest]:
        """The finished snapshots of a database that can be read, oldest first."""
        return self.survey(database).manifests

    def latest(self, database: str) -> Manifest | None:
        """The newest finished snapshot, or None.

        Raises:
            DamagedBackup: the manifest of the newest one is damaged or gone; names the newest that can be read.
        """
        for snapshot in reversed(self.ids(database)):
            try:
                manifest = self.read(database, snapshot)
            except DamagedBackup as error:
                older = [each for each in self.snapshots(database) if each.snapshot < snapshot]
                raise self._instead(error.message, older) from error
            if manifest:
                return manifest
        return None

    def at(self, database: str, time: datetime) -> Manifest:
        """The newest snapshot that was finished by a time.

        Raises:
            ConfigError: there is none.
            DamagedBackup: the manifest of the one that may be it is damaged or gone.
        """
        survey = self.survey(database)
        snapshots = survey.manifests
        fitting = [manifest for manifest in snapshots if manifest.finished_at <= time]
        newest = fitting[-1].snapshot if fitting else ""
        for snapshot, problem in sorted(survey.damaged.items(), reverse=True):
            # When it was finished nobody knows, but not before it began.
            if snapshot > newest and snapshot_time(snapshot) <= time:
                raise self._instead(problem, fitting)
        if fitting:
            return fitting[-1]
        what = f"There is no backup of {shown(database)} in {self.place.describe()}"
        if not snapshots:
            raise ConfigError(f"{what}.", hint=HINT)
        raise ConfigError(
            f"{what} from {time:%Y-%m-%dT%H:%M:%SZ} or before; the oldest is from {snapshots[0].finished}, "
            f"the newest from {snapshots[-1].finished}.",
            hint=f"Name a later time. {HINT}",
        )

    def _instead(self, message: str, others: Sequence[Manifest]) -> DamagedBackup:
        """What is wrong with a snapshot, with the one to ask for in its place."""
        hint = f"Restore the newest one before it with --at {others[-1].snapshot}" if others else HINT
        return DamagedBackup(message, hint=hint)

    def chain(self, manifest: Manifest, known: Mapping[str, Manifest] | None = None) -> list[Manifest]:
        """The snapshots that a snapshot stands on, from the full one to itself; what is `known` is not read again.

        Raises:
            DamagedBackup: one of them is missing, or is another than it was.
        """
        chain = [manifest]
        while (child := chain[-1]).parent is not None:
            parent = (known or {}).get(child.parent)
            parent = parent or self.read(child.database, child.parent, digest=child.parent_digest)
            where = self.place_of(child)
            if parent is None:
                raise DamagedBackup(
                    f"{where} adds to the snapshot {child.parent}, which is not there.",
                    hint="Restore an older one with --at TIME, and make a full backup: migrator backup --full",
                )
            if parent.digest != child.parent_digest:
                raise damaged(where, f"it adds to another {child.parent} than the one that is there")
            chain.append(parent)
        return chain[::-1]

    def place_of(self, manifest: Manifest) -> str:
        """Where a snapshot is, for people."""
        return f"{self.place.describe()}/{snapshot_folder(manifest.database, manifest.snapshot)}"


def open_catalog(place: str, identity: str = "", recipients: Sequence[str] = (), **how: Any) -> Catalog:
    """The snapshots of a place that a path or URL names, with the cipher that keys make; `how` is `open_place`'s.

    Raises:
        ConfigError: the place or a key cannot be.
        DamagedBackup: a stream was cut off or changed.
    """
    cipher = open_cipher(recipients, identity or None)
    return Catalog(open_place(place, **how), cipher)


def note_finished(place: Place, manifest: Manifest) -> None:
    """Note a snapshot that is finished in the database's list; the first time, all that are there with it."""
    try:
        noted = read_head(place, manifest.database)
    except DamagedBackup:
        noted = None
    if noted is None:
        noted = {each.snapshot: each.digest for each in Catalog(place).snapshots(manifest.database)}
    write_head(place, manifest.database, {**noted, manifest.snapshot: manifest.digest})


def forget(place: Place, database: str, snapshots: Collection[str] | None) -> None:
    """Take snapshots out of the database's list, or all where None is given, before they are removed."""
    noted = Catalog(place).head(database)
    left = {id: digest for id, digest in noted.items() if snapshots is not None and id not in snapshots}
    if left != noted:
        write_head(place, database, left)
