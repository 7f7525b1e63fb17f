"""Decides which collections are sorted by id before they are loaded, and has it done."""

from __future__ import annotations

import json
import threading
from functools import partial
from pathlib import Path

from migrator.capabilities import effect_of
from migrator.checkpoint.file import Checkpoint
from migrator.events import CollectionFinished, Event, Listener
from migrator.jobs.open import OpenJob
from migrator.model import Extractor, Transformer
from migrator.pipeline.batching import Assembly, Preparing
from migrator.pipeline.spooling import MIN_DOCUMENTS_TO_SORT, SpoolingExtractor


def in_order(
    job: OpenJob,
    checkpoint: Checkpoint,
    transform: Transformer | None,
    path: Path,
    listener: Listener,
    stopping: threading.Event,
    prepare: Preparing | None = None,
) -> tuple[Extractor, Listener]:
    """The source with a spool where sorting gains, and a listener that removes a spool that is done with."""
    if job.config.dry_run or not job.loader.traits.prefers_sorted:
        return job.extractor, listener
    # What was decided when the job began holds for its positions, whatever --sort says now.
    decided: dict[str, bool] = checkpoint.details.setdefault("spooled", {})

    def assembly(name: str) -> Assembly:
        where = partial(job.extractor.describe_position, name)
        return Assembly(transform, job.loader.screen, job.values, where, prepare)

    def wanted(name: str) -> bool | None:
        if job.config.sort != "auto":
            return job.config.sort == "always"
        ordered = job.extractor.ordered and effect_of(transform).keeps_id
        few = (job.extractor.count(name) or MIN_DOCUMENTS_TO_SORT) < MIN_DOCUMENTS_TO_SORT
        return False if ordered or few else None

    label = json.dumps([job.fingerprint, checkpoint.seed], sort_keys=True)
    folder = path.with_name(path.name + ".spool")
    spool = SpoolingExtractor(job.extractor, assembly, folder, label, decided, wanted, stopping=stopping)
    for name in job.collections:
        state = checkpoint.collections.get(name)
        if state is None or state.position is None:
            # What an earlier job left is of no use to one that begins.
            spool.remove(name)

    def listen(event: Event) -> None:
        listener(event)
        if isinstance(event, CollectionFinished) and decided.get(event.collection):
            spool.remove(event.collection)

    return spool, listen
