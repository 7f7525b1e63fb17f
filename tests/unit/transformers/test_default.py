"""The transformer that fills in what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.errors import ConfigError, TransformError
from migrator.model import Transformer
from migrator.model.capabilities import effect_of
from migrator.testing import TransformerContract
from migrator.transformers import parse


class TestDefault(TransformerContract):
    """What every transformer promises."""

    @pytest.fixture(params=["default:a=1", 'default:b.x={"y":[1]}', "default:new=text"])
    def transform(self, request: pytest.FixtureRequest) -> Transformer:
        """One of them."""
        return parse(request.param)


@pytest.mark.parametrize(
    ("spec", "document", "expected"),
    [
        ("default:a=1", {"_id": "x"}, {"_id": "x", "a": 1}),
        ("default:a=1", {"a": 2}, {"a": 2}),
        ("default:a=1", {"a": None}, {"a": None}),
        ("default:a.b=yes", {"a": {}}, {"a": {"b": "yes"}}),
        ("default:a.b=yes", {}, {"a": {"b": "yes"}}),
        (r"default:a\.b=1", {}, {"a.b": 1}),
    ],
)
def test_fills_in_what_is_missing(spec: str, document: dict[str, Any], expected: dict[str, Any]) -> None:
    """And nothing else: null is a value."""
    assert parse(spec)(document) == expected


def test_says_what_is_wrong() -> None:
    """A value on the way that is not an object, and a SPEC without a value."""
    with pytest.raises(TransformError, match="a is not an object"):
        parse("default:a.b=1")({"a": 5})
    with pytest.raises(ConfigError) as caught:
        parse("default:a")
    assert "default:field=VALUE" in str(caught.value.hint)


def test_keeps_ids_unless_it_gives_one() -> None:
    """So that documents in order stay in order."""
    assert effect_of(parse("default:a=1")).keeps_id
    assert not effect_of(parse("default:_id=1")).keeps_id
