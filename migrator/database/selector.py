"""Mango selectors, as CouchDB's `_find` understands them, for documents in memory; and what a query may ask.

Where the server is strict, so is this: a field that is missing matches nothing but `{"$exists": false}`, also
under `$ne` and `$not`; an array is equal to an array alone, but `$in` looks into it; and `1` equals `1.0`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from migrator.codec import Unencodable, decode, encode
from migrator.database.collation import compare, compare_raw
from migrator.database.operators import COMPARISONS, NEGATED, TESTS, Test, invalid
from migrator.errors import DatabaseError

_DOT = re.compile(r"(?<!\\)\.")
_INDEX = re.compile(r"[+-]?[0-9]+", re.ASCII)

ABSENT = object()
"""There is no such field in an object that is there."""

NO_PATH = object()
"""The path goes through something that is neither an object nor an array of that length."""

Predicate = Callable[[Any], bool]


class _NeverMatches(Exception):
    """The server fails at this part, and takes the whole array as one that does not match."""


def matcher(selector: Mapping[str, Any]) -> Predicate:
    """A function that says whether a document matches.

    >>> matches = matcher({"age": {"$gte": 18}, "tags": {"$in": ["new"]}})
    >>> matches({"age": 20, "tags": ["new"]}), matches({"age": "20"}), matches({"age": 7, "tags": ["new"]})
    (True, False, False)

    Raises:
        DatabaseError: the selector cannot be used.
    """
    if not isinstance(selector, Mapping):
        raise invalid("a selector is an object", selector)
    if not selector:
        return lambda _document: True
    if _is_empty(selector):
        return lambda _document: False
    if any(key == "" or (key in COMPARISONS or key in TESTS or key in _ELEMENTS) for key in selector):
        raise DatabaseError(
            "The selector has a condition without a field's name.", hint='Write {"field": {"$gt": 1}}.'
        )
    return _built(selector, (), negated=False, inside=False)


def found_in(
    documents: Iterable[Mapping[str, Any]], selector: Mapping[str, Any], fields: Sequence[str], limit: int | None
) -> list[dict[str, Any]]:
    """What `find` gives of these documents; the values in them are not copied.

    Args:
        documents: in the order in which they are to be found.
        selector: the condition.
        fields: dotted paths of what to give of each; all of it where there are none.
        limit: at most so many; all where None.

    Raises:
        DatabaseError: the selector or a path cannot be used.
    """
    matches, paths = matcher(selector), [parse_path(field) for field in fields]
    found = (document for document in documents if matches(document))
    return [projected(document, paths) if paths else dict(document) for document in islice(found, limit)]


def _built(condition: Any, path: tuple[str, ...], *, negated: bool, inside: bool) -> Predicate:
    """One part of a selector.

    Args:
        condition: the part.
        path: the names of the fields that it stands below.
        negated: the opposite is wanted. At the top the server turns every operator into its opposite, so that a
            missing field still matches nothing.
        inside: within an array's condition, where the server negates the result instead.
    """
    if not isinstance(condition, Mapping) or not condition:
        return _leaf("$eq", condition, path, negated=negated)
    if len(condition) > 1:
        parts = [_built({key: value}, path, negated=negated, inside=inside) for key, value in condition.items()]
        return _any(parts) if negated else _all(parts)
    ((key, value),) = condition.items()
    if not isinstance(key, str):
        raise invalid("a field's name is a text", key)
    if key in {"$and", "$or", "$nor"}:
        return _combined(key, value, path, negated=negated, inside=inside)
    if key == "$not":
        if not isinstance(value, Mapping):
            raise invalid("$not takes an object", value)
        if not inside:
            return _built(value, path, negated=not negated, inside=False)
        inner = _built(value, path, negated=False, inside=True)
        return lambda document: not inner(document)
    if key in _ELEMENTS:
        if not isinstance(value, Mapping):
            raise invalid(f"{key} takes an object", value)
        inner = _built(value, (), negated=False, inside=True)
        return _at(path, _ELEMENTS[key](inner), negated=negated)
    if key.startswith("$"):
        return _leaf(key, value, path, negated=negated)
    return _built(value, (*path, key), negated=negated, inside=inside)


def _combined(key: str, value: Any, path: tuple[str, ...], *, negated: bool, inside: bool) -> Predicate:
    if not isinstance(value, list | tuple):
        raise invalid(f"{key} takes an array", value)
    nor = key == "$nor"
    if nor and inside:
        return _never
    parts = [_built(part, path, negated=negated != nor, inside=inside) for part in value]
    if not parts:
        # Below other conditions the server takes each of them as one that always matches.
        return lambda _document: True
    return _any(parts) if (key == "$or") != negated else _all(parts)


def _leaf(operator: str, argument: Any, path: tuple[str, ...], *, negated: bool) -> Predicate:
    if negated and operator == "$exists" and isinstance(argument, bool):
        argument, negated = not argument, False
    elif negated and operator in NEGATED:
        operator, negated = NEGATED[operator], False
    compared = compare_raw if path == ("_id",) else compare
    if operator in COMPARISONS:
        test: Test = COMPARISONS[operator](argument, compared)
    elif operator in TESTS:
        test = TESTS[operator](argument)
    else:
        known = sorted([*COMPARISONS, *TESTS, *_ELEMENTS, "$and", "$or", "$nor", "$not"])
        raise DatabaseError(
            f"The selector has the operator {operator!r:.60}, which is not known here.",
            hint=f"Known are: {', '.join(known)}.",
        )
    absent = operator == "$exists" and argument is False
    return _at(path, test, negated=negated, absent=absent)


def _at(path: tuple[str, ...], test: Test, *, negated: bool, absent: bool = False) -> Predicate:
    steps = tuple(step for name in path for step in parse_path(name))

    def matches(document: Any) -> bool:
        value = value_at(document, steps)
        if value is ABSENT:
            return absent
        return value is not NO_PATH and test(value) != negated

    return matches


def _all(parts: Sequence[Predicate]) -> Predicate:
    return lambda document: all(part(document) for part in parts)


def _any(parts: Sequence[Predicate]) -> Predicate:
    return lambda document: any(part(document) for part in parts)


def _is_empty(condition: Any) -> bool:
    # Without any condition the server walks through an empty part of its index, and finds nothing.
    while isinstance(condition, Mapping) and len(condition) == 1:
        ((key, condition),) = condition.items()
        if key in {"$and", "$or", "$nor"}:
            return isinstance(condition, list | tuple) and not condition
        if key in _ELEMENTS:
            return False
    return False


def _never(_: Any) -> bool:
    raise _NeverMatches


def _items(judge: Callable[[Iterable[bool]], bool], inner: Predicate) -> Test:
    def test(value: Any) -> bool:
        try:
            return isinstance(value, list | tuple) and len(value) > 0 and judge(inner(item) for item in value)
        except _NeverMatches:
            return False

    return test


def _keys(inner: Predicate) -> Test:
    found = _items(any, inner)
    return lambda value: isinstance(value, Mapping) and found(list(value))


_ELEMENTS: Mapping[str, Callable[[Predicate], Test]] = {
    "$elemMatch": partial(_items, any),
    "$allMatch": partial(_items, all),
    "$keyMapMatch": _keys,
}


def parse_path(field: str) -> tuple[str, ...]:
    r"""The steps of a path; a dot after a backslash belongs to the name.

    >>> parse_path("address.city"), parse_path(r"www\.example.hits")
    (('address', 'city'), ('www.example', 'hits'))

    Raises:
        DatabaseError: a step is empty.
    """
    steps = tuple(step.replace("\\", "") for step in _DOT.split(field))
    if "" in _DOT.split(field):
        raise DatabaseError(
            f"{field!r:.100} is not a field's path: a step of it is empty.",
            hint="Write field.field; a dot that belongs to a name is written \\.",
        )
    return steps


def value_at(value: Any, steps: Sequence[str]) -> Any:
    """What a path leads to, or ABSENT, or NO_PATH; in an array a step is a number from 0."""
    for step in steps:
        if isinstance(value, Mapping):
            if step not in value:
                return ABSENT
            value = value[step]
        elif isinstance(value, list | tuple) and _INDEX.fullmatch(step) and 0 <= int(step) < len(value):
            value = value[int(step)]
        else:
            return NO_PATH
    return value


def projected(document: Mapping[str, Any], paths: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Only these fields of a document; what it lacks is left out."""
    found: dict[str, Any] = {}
    for steps in paths:
        value = value_at(document, steps)
        if value is ABSENT or value is NO_PATH:
            continue
        place = found
        for step in steps[:-1]:
            inner = place.get(step)
            place[step] = dict(inner) if isinstance(inner, Mapping) else {}
            place = place[step]
        place[steps[-1]] = value
    return found


def check_find(
    selector: object, fields: Sequence[str] | None, limit: int | None
) -> tuple[dict[str, Any], list[str], int | None]:
    """What `find` is asked, as JSON can hold it; of the fields `_id` is the first, and none stand for all.

    Raises:
        DatabaseError: the selector is not an object, a field is not a name, or the limit is not a count.
    """
    if not isinstance(selector, Mapping):
        raise DatabaseError(
            f"{selector!r:.100} cannot be used: a selector is an object.", hint='Write {"field": "value"}.'
        )
    try:
        wanted = dict(decode(encode({"selector": selector}))["selector"])
    except Unencodable as error:
        raise DatabaseError(
            f"The selector cannot be used: {error.reason}.", hint="Make a JSON value of it."
        ) from None
    if fields and (isinstance(fields, str) or not all(isinstance(each, str) and each for each in fields)):
        raise DatabaseError(f"{fields!r:.100} are not fields.", hint='Give a list of names: ["name"].')
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise DatabaseError(f"The limit {limit!r:.50} is not a count.", hint="Give a number from 0, or None.")
    return wanted, list(dict.fromkeys(["_id", *fields])) if fields else [], limit


def check_index_fields(fields: Sequence[Any]) -> list[Any]:
    """The fields of an index, when they can be ones.

    Raises:
        DatabaseError: they cannot.
    """
    if isinstance(fields, list | tuple) and fields:
        plain = [next(iter(each), "") if isinstance(each, Mapping) else each for each in fields]
        if all(isinstance(each, str) and each for each in plain):
            return list(fields)
    raise DatabaseError(f"{fields!r:.100} are not fields of an index.", hint='Give a list of names: ["name"].')
