"""The list of a database's finished snapshots, in a file apart from them, so that one that is gone is missed."""

from __future__ import annotations

from collections.abc import Mapping

from migrator.backup.format.manifest import VERSION, damaged, is_snapshot_id, with_sum, without_sum
from migrator.backup.storage.base import Place
from migrator.naming import file_name

FOLDER = ".snapshots"


def head_name(database: str) -> str:
    """The list's name in the place."""
    return f"{FOLDER}/{file_name(database)}.json"


def read_head(place: Place, database: str) -> dict[str, str] | None:
    """The digest of each snapshot's manifest by its id; None where a place has no such list.

    Args:
        place: where backups are.
        database: whose.

    Raises:
        DamagedBackup: it is not as it was written.
    """
    name = head_name(database)
    try:
        text = place.read(name)
    except FileNotFoundError:
        return None
    where = f"{place.describe()}/{name}"
    snapshots = without_sum(text, where).get("snapshots")
    if not isinstance(snapshots, dict) or not all(map(is_snapshot_id, snapshots)):
        raise damaged(where, "it is not a list of snapshots")
    return {id: str(digest) for id, digest in snapshots.items()}


def write_head(place: Place, database: str, snapshots: Mapping[str, str]) -> None:
    """Replace the list; without any snapshot there is none.

    Raises:
        EndpointError: it cannot be written.
    """
    if snapshots:
        ordered = {id: snapshots[id] for id in sorted(snapshots)}
        place.write(head_name(database), with_sum({"version": VERSION, "snapshots": ordered}))
    else:
        place.remove(head_name(database))
