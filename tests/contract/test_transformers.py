"""What every transformer promises, whatever it does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator import transformers
from migrator.config.kinds import KINDS
from migrator.model import Transformer
from migrator.testing import EXAMPLES, TransformerContract, transformed
from migrator.testing.data import read_data
from migrator.testing.transformers import check_case
from tests.property.documents import documents, json_values
from tests.support.exactness import same


def spoiling(document: dict[str, Any]) -> dict[str, Any]:
    """A user's function that writes into what it gets."""
    document["b"] = {"c": 1}
    for value in document.values():
        if isinstance(value, dict):
            value["spoiled"] = True
        elif isinstance(value, list):
            value.clear()
    return document


SPECS = (
    *("id:field=n", "id:field=b.c", "id:template={n}-{b.c}", "id:hash", "id:hash=a,b.c", "id:uuid7"),
    *("rename:a=z", "rename:a=b,b=a", "rename:b.c=b.x", "rename:b.c=top", "rename:a=q.r.s"),
    *("drop:a", "drop:b.c,n", "drop:_id", "keep:a", "keep:b.c,n", "set:a=5", 'set:b.x={"y":[1]}'),
    *("where:a", "where:!a", "where:a=1", "where:b.c!=2", "where:n~x", "where:a>=1", "where:b"),
)
TRANSFORMERS: dict[str, Transformer] = {
    **{spec: transformers.parse(spec, seed=b"seed", started_ms=1) for spec in SPECS},
    "own": transformers.user_function(spoiling, name="own"),
    "composed": transformers.compose(
        [transformers.parse("rename:a=z"), transformers.parse("set:a=1"), transformers.parse("id:hash")]
    ),
}
CASES = read_data("transformers")
# The fields that the transformers name, with any values.
ABOUT = st.fixed_dictionaries(
    {},
    optional={
        "_id": st.text(st.characters(codec="utf-8")),
        "a": json_values,
        "b": st.one_of(json_values, st.dictionaries(st.sampled_from("cdx"), json_values)),
        "n": st.one_of(json_values, st.text(st.characters(codec="utf-8"))),
    },
)


@given(st.one_of(ABOUT, documents, st.builds(lambda one, other: {**one, **other}, documents, ABOUT)))
def test_the_input_is_unchanged_and_the_outcome_always_the_same(document: dict[str, Any]) -> None:
    """A transformer is pure: twice the same, the document as it was, a mapping or None or a TransformError."""
    before = copy.deepcopy(document)
    for name, transform in TRANSFORMERS.items():
        first = transformed(transform, document)
        assert same(document, before), name
        assert transformed(transform, before) == first, name
        assert same(document, before), name


@pytest.mark.parametrize("spec", dict.fromkeys(case["spec"] for case in CASES))
def test_the_cases_of_the_file(spec: str) -> None:
    """What each kind makes of each document, as the file that other languages can read has it."""
    cases = [case for case in CASES if case["spec"] == spec]
    transform = transformers.parse(spec, seed=b"seed", started_ms=1)
    assert len(cases) >= len(EXAMPLES)
    for case in cases:
        check_case(transform, case)


def test_the_file_has_every_kind() -> None:
    """Each row of the table of transformers, but those that need a secret or the user's own module."""
    told = {case["spec"].partition(":")[0] for case in CASES}
    assert told == {kind.word for kind in KINDS} - {"mask", ""}


class TestEvery(TransformerContract):
    """The public cases, for each kind."""

    @pytest.fixture(params=TRANSFORMERS.values(), ids=list(TRANSFORMERS))
    def transform(self, request: pytest.FixtureRequest) -> Transformer:
        """One of them."""
        transform: Transformer = request.param
        return transform

    def test_has_something_to_say_of_a_full_document(self, transform: Transformer) -> None:
        """The document that the other cases use reaches the work itself: none is refused."""
        assert not isinstance(transformed(transform, EXAMPLES[0]), str)
