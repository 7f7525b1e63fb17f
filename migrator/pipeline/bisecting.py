"""Finds the documents for which a target refuses a whole batch, so that all others are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from migrator.errors import BatchRefused
from migrator.events import BatchSplit, Listener, ignore
from migrator.model import Batch, EncodedDocument, Loader, Outcome
from migrator.pipeline.wrapper import LoaderWrapper
from migrator.retry.dividing import divide_refused, refuse_trouble, refused_alone


class BisectingLoader(LoaderWrapper):
    """A loader that divides a refused batch until exactly the bad documents are alone.

    Wrap it around the retrying loader: what arrives here is no passing fault.
    """

    def __init__(self, inner: Loader, listener: Listener = ignore) -> None:
        super().__init__(inner)
        self._listener = listener

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """As the wrapped loader's, but a document that spoils its batch is an outcome, not an error.

        Raises:
            TransientError: the server fails at every single document: the fault is its own.
        """

        def send(part: Sequence[EncodedDocument], resend: bool) -> Sequence[Outcome]:
            return self._inner.load(replace(batch, documents=tuple(part)), resend=resend)

        def announce(count: int, refused: BatchRefused) -> None:
            self._listener(BatchSplit(batch.collection, count, refused.message))

        outcomes = divide_refused(
            batch.documents,
            send,
            lambda document, refused: refused_alone(document.id, refused),
            id_of=lambda document: document.id,
            resend=resend,
            on_split=announce,
        )
        refuse_trouble(outcomes, self._inner.describe(), "go on with --resume")
        return outcomes
