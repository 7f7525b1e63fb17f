"""The plan of a job: what would be created, mapped and written, found out by reading only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migrator.checkpoint.file import Checkpoint, CheckpointFile
from migrator.config import JobConfig
from migrator.jobs.open import default_paths, open_job
from migrator.model.capabilities import unconfirmed_of


def make_plan(config: JobConfig, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Open source and target, look, and write down what a run would do.

    Raises:
        MigratorError: what a run would meet at its start.
    """
    with open_job(config, environ=environ) as job:
        job.transform(Checkpoint(job=job.fingerprint))
        collections = {}
        for name in job.collections:
            found = job.loader.survey(name)
            collections[name] = {
                "target": job.names[name],
                "documents": job.extractor.count(name),
                "exists": None if found is None else found >= 0,
                "documents_there": None if found is None or found < 0 else found,
            }
        checkpoint, rejects = default_paths(job)
        there = CheckpointFile(checkpoint)
        unconfirmed = unconfirmed_of(job.extractor)
        return {
            "source": job.extractor.describe(),
            "target": job.loader.describe(),
            "collections": collections,
            "transform": list(config.transform),
            "codec": config.codec,
            "on_conflict": config.on_conflict,
            "batch_docs": config.batch_docs,
            "batch_bytes": config.batch_bytes,
            "in_flight": config.in_flight,
            "checkpoint": str(checkpoint),
            "checkpoint_exists": there.exists(),
            "rejects": str(rejects),
            **({"unconfirmed": list(unconfirmed)} if unconfirmed else {}),
        }
