"""Finds the documents for which a target refuses a whole batch, so that all others are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from migrator.errors import BatchRefused, TransientError
from migrator.events import BatchSplit, Listener, ignore
from migrator.model import Batch, EncodedDocument, Loader, Outcome, Status
from migrator.wrapping import LoaderWrapper


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
        outcomes = self._load_parts(batch, batch.documents, resend=resend)
        if len(outcomes) > 1 and all(o.http_status == 500 and o.status is Status.REJECTED for o in outcomes):
            raise TransientError(
                f"{self._inner.describe()}: the server fails at every document: {outcomes[0].reason}",
                hint="Look into the server's log; then go on with --resume.",
                status=500,
            )
        return outcomes

    def _load_parts(self, batch: Batch, documents: tuple[EncodedDocument, ...], *, resend: bool) -> list[Outcome]:
        # Depth is the logarithm of the batch's length.
        try:
            return list(self._inner.load(replace(batch, documents=documents), resend=resend))
        except BatchRefused as refused:
            resend = resend or refused.maybe_written
            if len(documents) == 1:
                return [_rejected(documents[0], refused)]
            self._listener(BatchSplit(batch.collection, len(documents), refused.message))
            guilty = [index for index, document in enumerate(documents) if document.id == refused.guilty_id]
            if len(guilty) == 1:
                index = guilty[0]
                rest = documents[:index] + documents[index + 1 :]
                outcomes = self._load_parts(batch, rest, resend=resend)
                outcomes.insert(index, _rejected(documents[index], refused))
                return outcomes
            middle = len(documents) // 2
            return self._load_parts(batch, documents[:middle], resend=resend) + self._load_parts(
                batch, documents[middle:], resend=resend
            )


def _rejected(document: EncodedDocument, refused: BatchRefused) -> Outcome:
    return Outcome(
        document.id,
        Status.REJECTED,
        error=refused.error,
        reason=refused.reason or refused.message,
        http_status=refused.status or None,
    )
