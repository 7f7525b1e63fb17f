"""A loader that says what another would do, and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.model import Batch, Outcome
from migrator.pipeline.wrapper import LoaderWrapper


class DryLoader(LoaderWrapper):
    """Screens as the real one does; its outcomes are those of `preview`."""

    def prepare(self, collection: str, mark: int | None) -> None:
        """Nothing is made."""

    def identity(self, collection: str) -> str | None:  # noqa: ARG002
        """Nothing is claimed of any target."""
        return None

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:  # noqa: ARG002
        """What would become of the documents."""
        return self.preview(batch)

    def flush(self, collection: str) -> int | None:  # noqa: ARG002
        """Nothing is kept."""
        return None

    def finish(self, collection: str) -> None:
        """Nothing was made."""
