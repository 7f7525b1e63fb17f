"""What each function takes by keyword, for editors and type checkers; the rows of the options say the rest.

A name, its default and its help stand in the options' rows; a test compares these types with them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Literal, TypeAlias, TypedDict

from migrator.model.events import Listener

Path: TypeAlias = str | PathLike[str]
Texts: TypeAlias = str | Sequence[str]


class Surroundings(TypedDict, total=False):
    """What every function takes."""

    progress: bool
    listener: Listener
    stopping: threading.Event | None
    environ: Mapping[str, str] | None


class Servers(Surroundings, total=False):
    """How servers are reached."""

    timeout_s: float
    max_attempts: int
    max_outage_s: float
    auth: Literal["basic", "cookie"]
    rate: str | int
    bandwidth: str | int
    head_room: float | None
    ca_file: Path
    client_cert: Path
    client_key: Path


class Watched(TypedDict, total=False):
    """Who is told of a run."""

    metrics: Path
    ping: str
    webhook: str


class Sides(Servers, total=False):
    """What is moved or compared."""

    collection: Texts
    map: Mapping[str, str]
    transform: Texts
    codec: Literal["plain", "tagged", "strict"]


class PlanArguments(Sides, total=False):
    """How documents are written."""

    on_conflict: Literal["fail", "skip", "overwrite", "newer"]
    newer_field: str
    prove: bool | None
    rejects: Path
    max_errors: str | int
    batch_docs: int
    batch_bytes: int
    in_flight: int
    readers: int
    sort: Literal["auto", "always", "never"]
    q: int | None
    n: int | None
    partitioned: bool


class RunArguments(PlanArguments, Watched, total=False):
    """A whole job."""

    checkpoint: Path
    resume: bool
    restart: bool
    report: Path
    dry_run: bool
    verify: bool
    transform_workers: int
    since_last: bool
    follow: bool
    until_caught_up: bool
    deletions: Literal["", "carry", "ignore"]
    executor: str
    splits: int
    replicate: bool
    replicator: Literal["target", "source"]
    keep_job: bool


class VerifyArguments(Sides, total=False):
    """What is compared, and where the result goes."""

    checkpoint: Path
    resume: bool
    restart: bool
    transform_workers: int
    report: Path
    differences: Path | None


class RetryArguments(PlanArguments, total=False):
    """Which rejects are written, and how."""

    stages: Texts
    report: Path
    dry_run: bool


class BackupArguments(Servers, Watched, total=False):
    """What is backed up."""

    databases: Texts
    full: bool
    full_every: int
    recipients: Texts
    identity: Path
    prove: bool | None
    rejects: Path
    report: Path


class RestoreArguments(Servers, Watched, total=False):
    """What is restored."""

    at: str
    databases: Texts
    ids: Texts
    map: Mapping[str, str]
    into_existing: bool
    security: bool | None
    start_replications: bool
    identity: Path
    rejects: Path
    batch_docs: int
    batch_bytes: int
    in_flight: int
    report: Path


class SeedArguments(Servers, total=False):
    """How databases are seeded."""

    collection: Texts
    exact: bool
    recreate: bool
    prefix: str
    wait_s: float | None
    diff: bool
    now: str
    sample: str | None
    where: Texts
    mask: Texts
    key_file: Path | None
    report: Path


class PlanServerArguments(Servers, total=False):
    """What of a server is moved."""

    patterns: Texts
    map: Mapping[str, str]
    users: bool
    replicator: bool
    quick: bool
    probe: bool
    output: Path | None


class ApplyArguments(Servers, total=False):
    """How a plan is done."""

    source: str
    target: str
    checkpoint: Path | None
    resume: bool
    restart: bool
    rejects: Path | None
    verify: Literal["no", "revisions", "contents"]
    warm: bool
    side_by_side: int
    keep_checkpoint: bool | None
    batch_docs: int
    batch_bytes: int
    report: Path
