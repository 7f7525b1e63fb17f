"""Copies that share nothing with the original."""

from __future__ import annotations

import enum
import types
from collections import OrderedDict
from datetime import date
from typing import Any

from hypothesis import given

from migrator.codec.deep import detached
from tests.property.documents import json_values
from tests.support.exactness import same


class Colour(enum.Enum):
    """A member is itself wherever it stands."""

    RED = ["x"]  # noqa: RUF012 a member whose value could be changed is the case


def containers(value: Any) -> set[int]:
    """The identities of all dicts and lists in a value."""
    found: set[int] = set()
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict | list):
            found.add(id(item))
            pending.extend(item.values() if isinstance(item, dict) else item)
    return found


@given(json_values)
def test_a_copy_is_the_same_and_shares_no_container(value: Any) -> None:
    """Equal in value, type and order, and no dict or list of it is one of the original's."""
    copied = detached(value)
    assert same(copied, value)
    assert containers(copied).isdisjoint(containers(value))


def test_mappings_become_dicts_and_members_stay_themselves() -> None:
    """What can be written to is new; what cannot change is not copied."""
    day = date(2024, 1, 1)
    copied = detached(types.MappingProxyType({"a": OrderedDict(b=[day, Colour.RED]), "s": {1}}))
    assert same(copied, {"a": {"b": [day, Colour.RED]}, "s": {1}})
    assert copied["a"]["b"][0] is day
    assert copied["a"]["b"][1] is Colour.RED
