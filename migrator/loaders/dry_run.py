"""A loader that says what another would do, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from migrator.model import Batch, Loader, Outcome, Status
from migrator.pipeline.wrapper import LoaderWrapper


class DryLoader(LoaderWrapper):
    """Screens as the real one does; `foretell` gives the outcomes, all WRITTEN where nobody knows better."""

    def __init__(self, inner: Loader, foretell: Callable[[Batch], Sequence[Outcome]] | None = None) -> None:
        super().__init__(inner)
        self._foretell = foretell

    def prepare(self, collection: str, mark: int | None) -> None:
        """Nothing is made."""

    def identity(self, collection: str) -> str | None:  # noqa: ARG002
        """Nothing is claimed of any target."""
        return None

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:  # noqa: ARG002
        """What would become of the documents."""
        if self._foretell is not None:
            return self._foretell(batch)
        return [Outcome(document.id, Status.WRITTEN) for document in batch.documents]

    def flush(self, collection: str) -> int | None:  # noqa: ARG002
        """Nothing is kept."""
        return None

    def finish(self, collection: str) -> None:
        """Nothing was made."""
