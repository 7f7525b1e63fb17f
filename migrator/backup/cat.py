"""Which leaves of a stored document are meant: the winner, those in conflict too, or any revision that is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from migrator.backup.catalog import Catalog
from migrator.backup.contents import Contents, leaf_of_rev, look_back
from migrator.backup.format.manifest import Manifest
from migrator.backup.history import History
from migrator.backup.listing import snapshot_at
from migrator.backup.options import CatOptions
from migrator.errors import ConfigError
from migrator.model.revisions import Leaf
from migrator.naming import did_you_mean, shown


@contextlib.contextmanager
def chosen_leaves(catalog: Catalog, database: str, id: str, at: str, options: CatOptions) -> Iterator[list[Leaf]]:
    """The leaves of a document that are asked for, whose attachments can be read in this block.

    Args:
        catalog: the place, with the key of what is encrypted.
        database: the database.
        id: the document.
        at: a time or a snapshot's id; "" for the newest one, or with a revision for the newest that keeps it.
        options: which leaves.

    Raises:
        ConfigError: there is no such document or revision; it says which there are.
        DamagedBackup: what has to be read is damaged.
    """
    newest = snapshot_at(catalog, database, at)
    manifest = newest
    if options.rev and not at:
        manifest = _snapshot_of(catalog, newest, id, options.rev)
    with Contents(catalog, manifest) as contents:
        document = contents.document(id)
        if document is None:
            raise contents.missing(id)
        if options.rev:
            leaf = leaf_of_rev(document, options.rev)
            if leaf is None:
                raise _no_revision(manifest, id, options.rev, [each.rev for each in document.leaves])
            yield [leaf]
            return
        live = [leaf for leaf in document.leaves if not leaf.deleted]
        if not live:
            what = f"{shown(id)} was deleted in the backup of {shown(database)} as of {manifest.finished}"
            if document.winner is None:
                what = f"{shown(id)} could not be read when the backup of {manifest.finished} was made"
                raise ConfigError(f"{what}.", hint=look_back(database, id))
            raise ConfigError(
                f"{what}, at {document.winner.rev}.",
                hint=f"Print that revision with --rev {document.winner.rev}. {look_back(database, id)}",
            )
        yield live if options.conflicts else live[:1]


def _snapshot_of(catalog: Catalog, newest: Manifest, id: str, rev: str) -> Manifest:
    """The newest snapshot that keeps a revision."""
    with Contents(catalog, newest) as contents:
        document = contents.document(id)
    if document and leaf_of_rev(document, rev):
        return newest
    history = History(catalog, newest.database, id)
    kept: dict[str, str] = {}
    for version in history.versions():
        kept |= dict.fromkeys(version.leaves, version.snapshot)
    if rev in kept:
        return history.manifest(kept[rev])
    if not kept:
        with Contents(catalog, newest) as contents:
            raise contents.missing(id)
    raise _no_revision(newest, id, rev, list(kept))


def _no_revision(manifest: Manifest, id: str, rev: str, kept: list[str]) -> ConfigError:
    there = ", ".join(kept[-20:][::-1]) or "none"
    return ConfigError(
        f"The revision {shown(rev)} of {shown(id)} is not kept.",
        hint=f"{did_you_mean(rev, kept)} Kept are: {there}. {look_back(manifest.database, id)}".strip(),
    )
