"""The loader that writes nothing: it screens as the real one and foretells where that is known."""

from __future__ import annotations

from migrator.jobs.run import DryLoader
from migrator.model import Batch, Loader, Outcome, Status
from tests.support.fakes import FakeLoader, batch_of


def test_writes_nothing() -> None:
    """None of the real one's effects happen; all documents are said to be written."""
    inner = FakeLoader()
    dry = DryLoader(inner)
    assert isinstance(dry, Loader)
    dry.prepare("c", None)
    outcomes = dry.load(batch_of("a", "b"))
    assert dry.flush("c") is None
    dry.finish("c")
    assert [Outcome("a", Status.WRITTEN), Outcome("b", Status.WRITTEN)] == list(outcomes)
    assert (inner.prepared, inner.calls, inner.flushed, inner.finished, inner.store) == ([], [], [], [], {})


def test_foretells_where_it_can() -> None:
    """What the real one knows is what it says."""

    class Knowing(FakeLoader):
        def preview(self, batch: Batch) -> list[Outcome]:
            return [Outcome(document.id, Status.UNCHANGED) for document in batch.documents]

    dry = DryLoader(Knowing())
    assert [Outcome("a", Status.UNCHANGED)] == list(dry.load(batch_of("a")))


def test_has_the_face_of_the_real_one() -> None:
    """Names, the screen and the number in flight are its."""
    inner = FakeLoader(max_in_flight=3, screened=["a"])
    dry = DryLoader(inner)
    assert (dry.max_in_flight, dry.describe(), dry.target_name("c")) == (3, "fake target", "db_c")
    assert dry.screen("a", {}, b"") == inner.screen("a", {}, b"") is not None
    dry.close()
    assert inner.closed
