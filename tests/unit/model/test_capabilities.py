"""What stages can do is declared: wrappers pass it on, a stage that declares nothing works, and nobody guesses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import migrator
from migrator.model import Batch, Extractor, Loader, Outcome, Position, Status, capabilities
from migrator.model.capabilities import Effect, Traits, effect_of, traits_of, unconfirmed_of, with_effect
from migrator.pipeline.wrapper import (
    BisectingLoader,
    ExtractorWrapper,
    LoaderWrapper,
    RetryingExtractor,
    RetryingLoader,
)
from migrator.retry.retrier import Retrier
from tests.support.fakes import FakeExtractor, FakeLoader, batch_of

PACKAGE = Path(migrator.__file__).parent


class AbleExtractor(FakeExtractor):
    """A source that declares what a source can."""

    traits = Traits(couchdb=True, repeatable=False)
    unconfirmed = ("A list may be short.",)
    databases: Mapping[str, str] = {"c": "orders"}

    def describe_position(self, collection: str, position: Position) -> str:
        """As a file's."""
        return f"{collection}:{position}"


class AbleLoader(FakeLoader):
    """A target that declares what a target can."""

    traits = Traits(prefers_sorted=True, writes_files=True)
    unconfirmed = ("A write may be lost.",)

    def survey(self, collection: str) -> int:
        """As a full one's."""
        return 3

    def preview(self, batch: Batch) -> Sequence[Outcome]:
        """As a full one's."""
        return [Outcome(document.id, Status.UNCHANGED) for document in batch.documents]

    def identity(self, collection: str) -> str | None:
        """Its name."""
        return f"mark of {collection}"

    def is_empty(self, collection: str) -> bool:
        """It is."""
        return True


def test_wrappers_pass_on_what_a_source_declares() -> None:
    """However many there are."""
    inner = AbleExtractor({})
    outer = ExtractorWrapper(RetryingExtractor(inner, Retrier()))
    assert isinstance(outer, Extractor)
    assert (outer.traits, outer.databases) == (inner.traits, inner.databases)
    assert outer.unconfirmed == inner.unconfirmed == unconfirmed_of(outer, inner)
    assert outer.describe_position("c", 1) == "c:1"


def test_wrappers_pass_on_what_a_target_declares() -> None:
    """However many there are."""
    inner = AbleLoader()
    outer = BisectingLoader(RetryingLoader(inner, Retrier()))
    assert isinstance(outer, Loader)
    assert (outer.traits, outer.unconfirmed) == (inner.traits, inner.unconfirmed)
    assert (outer.survey("c"), outer.identity("c"), outer.is_empty("c")) == (3, "mark of c", True)
    assert [Outcome("a", Status.UNCHANGED)] == list(outer.preview(batch_of("a")))


def test_a_stage_that_declares_nothing_works() -> None:
    """The protocols alone are enough, as for packages of others."""
    source, target = ExtractorWrapper(FakeExtractor({})), LoaderWrapper(FakeLoader())
    assert (source.traits, target.traits) == (Traits(), Traits())
    assert (source.databases, source.describe_position("c", 1), source.unconfirmed) == ({}, "", ())
    assert (target.survey("c"), target.identity("c"), target.is_empty("c")) == (None, None, False)
    assert [Outcome("a", Status.WRITTEN)] == list(target.preview(batch_of("a")))
    assert traits_of(object()) == Traits()


def test_a_transformer_declares_what_it_does_to_ids() -> None:
    """A function of which nothing is known may do anything to them; no transformer does nothing."""
    assert effect_of(lambda document: document) == Effect()
    assert effect_of(None).keeps_id
    assert effect_of(with_effect(lambda document: document, Effect(keeps_id=True))).keeps_id


@pytest.mark.parametrize(
    "room", ["checkpoint", "convert", "jobs", "loaders", "pipeline", "testing", "verification"]
)
def test_nobody_guesses(room: str) -> None:
    """Neither by an attribute's presence nor by the form of what a stage calls itself."""
    guess = re.compile(r"hasattr\(|getattr\([^()]*, \"[a-z_]+\"|is_server_url\([^\n]*describe\(\)")
    found = {
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in (PACKAGE / room).rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if guess.search(line)
    }
    assert found == set()


def test_every_capability_says_what_it_is() -> None:
    """This is what an author of a plug-in reads."""
    for name, found in vars(capabilities).items():
        if isinstance(found, type) and found.__module__ == capabilities.__name__:
            assert found.__doc__, name
