"""The manifest of a snapshot: what it is, and each of its files by name and digest. With it a backup exists."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from migrator.backup.format.cipher import Cipher, opens
from migrator.errors import ConfigError, DamagedBackup
from migrator.files.own_json import from_json
from migrator.model.revisions import DatabaseFacts

VERSION = 1
FILE = "manifest.json"
COPY = ".manifest-copy.json"
"""The same bytes once more, for when the first ones are damaged or gone."""
PROGRESS = "progress.json"
"""Of an unfinished snapshot: what is written durably."""
_SNAPSHOT = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{6}")
_STAMP = "%Y%m%dT%H%M%S"
_FILE_NAME = re.compile(r"(segment|index)-\d{6}\.ndjson\.zst(\.age)?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SUM = ',"sha256":"'

# What to do where something is damaged.
FIND_OUT = "Find out what else is: migrator backups check --from PLACE"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it is kept: name within the snapshot's folder, and digest and length of the stored bytes."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment: consecutive lines of a snapshot, and the index of the leaves whose lines stand in it.

    `documents` counts those whose first leaf stands here. `first_id` and `last_id` bound the ids of its lines;
    of an encrypted snapshot both are "" for whoever has no key.
    """

    name: str
    sha256: str
    size_bytes: int
    leaves: int
    documents: int
    first_id: str
    last_id: str
    index: StoredFile


@dataclass(frozen=True, slots=True)
class SnapshotCounts:
    """What a snapshot holds of its own, without what its parents hold. `attachment_bytes` are decoded ones."""

    documents: int = 0
    leaves: int = 0
    attachments: int = 0
    attachment_bytes: int = 0
    faults: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of one snapshot.

    Args:
        database: the database's name.
        snapshot: its id, which sorts by time.
        parent: the snapshot that it adds to; None where it is full.
        parent_digest: that one's `digest`, so that no other can take its place.
        source: where it was read, without credentials.
        started: when, in UTC.
        finished: when, in UTC.
        facts: the database's settings; without the security object for who has no key.
        since: the sequence from which changes were read; "" from the beginning.
        last_seq: the sequence that the next snapshot goes on from.
        encryption: "age", or "".
        segments: in the order of ids.
        counts: what it holds.
        origin: the digest of the manifest that this is a copy of, where it was encrypted again; else "".
        digest: of the manifest's own file; "" before it is written.
    """

    database: str
    snapshot: str
    parent: str | None
    parent_digest: str
    source: str
    started: str
    finished: str
    facts: DatabaseFacts
    since: str
    last_seq: str
    encryption: str = ""
    segments: tuple[Segment, ...] = ()
    counts: SnapshotCounts = field(default_factory=SnapshotCounts)
    version: int = VERSION
    origin: str = ""
    digest: str = field(default="", compare=False)

    @property
    def files(self) -> Iterator[Segment | StoredFile]:
        """All of its files in the order in which they are written, the manifest's not among them."""
        return (file for segment in self.segments for file in (segment, segment.index))

    def with_files(self, files: Iterable[StoredFile]) -> Manifest:
        """The same with other files in place of `files`, one for each, in their order."""
        left = iter(files)
        segments = [replace(each, **asdict(next(left)), index=next(left)) for each in self.segments]
        return replace(self, segments=tuple(segments))

    @property
    def size_bytes(self) -> int:
        """Sum of its files' stored lengths, the manifest's not counted."""
        return sum(file.size_bytes for file in self.files)

    @property
    def kind(self) -> str:
        """The word for people."""
        return "full" if self.parent is None else "incremental"

    @property
    def finished_at(self) -> datetime:
        """When it was complete."""
        return datetime.fromisoformat(self.finished)


def new_snapshot_id(after: str = "", *, now: datetime | None = None) -> str:
    """An id for a snapshot that begins now; it sorts after `after` even where the clock was put back."""
    moment = now or datetime.now(UTC)
    if after and stamp(moment) <= after:
        moment = snapshot_time(after) + timedelta(milliseconds=1)
    return f"{stamp(moment)}-{secrets.token_hex(3)}"


def now() -> str:
    """The time as manifests have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamp(moment: datetime) -> str:
    """A moment as ids of snapshots begin."""
    return f"{moment:{_STAMP}}.{moment.microsecond // 1000:03}Z"


def snapshot_time(snapshot: str) -> datetime:
    """When a snapshot began, by its id."""
    return datetime.strptime(f"{snapshot[:19]}000+0000", f"{_STAMP}.%f%z")


def is_snapshot_id(name: str) -> bool:
    """True for what can be a snapshot's folder."""
    return _SNAPSHOT.fullmatch(name) is not None


def dump_manifest(manifest: Manifest, cipher: Cipher, *, position: str | None = None) -> bytes:
    """The manifest's file. What tells of documents or users is sealed where the snapshot is.

    `position` makes it the file of an unfinished snapshot, which says up to which id all is written.
    """
    value = {"version": manifest.version} | asdict(manifest)
    for name in ("digest", *([] if manifest.origin else ["origin"])):
        del value[name]
    secret: dict[str, Any] = {} if position is None else {"position": position}
    if manifest.encryption:
        secret["security"] = value["facts"].pop("security")
        secret["bounds"] = [[each.pop("first_id"), each.pop("last_id")] for each in value["segments"]]
        value["sealed"] = cipher.seal(json.dumps(secret, separators=(",", ":")).encode()).hex()
    else:
        value |= secret
    return with_sum(value)


def load_manifest(text: bytes, cipher: Cipher, *, database: str, snapshot: str, place: str) -> Manifest:
    """Read a manifest's file.

    Args:
        text: its bytes.
        cipher: opens what is sealed in it; without a key that part stays empty.
        database: whose it must be.
        snapshot: whose it must be.
        place: the file's name, for people.

    Raises:
        DamagedBackup: it is not as it was written, or another's.
        ConfigError: it was written by a newer migrator.
    """
    value = without_sum(text, place)
    try:
        manifest = replace(_manifest(value, cipher, place), digest=hashlib.sha256(text).hexdigest())
        datetime.fromisoformat(manifest.finished)
    except (KeyError, TypeError, ValueError):
        raise damaged(place, "it is not a manifest") from None
    if (manifest.database, manifest.snapshot) != (database, snapshot):
        raise damaged(place, f"it is the manifest of {manifest.snapshot} of {manifest.database!r}")
    return manifest


def load_progress(text: bytes, cipher: Cipher, *, place: str) -> tuple[Manifest, str] | None:
    """An unfinished snapshot and its position; None when they cannot be read, for whatever reason."""
    try:
        value = without_sum(text, place)
        return _manifest(value, cipher, place), value["position"]
    except (DamagedBackup, ConfigError, KeyError, TypeError, ValueError):
        return None


def with_sum(value: Mapping[str, Any]) -> bytes:
    """A JSON object as a file whose last member is the SHA-256 of the object without it."""
    text = json.dumps(value, separators=(",", ":"))
    return f'{text[:-1]}{_SUM}{hashlib.sha256(text.encode()).hexdigest()}"}}\n'.encode()


def without_sum(text: bytes, place: str) -> dict[str, Any]:
    """Read such a file.

    Raises:
        DamagedBackup: it is not as it was written.
    """
    rest, _, tail = text.rpartition(_SUM.encode())
    body = rest + b"}"
    if tail != f'{hashlib.sha256(body).hexdigest()}"}}\n'.encode():
        raise damaged(place, "its checksum does not fit")
    value: dict[str, Any] = json.loads(body)
    return value


def damaged(place: str, why: str = "") -> DamagedBackup:
    """Say that a file is damaged; that it is missing where nothing else is wrong with it."""
    what = f"{place} is damaged: {why}." if why else f"{place} is missing."
    return DamagedBackup(what, hint=FIND_OUT)


def _manifest(value: dict[str, Any], cipher: Cipher, place: str) -> Manifest:
    version = value["version"]
    if version > VERSION:
        raise ConfigError(
            f"{place} was written by a newer migrator (format {version}; this one knows {VERSION}).",
            hint="Use that version.",
        )
    if "sealed" in value:
        secret: dict[str, Any] = {"security": {}, "bounds": [["", ""]] * len(value["segments"])}
        if opens(cipher, value["encryption"]):
            secret = json.loads(cipher.unseal(bytes.fromhex(value["sealed"]), place))
            value |= {name: secret[name] for name in ("position",) if name in secret}
        value["facts"]["security"] = secret["security"]
        for segment, (first_id, last_id) in zip(value["segments"], secret["bounds"], strict=True):
            segment.update(first_id=first_id, last_id=last_id)
    manifest = from_json(Manifest, value, defaults=True)
    for file in manifest.files:
        # So every name stays in the snapshot's folder.
        if not _FILE_NAME.fullmatch(file.name) or not _DIGEST.fullmatch(file.sha256) or file.size_bytes < 0:
            raise ValueError
    parent = manifest.parent
    if not is_snapshot_id(manifest.snapshot) or (parent and not is_snapshot_id(parent)):
        raise ValueError
    # So every chain has an end.
    if parent is not None and parent >= manifest.snapshot:
        raise ValueError
    return manifest
