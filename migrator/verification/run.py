"""A whole run, as the command and a program have it: moved, compared where that is asked, and reported."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from migrator.checkpoint.target_guard import advising
from migrator.config import JobConfig
from migrator.errors import EXIT_OK
from migrator.files.failures import RESUME
from migrator.jobs.dispatch import run_any
from migrator.jobs.open import Around
from migrator.jobs.piped import refuse_second_reading
from migrator.jobs.run import JobResult
from migrator.model import CollectionReport, Counts, Extractor, Reject, Report
from migrator.model.events import DocumentRejected, Event, ignore
from migrator.pipeline.wrapper import ExtractorWrapper
from migrator.report.history import HistoryListener
from migrator.report.result import Result, rejects_exit
from migrator.report.summary import report_to_json

# Of more rejects it is not said which differences are theirs.
MAX_OWN_REJECTS = 100_000

if TYPE_CHECKING:
    from migrator.verification.result import VerifyResult


@dataclass(frozen=True, repr=False)
class RunResult(Result):
    """What a run did.

    Args:
        config: the job.
        job: what moving the documents left: report, rejects and checkpoint.
        history: how it went, as in the report.
        verification: what the comparison at the end found; None where none was asked for.
    """

    config: JobConfig
    job: JobResult
    history: Mapping[str, Any]
    verification: VerifyResult | None = None

    @property
    def report(self) -> Report:
        """The numbers of this run, and of those that it went on from."""
        return self.job.report

    @property
    def collections(self) -> dict[str, CollectionReport]:
        """What became of each collection."""
        return self.report.collections

    @property
    def totals(self) -> Counts:
        """The sum over all collections."""
        return self.report.totals

    @property
    def seconds(self) -> float:
        """How long moving took."""
        return self.report.seconds

    @property
    def rejects(self) -> Path | None:
        """The file that holds what was rejected; None where nothing was."""
        return self.job.rejects

    @property
    def checkpoint(self) -> Path | None:
        """The file with the position; None where there is none, as after a whole run without a name for one."""
        return self.job.checkpoint

    @property
    def carried(self) -> Counts:
        """What earlier, interrupted runs of the same checkpoint had settled."""
        return self.report.carried

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """What could not be made sure of, as sentences."""
        return self.report.unconfirmed

    @property
    def rejected(self) -> int:
        """Rejected documents of the whole job."""
        return self.report.rejected

    @property
    def altered(self) -> int:
        """Documents of the whole job that were changed on their way."""
        return self.report.altered

    @property
    def rejected_of(self) -> dict[str, int]:
        """Rejected documents by collection, of all runs of the job."""
        return {name: state.counts.rejected for name, state in self.job.state.collections.items()}

    @property
    def exit_code(self) -> int:
        """3 where documents were rejected, 4 where some were changed on their way or the comparison differs."""
        if self.rejected:
            return rejects_exit(self.altered)
        return EXIT_OK if self.verification is None else self.verification.exit_code

    @property
    def ok(self) -> bool:
        """True when each document is accounted for, none was rejected, and the comparison found no difference."""
        return self.report.ok and self.exit_code == EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """The report as it is documented for `--report`.

        Returns:
            Numbers by collection, totals, rejects with the commands that write them, verification and history.
        """
        from migrator.jobs.advice import retry_commands  # only where a report is wanted

        return report_to_json(
            self.report,
            rejects=str(self.rejects or ""),
            retry=retry_commands(self.rejects, self.config, self.rejected_of) if self.rejects else (),
            dry_run=self.config.dry_run,
            verification=None if self.verification is None else self.verification.to_dict(),
            history=self.history,
        )


class _KeptOpen(ExtractorWrapper):
    """A source that is read a second time."""

    def close(self) -> None:
        """Not yet."""


class _Rejected:
    """Which documents a run has rejected, so many at most: of each a hash, which is as good as its id."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def add(self, reject: Reject) -> None:
        """Note one."""
        if len(self._hashes) < MAX_OWN_REJECTS:
            self._hashes.add(hash((reject.collection, reject.id)))

    def __contains__(self, key: object) -> bool:
        return hash(key) in self._hashes


def run_whole(
    config: JobConfig,
    *,
    source: Extractor | None = None,
    moved: Callable[[RunResult], None] | None = None,
    **around: Unpack[Around],
) -> RunResult:
    """Move a job's documents, compare both sides where the job says so, and write its report.

    Args:
        config: the job.
        source: an extractor to use in place of `config.source`.
        moved: is told of what was moved before it is compared, which may fail.
        around: as in `open_job`.

    Raises:
        MigratorError: as moving and comparing do, or the report cannot be written.
    """
    compares = config.verify and not config.dry_run
    if compares:
        refuse_second_reading(config)
    history, listener = HistoryListener(), around.get("listener", ignore)

    own = _Rejected()

    def both(event: Event) -> None:
        listener(event)
        history(event)
        if isinstance(event, DocumentRejected):
            own.add(event.reject)

    watched: Around = {**around, "listener": both}
    kept = _KeptOpen(source) if compares and source is not None else source
    job = run_any(config, source=kept, **watched)
    result = RunResult(config, job, history.as_dict())
    report = "" if config.report == "-" else config.report
    result.write(report, again=RESUME)
    if moved is not None:
        moved(result)
    if compares:
        from migrator.verification.job import verify_job  # many runs are not compared

        found = verify_job(config, source=source, run_checkpoint=job.state, own=own, **around)
        result = replace(result, verification=found)
        result.write(report, again=RESUME)
    return result


def retry_whole(
    path: str | os.PathLike[str], config: JobConfig, *, stages: Collection[str] = (), **around: Unpack[Around]
) -> RunResult:
    """Write the documents of a reject file again; an interrupted retry begins again, as what is there stays.

    Args:
        path: the file, or a pipe that brings it.
        config: the job, but for its source.
        stages: only what was rejected at these; all where empty.
        around: as in `open_job`.

    Raises:
        MigratorError: as `run_whole`.
    """
    from migrator.jobs.rejects import rejects_source  # few runs need it

    source, config = rejects_source(Path(path), config, stages, around.get("environ"))
    with advising("Retry again: what is there already stays as it is."):
        return run_whole(replace(config, restart=True), source=source, **around)
