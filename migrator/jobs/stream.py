"""Writes documents as they come, piece by piece, for sources that push and are not asked: a tap, a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Unpack

from migrator.checkpoint.file import Checkpoint
from migrator.checkpoint.reject_file import RejectFile
from migrator.checkpoint.target_guard import TargetGuard
from migrator.config import JobConfig
from migrator.couch.endpoint import is_server_url
from migrator.errors import ConfigError
from migrator.extractors.base import BaseExtractor
from migrator.jobs.open import Around, open_job
from migrator.jobs.registry import target_text
from migrator.model import Counts, Loader, Position, Record, Report

AGAIN = "Send everything again, from the beginning: what is there already stays as it is."


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
        ConfigError: the target is no server: a folder's files are written as a whole.
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
