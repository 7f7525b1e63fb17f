"""What is asked of a backup and of a restore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from migrator.config.option import CHOICE, DATABASES, option, options_class, said

# A folder, or what fsspec opens.
PLACES = "a folder, or s3://bucket/path, gcs://…, abfs://…, sftp://host/path"
PATTERNS = f"{CHOICE} Databases whose names begin with _ are included only when named."
# The usual size of a file; with each that is full there is something to continue from.
SEGMENT_BYTES = 16_000_000
IDENTITY = "File with the secret key of encrypted backups, as age-keygen writes it."


def _databases() -> Any:
    return option((), PATTERNS, unit="NAME", flag=DATABASES, text="all others")


@options_class
class BackupOptions:
    """What `migrator backup` is asked, apart from the server.

    `segment_bytes` is the usual size of a file; `again` the command that repeats it, for who reads the rejects.
    """

    databases: tuple[str, ...] = _databases()
    place: str = field(
        metadata=said(
            f"Where backups are kept: {PLACES}; - writes a full backup to standard output.",
            unit="PLACE",
            flag="--to",
        )
    )
    full: bool = option(False, "Start a new chain with a full backup, whatever is there.")
    full_every: int = option(
        30, "Start a new chain with a full backup when the last one has N snapshots.", unit="N", at_least=1
    )
    recipients: tuple[str, ...] = option(
        (), "Encrypt to this public key, age1… or ssh-….", unit="KEY", flag="--recipient"
    )
    identity: str = option("", IDENTITY, unit="FILE")
    segment_bytes: int = SEGMENT_BYTES
    again: str = ""


@options_class
class RestoreOptions:
    """What `migrator restore` is asked, apart from the server.

    `again` is the command that repeats it, for who reads the rejects.
    """

    place: str = field(
        metadata=said(
            f"Where backups are: {PLACES}; - reads what backup --to - wrote.", unit="PLACE", flag="--from"
        )
    )
    at: str = option(
        "",
        "As of this time: 2026-11-25T03:00:00Z, 2026-11-25 03:00 (local), 2026-11-25 (the end of that day), "
        "or a snapshot's id.",
        unit="TIME",
        text="the newest",
    )
    databases: tuple[str, ...] = _databases()
    ids: tuple[str, ...] = option((), "Only this document.", unit="ID", flag="--id")
    map: Mapping[str, str] = option({}, "Restore a database under another name.", unit="OLD=NEW")
    into_existing: bool = option(
        False, "Also restore into databases that hold documents; none of these is removed."
    )
    security: bool | None = option(
        None,
        "Restore the security object of the backup, or of no database.",
        flag="--restore-security/--no-security",
        text="only of databases that restore creates",
    )
    start_replications: bool = option(False, "Restore _replicator, whose replications the server starts at once.")
    identity: str = option("", IDENTITY, unit="FILE")
    again: str = ""


@options_class
class CopyOptions:
    """What `migrator backups copy` is asked."""

    databases: tuple[str, ...] = option((), CHOICE, unit="NAME", flag=DATABASES)
    source: str = option("", f"Where snapshots are, the first PLACE: {PLACES}; or -.", unit="PLACE", flag="--from")
    target: str = option("", "Where they are copied to, the second PLACE.", unit="PLACE", flag="--to")
    at: str = option(
        "",
        "Only the snapshot as of this time, as restore --at takes it, and those that it adds to.",
        unit="TIME",
        text="all",
    )
    recipients: tuple[str, ...] = option(
        (), "Encrypt the copy to this public key, age1… or ssh-….", unit="KEY", flag="--recipient"
    )
    identity: str = option(
        "", "File with the secret key of an encrypted source; needed with --recipient only.", unit="FILE"
    )


@options_class
class CatOptions:
    """What of a document is printed, and where."""

    rev: str = option("", "This revision, from the newest snapshot that keeps it, or that of --at.", unit="REV")
    conflicts: bool = option(False, "All its leaves that are not deletions, a line each, the winner first.")
    attachment: str = option("", "The bytes of this attachment.", unit="NAME")
    output: str = option("", "Write to this file.", unit="FILE", text="standard output")
