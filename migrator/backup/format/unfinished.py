"""Snapshots that are not finished: what a killed run leaves, and which of them can be gone on with."""

from __future__ import annotations

from migrator.backup.catalog import Catalog, snapshot_folder
from migrator.backup.format.cipher import Cipher
from migrator.backup.format.manifest import Manifest, load_progress
from migrator.backup.storage.base import Place
from migrator.revisions import DatabaseFacts

PROGRESS = "progress.json"
"""Of an unfinished snapshot: what is written durably."""


def unfinished(
    place: Place, database: str, *, parent: Manifest | None, facts: DatabaseFacts, cipher: Cipher
) -> tuple[Manifest, str] | None:
    """The newest unfinished snapshot that a run would go on with, and up to which id it is durable.

    Args:
        place: where it is.
        database: whose.
        parent: the snapshot that the run adds to.
        facts: of the database as it is now; another one of the same name is another database.
        cipher: what the run writes with.
    """
    catalog = Catalog(place)
    for snapshot in reversed(catalog.unfinished(database)):
        name = f"{snapshot_folder(database, snapshot)}/{PROGRESS}"
        try:
            text = place.read(name)
        except FileNotFoundError:
            continue
        found = load_progress(text, cipher, place=name)
        if found is None:
            continue
        manifest, _ = found
        wanted = (parent.snapshot if parent else None, parent.digest if parent else "")
        if (
            (manifest.database, manifest.snapshot) == (database, snapshot)
            and (manifest.parent, manifest.parent_digest) == wanted
            and manifest.facts.instance_start_time == facts.instance_start_time
            and manifest.encryption == cipher.name
            and _is_there(place, manifest)
        ):
            return found
    return None


def _is_there(place: Place, manifest: Manifest) -> bool:
    """True when all files that are written are still there; `check` and every reader look into them."""
    names = set(place.names(f"{snapshot_folder(manifest.database, manifest.snapshot)}/"))
    folder = snapshot_folder(manifest.database, manifest.snapshot)
    files = (file for segment in manifest.segments for file in (segment.name, segment.index.name))
    return all(f"{folder}/{file}" in names for file in files)
