"""What every transformer keeps to, as a class of cases; a test binds one by giving it the transformer.

class TestFoo(TransformerContract):
    @pytest.fixture
    def transform(self) -> Transformer: ...
"""

from __future__ import annotations

import copy
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from migrator.codec import encode
from migrator.errors import TransformError
from migrator.model import Transformer
from migrator.testing.data import read_data, read_ndjson

EXAMPLES: Sequence[Mapping[str, Any]] = read_data("examples")
"""Documents that any transformer must bear; refusing one by a TransformError is bearing it."""


def same(one: Any, other: Any) -> bool:
    """Compare two values in type and value at every depth: 1 is not 1.0, 0.0 not -0.0; the order of keys counts.

    Args:
        one: any JSON value.
        other: any JSON value.

    Returns:
        True where they are the same.
    """
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other) if isinstance(one, float) else bool(one == other)


def transformed(transform: Transformer, document: Mapping[str, Any]) -> Any:
    """Apply a transformer, and give what it makes in a form that can be compared.

    Args:
        transform: the transformer.
        document: what it gets.

    Returns:
        The encoded document, None where it was filtered out, or the text of a refusal.
    """
    try:
        outcome = transform(document)
    except TransformError as error:
        return str(error)
    assert outcome is None or isinstance(outcome, Mapping)
    return None if outcome is None else encode(outcome)


def check_case(transform: Transformer, case: Mapping[str, Any]) -> None:
    """Fail unless a transformer makes of a document what a case says, in type, value and the order of keys.

    Args:
        transform: the transformer.
        case: `document`, and `gives` (None leaves it out) or `refuses` with the reason.
    """
    if "refuses" not in case:
        assert same(transform(case["document"]), case["gives"]), case
        return
    with pytest.raises(TransformError) as caught:
        transform(case["document"])
    assert str(caught.value) == case["refuses"]


class TransformerContract:
    """The cases."""

    @pytest.fixture
    def transform(self) -> Transformer:
        """What the cases are about; each implementation defines its own."""
        raise NotImplementedError

    cases: ClassVar[Path | None] = None
    """NDJSON of what it is to make: `document`, and `gives` (null leaves it out), or `refuses` with the reason."""

    @pytest.fixture
    def documents(self) -> Sequence[Mapping[str, Any]]:
        """Documents to try it on; add some that it has much to do with."""
        return EXAMPLES

    def test_gives_what_its_cases_say(self, transform: Transformer) -> None:
        """For each line of the file."""
        for case in read_ndjson(self.cases) if self.cases else ():
            check_case(transform, case)

    def test_leaves_its_input_as_it_was(
        self, transform: Transformer, documents: Sequence[Mapping[str, Any]]
    ) -> None:
        """The caller's document comes out as it went in, at every depth, whatever was made of it."""
        for document in documents:
            given = copy.deepcopy(dict(document))
            transformed(transform, given)
            assert same(given, dict(document))

    def test_gives_the_same_again(self, transform: Transformer, documents: Sequence[Mapping[str, Any]]) -> None:
        """Equal documents have equal outcomes, in any order: a resumed run makes what the first would have."""
        first = [transformed(transform, copy.deepcopy(dict(document))) for document in documents]
        again = [transformed(transform, copy.deepcopy(dict(document))) for document in reversed(documents)]
        assert first == again[::-1]

    def test_takes_mappings_that_are_no_dicts(
        self, transform: Transformer, documents: Sequence[Mapping[str, Any]]
    ) -> None:
        """Read-only mappings, at every level, give what dicts give."""
        for document in documents:
            assert transformed(transform, _frozen(document)) == transformed(transform, dict(document))

    def test_hands_out_no_other_name_for_its_input(
        self, transform: Transformer, documents: Sequence[Mapping[str, Any]]
    ) -> None:
        """The outcome can be changed at its top without reaching the input, unless it is the very same."""
        for document in documents:
            given = copy.deepcopy(dict(document))
            try:
                outcome = transform(given)
            except TransformError:
                continue
            if outcome is not None and outcome is not given:
                assert isinstance(outcome, dict)
                outcome["a"] = "changed"
                outcome.pop("b", None)
            assert same(given, dict(document))


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return types.MappingProxyType({key: _frozen(item) for key, item in value.items()})
    return [_frozen(item) for item in value] if isinstance(value, list) else value
