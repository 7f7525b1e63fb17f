"""Opens a target for reading, as verification does: a server by revisions, a folder by sorting its files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from migrator.codec import decode
from migrator.codec.equality import content, differing_path
from migrator.couch.endpoint import is_server_url
from migrator.errors import ConfigError
from migrator.extractors.ndjson import NdjsonExtractor
from migrator.files.sorting import ExternalSorter
from migrator.jobs.open import OpenJob
from migrator.jobs.registry import open_client, refuse_plugin_target, target_text
from migrator.model import Document, EncodedDocument
from migrator.pipeline.batching import Assembly
from migrator.verification.compare import Stored, TargetReader

# A verification may hold one such sort for each side.
SORT_MEMORY_BYTES = 24_000_000


@contextlib.contextmanager
def open_reader(job: OpenJob, spool: Path, environ: Mapping[str, str] | None = None) -> Iterator[TargetReader]:
    """The reader of a job's target.

    Args:
        job: the job.
        spool: a folder for sorting.
        environ: the environment.
    """
    target = target_text(job.config, environ)
    if not is_server_url(target):
        refuse_plugin_target(target)
        with contextlib.ExitStack() as stack:
            yield FolderReader(Path(target), job.names, spool, stack)
        return
    from migrator.verification.couchdb_reader import CouchReader  # late, for a folder needs none

    with contextlib.closing(open_client(job.config, "target", environ)[0]) as client:
        yield CouchReader(client, job.names, job.retrier)


class FolderReader:
    """A TargetReader of a folder of NDJSON files."""

    def __init__(self, folder: Path, names: Mapping[str, str], spool: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._names = names
        self._spool = spool
        self._stack = stack

    def stored(self, collection: str, *, after: str | None = None) -> Iterator[Stored]:
        """The file's documents, sorted; nothing where there is no file."""
        path = self._folder / self._names[collection]
        if not path.exists():
            return
        sorter = self._stack.enter_context(
            contextlib.closing(ExternalSorter(self._spool / path.name, max_memory_bytes=SORT_MEMORY_BYTES))
        )
        extractor = NdjsonExtractor(path)
        assembly = Assembly()
        name = extractor.collections()[0]
        for record in extractor.extract(name):
            made = assembly.assemble(record)
            if not isinstance(made, EncodedDocument):
                place = extractor.describe_position(name, record.position)
                raise ConfigError(
                    f"{place} is no document: {made.reason if made else ''}", hint="Write the folder again."
                )
            sorter.add(made.id, made.body)
        for id, body in sorter.sorted_items(after):
            yield Stored(id, body=body)

    def lists_surely(self, collection: str) -> bool:  # noqa: ARG002
        """A file is whole."""
        return True

    def is_revision_of(self, collection: str, body: bytes, rev: str) -> bool:  # noqa: ARG002
        """There are no revisions."""
        return False

    def differing(self, collection: str, body: bytes, there: Document) -> str | None:  # noqa: ARG002
        """Exactly: a file keeps all."""
        return differing_path(content(decode(body)), content(there), stored=False)

    def documents(self, collection: str, ids: Sequence[str]) -> Iterator[tuple[str, Document | None]]:  # noqa: ARG002
        """Never asked for: the bodies come with `stored`."""
        return ((id, None) for id in ids)
