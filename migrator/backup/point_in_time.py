"""Reads the time that somebody wants a database back from."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from migrator.backup.catalog import HINT, Catalog
from migrator.backup.format.manifest import Manifest, is_snapshot_id
from migrator.errors import ConfigError
from migrator.naming import shown

FORMS = (
    "2026-11-25T03:00:00Z, 2026-11-25T03:00+01:00, 2026-11-25 03:00 (local time), 2026-11-25 (its end), or an id"
)


def parse_moment(text: str) -> datetime:
    """A time with its zone. Without one it is local; a date alone means its last moment.

    Raises:
        ConfigError: it is no time.
    """
    try:
        if len(text.strip()) <= len("2026-11-25"):
            day = date.fromisoformat(text.strip()) + timedelta(days=1)
            # Python knows the zone of a local time only from the time itself.
            return datetime(day.year, day.month, day.day).astimezone(UTC) - timedelta(milliseconds=1)
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"--at {shown(text)} is no time.", hint=f"Write {FORMS}.") from None


def snapshot_at(catalog: Catalog, database: str, text: str) -> Manifest:
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
    return catalog.at(database, parse_moment(text))
