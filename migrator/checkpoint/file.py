"""The checkpoint file: the position up to which every document is settled, and whose job that is.

It is written to a temporary file beside it, flushed to disk and renamed, so that a kill at any moment leaves
the old one or the new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from migrator.errors import CheckpointError, without_passwords
from migrator.files.durable import replace_file
from migrator.files.failures import RESUME, writing
from migrator.files.lock import held
from migrator.files.own_json import Damaged, from_json, seal, unseal
from migrator.files.streams import is_stream
from migrator.model import Counts, Position, Reject

VERSION = 1
# A checkpoint has a few hundred bytes a collection; a larger file is something else.
MAX_FILE_BYTES = 64_000_000
MAX_SHOWN_CHARS = 300
COMMAND = "command"
"""Among the details: the words of the command that goes on, without credentials."""
# All that a checkpoint had at its top before it carried a checksum.
_BEFORE_CHECKSUMS = frozenset(
    {"version", "job", "collections", "finished", "seed", "started_ms", "rejects_bytes", "details"}
)


class RejectSink(Protocol):
    """Where rejected documents go."""

    @property
    def digest(self) -> str:
        """Tells what was made durable from another file's content; "" where nothing was, or nobody goes on."""

    def write(self, rejects: Sequence[Reject]) -> None:
        """Append them."""

    def flush(self) -> int:
        """Make them durable; the size so far in bytes."""


@dataclass(slots=True)
class CollectionState:
    """How far one collection is. `identity` and `mark` are the extractor's and the loader's own.

    `target` is the identity of the target that all of it is about; None where an older version wrote it, or where
    nobody can tell. `proofs` is the number of what was proven (`checkpoint/proofs`), where a verification follows.
    """

    position: Position | None = None
    finished: bool = False
    identity: str = ""
    mark: int | None = None
    counts: Counts = field(default_factory=Counts)
    target: str | None = None
    proofs: str = field(default="", metadata={"later": True})

    @property
    def begun(self) -> bool:
        """True when something is settled."""
        return self.finished or self.position is not None

    @property
    def confirmed(self) -> int:
        """How many documents were found or written at the target."""
        return self.counts.written + self.counts.unchanged


@dataclass(slots=True)
class Checkpoint:
    """The content of a checkpoint file.

    `job` is the fingerprint: what must be the same for positions to mean the same, by name, no credentials.
    `seed` and `started_ms` let made-up ids come out the same after a resume. `rejects_bytes` is how much of
    the reject file is settled, `rejects_digest` tells it from another run's, and `run` stands in each line of it.
    `details` belongs to whoever runs the job.
    """

    job: dict[str, Any]
    collections: dict[str, CollectionState] = field(default_factory=dict)
    finished: bool = False
    seed: str = field(default_factory=lambda: secrets.token_hex(16))
    started_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    rejects_bytes: int = 0
    rejects_digest: str = ""
    run: str = field(default_factory=lambda: secrets.token_hex(6))
    details: dict[str, Any] = field(default_factory=dict)

    def vouch_for(self, rejects: RejectSink) -> None:
        """Make rejects durable, and note what of their file is settled."""
        self.rejects_bytes = rejects.flush()
        self.rejects_digest = rejects.digest

    @property
    def totals(self) -> Counts:
        """What all runs of this checkpoint have settled."""
        return Counts.sum(state.counts for state in self.collections.values())

    @property
    def begun(self) -> bool:
        """True when something is settled."""
        return self.finished or any(state.begun for state in self.collections.values())


class CheckpointFile:
    """Where a checkpoint is kept. `path` None keeps it nowhere (a dry run, a library's own choice)."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @property
    def real(self) -> Path:
        """The file that the path names in the end: symbolic links are followed."""
        assert self.path is not None
        return Path(os.path.realpath(self.path))

    def exists(self) -> bool:
        """True when there is a file."""
        return self.path is not None and self.path.exists()

    def load(self) -> Checkpoint:
        """Read the file.

        Raises:
            CheckpointError: it is damaged, of a newer version, or no checkpoint.
        """
        assert self.path is not None
        path = self.path
        damaged = "Start over with --restart (documents that are there already stay as they are)."
        if is_stream(path):
            # Opening a pipe would wait for a writer who never comes.
            raise CheckpointError(f"{path} is a pipe or a device, not a checkpoint.", hint="Name another file.")
        try:
            with path.open("rb") as file:
                text = file.read(MAX_FILE_BYTES + 1)
            if len(text) > MAX_FILE_BYTES:
                raise CheckpointError(f"{path} is too large for a checkpoint.", hint="Name another file.")
            value, sealed = unseal(text)
        except OSError as error:
            raise CheckpointError(
                f"Checkpoint {path} cannot be read: {error.strerror}.", hint="Check the path and its rights."
            ) from None
        except Damaged as error:
            raise CheckpointError(f"Checkpoint {path} is damaged: {error}.", hint=damaged) from None
        version = value.get("version")
        if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
            raise CheckpointError(
                f"Checkpoint {path} was written by a newer migrator (format {version}; this one knows {VERSION}).",
                hint="Use that version, or start over with --restart.",
            )
        try:
            return _parse(value, sealed=sealed)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise CheckpointError(f"Checkpoint {path} is damaged, or no checkpoint.", hint=damaged) from None

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the file, durably; where the path is a symbolic link, the file that it names.

        Raises:
            StorageError: there is no room, or no right to write; the old one is unchanged.
            ConfigError: the path is wrong.
        """
        if self.path is None:
            return
        with writing(self.path, what="Checkpoint", instead="name another with --checkpoint FILE", again=RESUME):
            replace_file(self.path, seal({"version": VERSION, **asdict(checkpoint)}))

    def remove(self) -> None:
        """Remove the file."""
        if self.path is not None:
            # A link stays, as it was the user who laid it.
            self.real.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the checkpoint for this process; the system lets go of it when the process ends, however it ends.

        Raises:
            LockedError: another run holds it.
        """
        if self.path is None:
            yield
            return
        # Of the file itself: two names of one checkpoint exclude each other.
        real = self.real
        with held(
            real.with_name(real.name + ".lock"),
            what=str(self.path),
            instead="use another --checkpoint",
            elsewhere="with --checkpoint FILE",
        ):
            yield


def open_checkpoint(
    file: CheckpointFile,
    job: Mapping[str, Any],
    *,
    resume: bool,
    restart: bool,
    later: Sequence[str] = (),
) -> tuple[Checkpoint, bool]:
    """Decide where a run begins.

    Args:
        file: the checkpoint file.
        job: the fingerprint of the job that is about to run.
        resume: go on where the file says; start fresh where there is none.
        restart: start fresh whatever there is.
        later: parts of the fingerprint that older versions did not write; a file without them is accepted.

    Returns:
        The checkpoint to go on from, and whether it was resumed. A finished one starts over, with its seed,
        whether `resume` or not.

    Raises:
        CheckpointError: it exists, or is another job's, or damaged.
    """
    # A transformer can set a URL with a password. Files of the versions before may hold one.
    job = without_passwords(job)
    if restart or not file.exists():
        return Checkpoint(job=dict(job)), False
    found = file.load()
    found.job = without_passwords(found.job)
    for key in later:
        if key in job:
            found.job.setdefault(key, job[key])
    if not found.begun and not resume:
        return Checkpoint(job=dict(job)), False
    if found.job != job:
        name, old, new = _difference("job", found.job, job)
        raise CheckpointError(
            f"Checkpoint {file.path} belongs to another job: its {name} was {_show(old)}, now it is {_show(new)}.",
            hint="Use another --checkpoint FILE, or start over with --restart.",
        )
    if found.finished:
        return Checkpoint(job=dict(job), seed=found.seed, started_ms=found.started_ms), False
    if not resume:
        raise CheckpointError(
            f"Checkpoint {file.path} exists already, of an interrupted run.",
            hint="Add --resume to go on from it, or --restart to start over.",
        )
    return found, True


def _difference(name: str, old: object, new: object) -> tuple[str, object, object]:
    """The first part in which two values differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*new, *(key for key in old if key not in new)]:
            if old.get(key) != new.get(key):
                return _difference(key if name == "job" else f"{name} {key}", old.get(key), new.get(key))
    return name, old, new


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if value not in (None, []) else "not given"
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"


def _parse(value: dict[str, Any], *, sealed: bool) -> Checkpoint:
    # A flipped bit in the word `checksum` must not make it one of those that have none.
    if (
        type(value["version"]) is not int
        or value["version"] != VERSION
        or not (sealed or value.keys() <= _BEFORE_CHECKSUMS)
    ):
        raise ValueError
    # What versions before did not write.
    value = {"rejects_digest": "", "run": "", "details": {}, **value}
    for state in value["collections"].values():
        state.setdefault("target", None)
    found = from_json(Checkpoint, value)
    counts = [number for state in found.collections.values() for number in state.counts.as_dict().values()]
    if min(found.started_ms, found.rejects_bytes, *counts) < 0:
        raise ValueError
    found.seed = bytes.fromhex(found.seed).hex()
    return found
