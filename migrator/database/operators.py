"""What each operator of a Mango selector asks of one value that is there."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from migrator.database.collation import compare, identical, json_value, kind_of
from migrator.errors import DatabaseError

Test = Callable[[Any], bool]
Comparison = Callable[[Any, Any], int | None]

NEGATED = {"$lt": "$gte", "$lte": "$gt", "$eq": "$ne", "$in": "$nin"}
NEGATED |= {opposite: operator for operator, opposite in NEGATED.items()}
"""Each operator that has an opposite, with it."""


def invalid(rule: str, found: object) -> DatabaseError:
    """The error for what stands in a selector and may not."""
    return DatabaseError(
        f"The selector cannot be used: {rule}, and this is {found!r:.100}.",
        hint="See docs.couchdb.org, under Find, for the selector's syntax.",
    )


def _ordered(accepted: Callable[[int], bool]) -> Callable[[Any, Comparison], Test]:
    def with_argument(argument: Any, compared: Comparison) -> Test:
        def test(value: Any) -> bool:
            result = compared(value, argument)
            return result is not None and accepted(result)

        return test

    return with_argument


def _within(argument: Any, compared: Comparison) -> Test:
    wanted = _list("$in", argument)

    def test(value: Any) -> bool:
        # Of an array each element is looked at, and not the whole.
        values = value if isinstance(value, list | tuple) else [value]
        return any(compared(one, other) == 0 for other in wanted for one in values)

    return test


def _outside(argument: Any, compared: Comparison) -> Test:
    within = _within(_list("$nin", argument), compared)
    return lambda value: not within(value)


COMPARISONS: Mapping[str, Callable[[Any, Comparison], Test]] = {
    "$lt": _ordered(lambda result: result < 0),
    "$lte": _ordered(lambda result: result <= 0),
    "$eq": _ordered(lambda result: result == 0),
    "$ne": _ordered(lambda result: result != 0),
    "$gte": _ordered(lambda result: result >= 0),
    "$gt": _ordered(lambda result: result > 0),
    "$in": _within,
    "$nin": _outside,
}
"""Operators that compare, by an order that depends on the field."""


def _exists(argument: Any) -> Test:
    if not isinstance(argument, bool):
        raise invalid("$exists takes true or false", argument)
    # Whether the field is missing is known before.
    return lambda _: argument


def _type(argument: Any) -> Test:
    name = _text("$type", argument)
    return lambda value: kind_of(value) == name


def _all(argument: Any) -> Test:
    wanted = _list("$all", argument)

    def test(value: Any) -> bool:
        if not wanted or not isinstance(value, list | tuple):
            return False
        whole = len(wanted) == 1 and isinstance(wanted[0], list) and compare(value, wanted[0]) == 0
        return whole or all(any(identical(item, one) for item in value) for one in wanted)

    return test


def _size(argument: Any) -> Test:
    if not _is_integer(argument) or argument < 0:
        raise invalid("$size takes a count", argument)
    return lambda value: isinstance(value, list | tuple) and len(value) == argument


def _mod(argument: Any) -> Test:
    pair = list(argument) if isinstance(argument, list | tuple) else []
    if len(pair) != 2 or not all(map(_is_integer, pair)) or pair[0] == 0:
        raise invalid("$mod takes a divisor that is not 0 and a remainder, both integers", argument)
    divisor, remainder = pair

    def test(value: Any) -> bool:
        # The remainder has the sign of the value, as in Erlang and C.
        if not _is_integer(value):
            return False
        rest = abs(value) % abs(divisor)
        return bool((-rest if value < 0 else rest) == remainder)

    return test


def _regex(argument: Any) -> Test:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            # On bytes, as the server does: a dot is one byte, and \w knows ASCII alone.
            pattern = re.compile(_text("$regex", argument).encode("utf-8", "surrogatepass"))
    except re.error as error:
        raise invalid(f"$regex takes a regular expression ({error})", argument) from None

    return _of_text(lambda text: pattern.search(text.encode("utf-8", "surrogatepass")) is not None)


def _begins_with(argument: Any) -> Test:
    begin = _text("$beginsWith", argument)

    return _of_text(lambda text: text.startswith(begin))


def _of_text(matches: Callable[[str], bool]) -> Test:
    def test(value: Any) -> bool:
        value = json_value(value)
        return isinstance(value, str) and matches(value)

    return test


TESTS: Mapping[str, Callable[[Any], Test]] = {
    "$exists": _exists,
    "$type": _type,
    "$all": _all,
    "$size": _size,
    "$mod": _mod,
    "$regex": _regex,
    "$beginsWith": _begins_with,
}
"""All other operators of one value."""


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list(operator: str, argument: Any) -> list[Any]:
    if not isinstance(argument, list | tuple):
        raise invalid(f"{operator} takes an array", argument)
    return list(argument)


def _text(operator: str, argument: Any) -> str:
    if not isinstance(argument, str):
        raise invalid(f"{operator} takes a text", argument)
    return argument
