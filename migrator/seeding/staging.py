"""Data of one server as test data for another: a sample, filtered and masked, with a proof at the end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from migrator import naming
from migrator.codec import InvalidDocument, decode
from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.errors import ConfigError, TransformError
from migrator.events import Listener, ignore
from migrator.extractors.couchdb import CouchExtractor
from migrator.files.failures import temporary_folder
from migrator.jobs import run_job
from migrator.loaders.conflicts import OnConflict
from migrator.loaders.couchdb import CouchLoader
from migrator.model import Document, Extractor, Fault, Position, Record, Report, Transformer
from migrator.registry import open_extractor, target_database, target_text
from migrator.report import report_to_json, report_to_table
from migrator.retry import Retrier
from migrator.retrying import RetryingExtractor
from migrator.seeding.audit import MaskAudit
from migrator.sources import server_of
from migrator.transformers import parse
from migrator.transformers.masking import Mask, mask_key, masks, sample


@dataclass(frozen=True)
class Masking:
    """What is taken of a source, as on the command line.

    Args:
        sample: `5%` or `5%,FIELD`.
        where: conditions that all must be met.
        mask: `KIND:FIELD,...`.
        key_file: where the key is; else in the environment.
    """

    sample: str | None = None
    where: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    key_file: str | None = None

    @property
    def any(self) -> bool:
        """True when anything is asked for."""
        return bool(self.sample or self.where or self.mask)

    def masks(self, environ: Mapping[str, str]) -> list[Mask]:
        """The masks; only `drop` needs no key."""
        keyed = any(not text.startswith("drop:") for text in self.mask)
        return masks(self.mask, mask_key(environ, self.key_file) if keyed else b"")

    def filters(self) -> list[Transformer]:
        """Conditions, then the sample: both look at the document before it is masked."""
        return [parse(f"where:{condition}") for condition in self.where] + (
            [sample(self.sample)] if self.sample else []
        )


class StagingExtractor:
    """A source whose documents are filtered and masked, under the eyes of an audit.

    Args:
        inner: the source.
        filters: which documents are taken.
        masks: what is made of them.
        audit: told of every document.
    """

    def __init__(
        self, inner: Extractor, filters: Sequence[Transformer], masks: Sequence[Mask], audit: MaskAudit
    ) -> None:
        self._inner = inner
        self._filters = filters
        self._masks = masks
        self._audit = audit
        self.ordered = inner.ordered and not any(("_id",) in mask.paths for mask in masks)

    def describe(self) -> str:
        """As the source's."""
        return self._inner.describe()

    def collections(self) -> Sequence[str]:
        """As the source's."""
        return self._inner.collections()

    def count(self, collection: str) -> int | None:
        """As the source's."""
        return self._inner.count(collection)

    def identity(self, collection: str) -> str:
        """As the source's."""
        return self._inner.identity(collection)

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield what the masks make of the documents; design documents pass as they are."""
        for record in self._inner.extract(collection, after=after):
            if record.fault is not None or record.filtered:
                yield record
                continue
            try:
                document = record.document if record.document is not None else decode(record.text or b"")
            except InvalidDocument as invalid:
                yield Record(record.position, fault=Fault(invalid.error, invalid.reason))
                continue
            id = document.get("_id")
            if isinstance(id, str) and id.startswith("_design/"):
                yield record
                continue
            try:
                made = self._made(document)
            except TransformError as error:
                # The document itself must not get into a reject file: it is not masked.
                yield Record(record.position, fault=Fault("transform:transform_error", str(error), str(id)))
                continue
            yield (Record(record.position, filtered=1) if made is None else Record(record.position, document=made))

    def close(self) -> None:
        """Close the source."""
        self._inner.close()

    def _made(self, document: Document) -> Document | None:
        for keep in self._filters:
            if keep(document) is None:
                return None
        made = document
        for mask in self._masks:
            transformed = mask.transform(made)
            assert transformed is not None
            made = transformed
        self._audit.note(document, made)
        return made


@dataclass(frozen=True)
class Staged:
    """What staging did: the report of the run, and the audit's where there were masks."""

    report: Report
    audit: dict[str, Any] | None
    text: str

    @property
    def ok(self) -> bool:
        """True when every document is accounted for, and no original value survived."""
        return self.report.ok and self.masked

    @property
    def masked(self) -> bool:
        """True when no original value survived."""
        return self.audit is None or bool(self.audit["ok"])

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        value = report_to_json(self.report)
        return {**value, "ok": self.ok, "masking": self.audit} if self.audit else value


def stage(
    config: JobConfig,
    masking: Masking,
    *,
    environ: Mapping[str, str],
    prefix: str = "",
    listener: Listener = ignore,
    stopping: threading.Event | None = None,
) -> Staged:
    """Move a filtered and masked sample of a source to a server, and read it back for the proof.

    Args:
        config: source, target, connection; what stands at the target under an id is overwritten.
        masking: what is taken.
        environ: the environment.
        prefix: goes before each database's name.
        listener: hears of everything.
        stopping: set it to stop.

    Raises:
        MigratorError: as from `migrator.jobs.run_job`.
    """
    stopping = stopping or threading.Event()
    target = target_text(config, environ)
    endpoint, _ = server_of(config, target, role="target", environ=environ)
    with contextlib.ExitStack() as stack:
        made = masking.masks(environ)
        filters = masking.filters()
        audit = stack.enter_context(contextlib.closing(MaskAudit(made)))
        inner = stack.enter_context(contextlib.closing(open_extractor(config, environ)))
        found = RetryingExtractor(inner, Retrier(listener=listener, stopping=stopping)).collections()
        wanted = [name for name in found if not config.collection or name in config.collection]
        names = _names(config, wanted, environ, prefix)
        work = stack.enter_context(temporary_folder("migrator-stage-"))
        job = run_job(
            replace(
                config,
                target=target,
                on_conflict="overwrite",
                checkpoint=f"{work}/checkpoint.json",
                rejects=config.rejects or f"{work}/rejects.ndjson",
            ),
            environ=environ,
            listener=listener,
            stopping=stopping,
            source=StagingExtractor(inner, filters, made, audit),
            target=CouchLoader(CouchClient(endpoint), names=names, on_conflict=OnConflict.OVERWRITE),
        )
        text = report_to_table(job.report)
        if not made:
            return Staged(job.report, None, text)
        reader = stack.enter_context(contextlib.closing(CouchExtractor(CouchClient(endpoint))))
        back = RetryingExtractor(reader, Retrier(listener=listener, stopping=stopping))
        for name in wanted:
            for record in back.extract(names[name]):
                audit.check(decode(record.text or b"{}"))
        return Staged(job.report, audit.as_dict(), text + audit.as_text())


def _names(config: JobConfig, wanted: Sequence[str], environ: Mapping[str, str], prefix: str) -> Mapping[str, str]:
    database = target_database(config, environ)
    if database is None:
        return naming.database_names(wanted, prefix=prefix, overrides=config.map)
    if len(wanted) > 1:
        raise ConfigError(
            f"The target names one database, {database}, but there are {len(wanted)} of the source.",
            hint="Leave the database out of the target's URL, or choose one with --collection NAME.",
        )
    return {name: naming.legal_database(database, allow_system=False) for name in wanted}
