"""Makes one reject file of those that the splits of a job leave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from migrator.checkpoint.file import Checkpoint
from migrator.checkpoint.reject_file import file_digest
from migrator.checkpoint.rejects import line_to_reject
from migrator.events import DocumentRejected, Listener
from migrator.files.durable import keep_older, link_target, replacing
from migrator.files.failures import RESUME, writing
from migrator.files.streams import is_stream

# Rejects that listeners hear of; all are in the file.
MAX_REJECTS_TOLD = 1_000


def merge_rejects(path: Path, parts: Sequence[Path], checkpoint: Checkpoint, listener: Listener) -> int:
    """Write all splits' rejects into one file, from the beginning each time, so that none stands there twice.

    Args:
        path: the file; what another run has left there keeps a name of its own.
        parts: the splits' reject files, which need not be there.
        checkpoint: the job's, which tells what this job wrote there before.
        listener: told of the first of them.

    Returns:
        How many there are.

    Raises:
        StorageError: there is no room, or no right to write.
        ConfigError: the path is wrong.
    """
    parts = [part for part in parts if part.exists() and part.stat().st_size]
    if not parts:
        return 0
    told = 0
    instead = "name another with --rejects FILE"
    with writing(path, what="Reject file", instead=instead, again=RESUME):
        _keep_another_runs(path, checkpoint)
        with replacing(path) as merged:
            for part in parts:
                with part.open("rb") as lines:
                    for line in lines:
                        merged.write(line)
                        told += 1
                        if told <= MAX_REJECTS_TOLD:
                            listener(DocumentRejected(line_to_reject(line, str(part))))
        if not is_stream(path):
            checkpoint.rejects_bytes = path.stat().st_size
            checkpoint.rejects_digest = file_digest(path, checkpoint.rejects_bytes)
    return told


def _keep_another_runs(path: Path, checkpoint: Checkpoint) -> None:
    real, mine = link_target(path), checkpoint.rejects_bytes
    if is_stream(path) or not real.exists() or not real.stat().st_size:
        return
    if not mine or file_digest(real, mine) != checkpoint.rejects_digest:
        keep_older(real)
