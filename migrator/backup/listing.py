"""The backups of a place as people ask for them and are told of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from migrator.backup.catalog import HINT, Catalog, Survey
from migrator.backup.format.manifest import Manifest, is_snapshot_id
from migrator.errors import ConfigError, DamagedBackup
from migrator.naming import shown

FORMS = (
    "2026-11-25T03:00:00Z, 2026-11-25T03:00+01:00, 2026-11-25 03:00 (local time), 2026-11-25 (its end), or an id"
)


class Listed(NamedTuple):
    """One snapshot. `chain` counts the snapshots that a restore reads; 0 where one is missing or damaged."""

    database: str
    snapshot: str
    kind: str
    finished: str
    documents: int
    leaves: int
    size_bytes: int
    chain: int
    problem: str


def listing(catalog: Catalog, databases: Sequence[str]) -> list[Listed]:
    """All finished snapshots of some databases, oldest first; a damaged one is listed as such."""
    return [row for database in databases for row in listed(database, catalog.survey(database))]


def listed(database: str, survey: Survey) -> list[Listed]:
    """All finished snapshots of a database, oldest first."""
    found = [Listed(database, id, "damaged", "", 0, 0, 0, 0, what) for id, what in survey.damaged.items()]
    for manifest, chain, broken in chains(survey):
        found.append(
            Listed(
                database,
                manifest.snapshot,
                manifest.kind,
                manifest.finished,
                manifest.counts.documents,
                manifest.counts.leaves,
                manifest.size_bytes,
                chain,
                broken or survey.repaired.get(manifest.snapshot, ""),
            )
        )
    return sorted(found, key=lambda row: row.snapshot)


def chains(survey: Survey) -> Iterator[tuple[Manifest, int, str]]:
    """Each manifest with how many snapshots a restore of it reads; or 0, and why it cannot be restored."""
    known: dict[str | None, tuple[str, int]] = {None: ("", 0)}
    for manifest in survey.manifests:
        digest, before = known.get(manifest.parent, ("", 0))
        broken = ""
        if manifest.parent is not None and not before:
            broken = f"the snapshot {manifest.parent} that it adds to cannot be read"
        elif digest != manifest.parent_digest:
            broken = f"it adds to another {manifest.parent} than the one that is there"
        known[manifest.snapshot] = manifest.digest, 0 if broken else before + 1
        yield manifest, known[manifest.snapshot][1], broken


def parse_moment(text: str, flag: str = "--at") -> datetime:
    """A time with its zone. Without one it is local; a date alone means its last moment.

    Raises:
        ConfigError: it is not a time.
    """
    try:
        if len(text.strip()) <= len("2026-11-25"):
            day = date.fromisoformat(text.strip()) + timedelta(days=1)
            # Python knows the zone of a local time only from the time itself.
            return datetime(day.year, day.month, day.day).astimezone(UTC) - timedelta(milliseconds=1)
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"{flag} {shown(text)} is not a time.", hint=f"Write {FORMS}.") from None


def snapshot_at(catalog: Catalog, database: str, text: str, flag: str = "--at") -> Manifest:
    """The snapshot of a database that a time or an id means; the newest one without.

    Raises:
        ConfigError: there is none; names those that are nearest.
        DamagedBackup: its manifest is damaged or gone.
    """
    if not text:
        # By its id, not by the clock, which may have been wrong when it was made, or be so now.
        return catalog.latest(database) or catalog.at(database, datetime.max.replace(tzinfo=UTC))
    if is_snapshot_id(text):
        manifest = catalog.read(database, text)
        if manifest is None:
            raise ConfigError(f"There is no snapshot {text} of {shown(database)}.", hint=HINT)
        return manifest
    return catalog.at(database, parse_moment(text, flag))


@contextlib.contextmanager
def noted(broken: dict[str, DamagedBackup], database: str, *, alone: bool) -> Iterator[None]:
    """Note that a database is damaged, which is in no other's way; where it is `alone`, raise it."""
    try:
        yield
    except DamagedBackup as error:
        if alone:
            raise
        broken[database] = error


def snapshots_at(
    catalog: Catalog, patterns: Sequence[str], text: str, flag: str = "--at", *, unnamed: Sequence[str] = ()
) -> tuple[dict[str, Manifest], dict[str, DamagedBackup]]:
    """As `snapshot_at`, of some databases, and of which of them it is damaged: that is in no other's way.

    Args:
        catalog: the place.
        patterns: which databases.
        text: the time or id.
        flag: what it was given by, for the message.
        unnamed: patterns in place of none; without these, none means all.

    Raises:
        ConfigError: there is none of a database that was named, or of any.
        DamagedBackup: that of the only one is.
    """
    names = catalog.chosen(patterns or unnamed)
    found: dict[str, Manifest] = {}
    broken: dict[str, DamagedBackup] = {}
    missing: ConfigError | None = None
    for name in names:
        try:
            with noted(broken, name, alone=len(names) == 1):
                found[name] = snapshot_at(catalog, name, text, flag)
        except ConfigError as error:
            # Of all databases some are younger than that time; one that was named must be there.
            if patterns or len(names) == 1:
                raise
            missing = error
    if missing and not found and not broken:
        raise missing
    return found, broken
