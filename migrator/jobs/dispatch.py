"""Runs a job in the way that its words ask for."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from migrator.config import JobConfig
from migrator.errors import ConfigError
from migrator.events import Listener, ignore
from migrator.jobs.modes import check_modes, is_sync
from migrator.jobs.run import JobResult, run_job
from migrator.model import Extractor


def run_any(
    config: JobConfig,
    *,
    environ: Mapping[str, str] | None = None,
    listener: Listener = ignore,
    stopping: threading.Event | None = None,
    source: Extractor | None = None,
) -> JobResult:
    """Move a job's documents: once, since the last run, following, or by CouchDB's replicator.

    The arguments are as in `migrator.jobs.run.run_job`.

    Raises:
        ConfigError: flags that do not go together.
        MigratorError: as the way that is asked for.
    """
    check_modes(config, environ)
    if config.executor:
        if is_sync(config):
            raise ConfigError("--executor moves a job once, all of it.", hint="Leave --executor out.")
        if source is not None:
            raise ConfigError("--executor moves what a SOURCE names.", hint="Leave --executor out.")
        from migrator.jobs.distributed.coordinator import (  # most jobs need none of this
            run_distributed,
        )

        return run_distributed(config, environ=environ, listener=listener, stopping=stopping)
    if not is_sync(config):
        return run_job(config, environ=environ, listener=listener, stopping=stopping, source=source)
    if config.replicate:
        from migrator.jobs.replicate import replicate_job  # most jobs need none of these

        return replicate_job(config, environ=environ, listener=listener, stopping=stopping)
    if config.follow:
        from migrator.jobs.follow import follow_job

        return follow_job(config, environ=environ, listener=listener, stopping=stopping)
    from migrator.jobs.since_last import since_last_job

    return since_last_job(config, environ=environ, listener=listener, stopping=stopping)
