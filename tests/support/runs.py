"""One run of the pipeline with its checkpoint file, as a command does it, without a command."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from migrator.checkpoint.file import CheckpointFile, open_checkpoint
from migrator.jobs.run import refuse_other_targets
from migrator.model import BatchLimits, Loader, Report
from migrator.pipeline.loop import Pipeline
from migrator.retry.throttle import Throttle
from tests.support.fakes import FakeExtractor, ListSink


def run_once(
    loader: Loader, file: Path, documents: Mapping[str, Sequence[Mapping[str, Any]]], *, restart: bool = False
) -> Report:
    """Move documents in batches of two, from where the checkpoint file says, if there is one.

    Args:
        loader: the target; it is closed afterwards.
        file: the checkpoint's, saved after each batch.
        documents: by collection.
        restart: begin at the beginning, whatever the checkpoint says.
    """
    kept = CheckpointFile(file)
    checkpoint, resumed = open_checkpoint(kept, {}, resume=not restart, restart=restart)
    refuse_other_targets(loader, checkpoint)
    if not resumed:
        kept.save(checkpoint)
    with contextlib.closing(loader):
        return Pipeline(
            extractor=FakeExtractor(documents),
            loader=loader,
            rejects=ListSink(),
            throttle=Throttle(BatchLimits(max_docs=2), 1),
            checkpoint=checkpoint,
            checkpoint_file=kept,
            checkpoint_interval_s=0,
        ).run(list(documents))
