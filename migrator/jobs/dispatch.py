"""Runs a job in the way that its words ask for, once they are known to go together.

Or piece by piece, for sources that push and are not asked: a tap, a pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Unpack

from migrator.checkpoint.file import Checkpoint
from migrator.checkpoint.reject_file import RejectFile
from migrator.checkpoint.target_guard import TargetGuard
from migrator.config import JobConfig
from migrator.config.pace import PACE
from migrator.couch.endpoint import is_server_url
from migrator.errors import ConfigError
from migrator.extractors.base import BaseExtractor
from migrator.jobs.open import Around, open_job
from migrator.jobs.registry import effects, target_text
from migrator.jobs.run import JobResult, run_job
from migrator.model import Counts, Extractor, Loader, Position, Record, Report

AGAIN = "Send everything again, from the beginning: what is there already stays as it is."


def run_any(config: JobConfig, *, source: Extractor | None = None, **around: Unpack[Around]) -> JobResult:
    """Move a job's documents: once, since the last run, following, or by CouchDB's replicator.

    The arguments are as in `migrator.jobs.run.run_job`.

    Raises:
        ConfigError: flags that do not go together.
        MigratorError: as the way that is asked for.
    """
    check_modes(config, around.get("environ"))
    if config.executor:
        if is_sync(config):
            raise ConfigError("--executor moves a job once, all of it.", hint="Leave --executor out.")
        if source is not None:
            raise ConfigError("--executor moves what a SOURCE names.", hint="Leave --executor out.")
        from migrator.jobs.distributed.coordinator import (  # most jobs need none of this
            run_distributed,
        )

        return run_distributed(config, **around)
    if not is_sync(config):
        return run_job(config, source=source, **around)
    if config.replicate:
        from migrator.jobs.replicate import replicate_job  # most jobs need none of these

        return replicate_job(config, **around)
    if config.follow:
        from migrator.jobs.follow import follow_job

        return follow_job(config, **around)
    from migrator.jobs.since_last import since_last_job

    return since_last_job(config, **around)


def is_sync(config: JobConfig) -> bool:
    """True when a job is one of these."""
    return config.since_last or config.follow or config.until_caught_up or config.replicate


def check_modes(config: JobConfig, environ: Mapping[str, str] | None = None) -> None:
    """Refuse what does not go together.

    Raises:
        ConfigError: names the flag in the way.
    """
    if not is_sync(config):
        _refuse(
            config, "needs --since-last, --follow or --replicate", "Add one of them.", ("deletions", "keep_job")
        )
        return
    mode = "--replicate" if config.replicate else "--follow" if config.follow else "--since-last"
    if config.replicate:
        _refuse(
            config,
            "does not go with --replicate: the replicator copies revisions as they are",
            "Use --since-last, which transforms and decides conflicts.",
            ("transform", "follow", "since_last", "until_caught_up", "deletions", "newer_field", "max_errors"),
        )
        _refuse(config, "does not go with --replicate: the servers carry the documents", "Use --since-last.", PACE)
        if config.on_conflict != "fail":
            raise ConfigError(
                "--on-conflict does not go with --replicate: the replicator keeps both revisions.",
                hint="Use --since-last, which decides conflicts.",
            )
    else:
        _refuse(config, "goes with --replicate only", "Leave it out.", ("keep_job",))
        _refuse(config, f"does not go with {mode}", "Leave it out.", ("transform_workers",))
        effect = effects(config)
        if not effect.stable_id:
            raise ConfigError(
                f"An id made of a document's content does not go with {mode}: a changed document would get "
                "another id, and its older copy would stay.",
                hint="Use id:field or id:template of fields that never change, with --deletions ignore.",
            )
        if config.deletions != "ignore" and effect.makes_id:
            raise ConfigError(
                f"With ids that a transformer makes, {mode} cannot know whose deletion a deletion is.",
                hint="Add --deletions ignore: documents deleted at the source then stay at the target.",
            )
        if config.follow and config.verify and not config.until_caught_up:
            raise ConfigError(
                "--follow goes on until it is asked to stop, so there is no end to verify at.",
                hint="Add --until-caught-up.",
            )
    if config.until_caught_up and not config.follow:
        raise ConfigError("--until-caught-up belongs to --follow.", hint="Add --follow.")
    if config.dry_run:
        raise ConfigError(
            f"--dry-run does not go with {mode}.", hint="A dry run without it says what differs as a whole."
        )
    for flag, text in (("--from", config.source), ("--to", target_text(config, environ))):
        if not is_server_url(text):
            raise ConfigError(
                f"{mode} works between two CouchDB servers, and {flag} is {text or 'not given'!s}.",
                hint="Name http(s)://host:5984. Incremental copies in files are made by: migrator backup",
            )


def _refuse(config: JobConfig, why: str, hint: str, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(config, name):
            raise ConfigError(f"--{name.replace('_', '-')} {why}.", hint=hint)


class StreamWriter:
    """Takes pieces of collections; when `write` returns, every document of the piece has its end.

    There is no checkpoint: whoever pushes knows where to go on, and sends again what was not settled.

    Args:
        config: the job, but for its source.
        source: what people call the source.
        rejects: where rejected documents go.
        target: a loader to use in place of `config.target`, for one piece: it is closed then.
        around: as in `open_job`.

    Raises:
        ConfigError: the target is not a server: a folder's files are written as a whole.
    """

    def __init__(
        self,
        config: JobConfig,
        source: str,
        rejects: RejectFile,
        *,
        target: Loader | None = None,
        **around: Unpack[Around],
    ) -> None:
        if not is_server_url(target_text(config, around.get("environ"))):
            raise ConfigError(
                "Documents that come in pieces can only go to a server.",
                hint="Name one with --to http://HOST:5984, or keep them first and use migrator run.",
            )
        self.counts = Counts()
        self._config = config
        self._source = source
        self._rejects = rejects
        self._target = target
        self._around = around
        self._collections: dict[str, None] = {}
        self._targets: dict[str, str] = {}
        # Ids that are made up are made from one seed.
        self._checkpoint = Checkpoint(job={})

    def write(self, records: Mapping[str, Sequence[Record]]) -> Report:
        """Transform and load a piece; rejects are durable when it returns.

        Raises:
            MigratorError: as of a run; the counts hold what was settled before.
        """
        self._collections.update(dict.fromkeys(records))
        piece = _Piece(self._source, list(self._collections), records)
        with open_job(self._config, source=piece, target=self._target, **self._around) as job:
            borne = job.max_errors
            if borne.count is not None:
                borne = replace(borne, count=borne.count - self.counts.rejected)
            report = job.pipeline(
                self._rejects,
                job.transform(self._checkpoint),
                # All pieces belong together: what earlier ones left must be there still.
                guard=TargetGuard(job.loader, hint=AGAIN, flag=None, known=self._targets),
                max_errors=borne,
            ).run(job.collections)
        self.counts.add(report.totals)
        return report


class _Piece(BaseExtractor):
    """An extractor of records that are there; collections of earlier pieces are named too, so names stay apart."""

    def __init__(self, name: str, collections: Sequence[str], records: Mapping[str, Sequence[Record]]) -> None:
        self._name = name
        self._collections = collections
        self._records = records

    def describe(self) -> str:
        return self._name

    def collections(self) -> Sequence[str]:
        return self._collections

    def count(self, collection: str) -> int | None:
        return len(self._records.get(collection, ()))

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        records = self._records.get(collection, ())
        # A reading that is tried again goes on after the last one given.
        done = [record.position for record in records].index(after) + 1 if after is not None else 0
        yield from records[done:]
