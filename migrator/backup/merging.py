"""Which snapshots may lie in one place: what a copy must not put beside, or in place of, what is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from migrator.backup.format.manifest import Manifest
from migrator.backup.storage.base import Place
from migrator.errors import ConfigError
from migrator.naming import shown

ELSEWHERE = "Copy it into another place."


def refuse_others(ours: Sequence[Manifest], others: Sequence[Manifest], source: Place, target: Place) -> None:
    """Refuse to mix the snapshots of two databases of one name: a restore as of a time could mean either.

    Args:
        ours: all snapshots of the database in the source.
        others: those that only the target has.
        source: where from.
        target: where to.

    Raises:
        ConfigError: they are of two databases.
    """
    kin = {mark for each in ours for mark in _marks(each)}
    for other in others:
        if kin.isdisjoint(_marks(other)):
            here = f"those of {source.describe()} from {ours[-1].source if ours else 'elsewhere'}"
            raise ConfigError(
                f"{target.describe()} holds snapshots of another {shown(other.database)}: {other.snapshot} was "
                f"read from {other.source}, and {here}.",
                hint=ELSEWHERE,
            )
    if _alternates([*others, *ours]) and not _alternates(ours) and not _alternates(others):
        raise ConfigError(
            f"{target.describe()} holds snapshots of another {shown(others[0].database)}: they were read from "
            f"{others[0].source}, and some lie between those of {source.describe()}, from a database that "
            "lives on.",
            hint=ELSEWHERE,
        )


def _marks(manifest: Manifest) -> set[str]:
    """What tells of two snapshots that they are of one database: the URL, or when the server says it was made."""
    return {manifest.source, manifest.facts.instance_start_time} - {"", "0"}


def _alternates(manifests: Iterable[Manifest]) -> bool:
    """True where snapshots of two databases that both lived on are mixed; one that was made again is another."""
    ordered = sorted(manifests, key=lambda each: each.snapshot)
    lives = [life for life, _ in groupby(ordered, key=lambda each: each.facts.instance_start_time)]
    return len(lives) != len(set(lives))


def refuse_changed(manifest: Manifest, found: Manifest, where: str, *, sealed: bool) -> None:
    """Refuse a snapshot that is there otherwise than it would be copied.

    Args:
        manifest: the source's.
        found: the target's, of the same id.
        where: the latter, for people.
        sealed: it would be encrypted again.

    Raises:
        ConfigError: it is.
    """
    origin = manifest.origin or manifest.digest
    if found.digest == manifest.digest and not sealed:
        return
    if found.origin == origin and found.digest != manifest.digest and sealed:
        return
    if (found.origin or found.digest) != origin:
        raise ConfigError(f"{where} is there already, with another content.", hint=ELSEWHERE)
    how = "encrypted again" if found.origin else "as it is in the source"
    hint = "Give the --recipient that it was copied with, or copy" if found.origin else "Copy"
    raise ConfigError(f"{where} is there already, {how}.", hint=f"{hint} into another place.")
