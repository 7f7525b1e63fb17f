"""Which databases and snapshots a place holds, and how one snapshot stands on another."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from migrator.backup.cipher import PLAIN, Cipher
from migrator.backup.manifest import FILE, Manifest, damaged, is_snapshot_id, load_manifest
from migrator.backup.place import Place
from migrator.errors import ConfigError, DamagedBackup
from migrator.naming import collection_name, file_name, shown

ROOT = "databases"
HINT = "See what there is: migrator backups list --from PLACE"


def database_folder(database: str) -> str:
    """Where the snapshots of a database are."""
    return f"{ROOT}/{file_name(database)}"


def snapshot_folder(database: str, snapshot: str) -> str:
    """Where the files of a snapshot are."""
    return f"{database_folder(database)}/{snapshot}"


class Catalog:
    """The snapshots of a place. Nothing is remembered: each question is answered by what is there.

    Args:
        place: the place.
        cipher: opens what manifests seal; not needed to list.
    """

    def __init__(self, place: Place, cipher: Cipher = PLAIN) -> None:
        self._place = place
        self._cipher = cipher

    def databases(self, *, unfinished: bool = False) -> list[str]:
        """The databases that have a snapshot, sorted; with `unfinished` those too that have none finished."""
        names = sorted(collection_name(folder) for folder in self._place.folders(ROOT))
        return [name for name in names if unfinished or any(self.has(name, each) for each in self.folders(name))]

    def folders(self, database: str) -> list[str]:
        """The ids of all snapshots of a database, oldest first, unfinished ones too."""
        return [name for name in self._place.folders(database_folder(database)) if is_snapshot_id(name)]

    def has(self, database: str, snapshot: str) -> bool:
        """True when a snapshot is finished."""
        return self._place.exists(f"{snapshot_folder(database, snapshot)}/{FILE}")

    def read(self, database: str, snapshot: str) -> Manifest | None:
        """The manifest of a snapshot; None when it is not finished.

        Raises:
            DamagedBackup: the manifest is damaged.
        """
        name = f"{snapshot_folder(database, snapshot)}/{FILE}"
        try:
            text = self._place.read(name)
        except FileNotFoundError:
            return None
        place = f"{self._place.describe()}/{name}"
        return load_manifest(text, self._cipher, database=database, snapshot=snapshot, place=place)

    def snapshots(self, database: str) -> list[Manifest]:
        """The finished snapshots of a database, oldest first.

        Raises:
            DamagedBackup: a manifest is damaged.
        """
        found = (self.read(database, each) for each in self.folders(database))
        return [manifest for manifest in found if manifest is not None]

    def latest(self, database: str) -> Manifest | None:
        """The newest finished snapshot, or None."""
        for snapshot in reversed(self.folders(database)):
            if manifest := self.read(database, snapshot):
                return manifest
        return None

    def at(self, database: str, time: datetime) -> Manifest:
        """The newest snapshot that was finished by a time.

        Raises:
            ConfigError: there is none.
        """
        snapshots = self.snapshots(database)
        fitting = [manifest for manifest in snapshots if manifest.finished_at <= time]
        if fitting:
            return fitting[-1]
        what = f"There is no backup of {shown(database)} in {self._place.describe()}"
        if not snapshots:
            raise ConfigError(f"{what}.", hint=HINT)
        raise ConfigError(
            f"{what} from {time:%Y-%m-%dT%H:%M:%SZ} or before; the oldest is from {snapshots[0].finished}, "
            f"the newest from {snapshots[-1].finished}.",
            hint=f"Name a later time. {HINT}",
        )

    def chain(self, manifest: Manifest) -> list[Manifest]:
        """The snapshots that a snapshot stands on, from the full one to itself.

        Raises:
            DamagedBackup: one of them is missing, or is another than it was.
        """
        return chain_of(manifest, {}, self)

    def place_of(self, manifest: Manifest) -> str:
        """Where a snapshot is, for people."""
        return f"{self._place.describe()}/{snapshot_folder(manifest.database, manifest.snapshot)}"


def chain_of(manifest: Manifest, known: Mapping[str, Manifest], catalog: Catalog) -> list[Manifest]:
    """As `Catalog.chain`, reading only what is not known yet."""
    chain = [manifest]
    while (child := chain[-1]).parent is not None:
        parent = known.get(child.parent) or catalog.read(child.database, child.parent)
        where = catalog.place_of(child)
        if parent is None:
            raise DamagedBackup(
                f"{where} adds to the snapshot {child.parent}, which is not there.",
                hint="Restore an older one with --at TIME, and make a full backup: migrator backup --full",
            )
        if parent.digest != child.parent_digest:
            raise damaged(where, f"it adds to another {child.parent} than the one that is there")
        chain.append(parent)
    return chain[::-1]
