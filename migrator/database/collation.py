"""The order in which CouchDB sorts JSON values: null, false, true, numbers, strings, arrays, objects.

Strings are compared as the Unicode Collation Algorithm does: `a < A < b`, accents count after letters, control
characters not at all. ASCII and accented Latin letters sort exactly as on the server. Other scripts sort by code
point within their kind of character, which agrees for most pairs and is not promised.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from migrator.codec import Unencodable, plain

_Key = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, ...], ...], tuple[tuple[int, int], ...]]

_NULL, _FALSE, _TRUE, _NUMBER, _STRING, _ARRAY, _OBJECT = range(7)
# Erlang's own order of types, which CouchDB uses for `_id`: numbers, atoms, objects, arrays, strings.
_RAW_RANKS = {_NUMBER: 0, _FALSE: 1, _NULL: 2, _TRUE: 3, _OBJECT: 4, _ARRAY: 5, _STRING: 6}

_SPACES = "\t\n\x0b\f\r\x85\u2028\u2029 "
_PUNCTUATION = "_-,;:!?.'\"()[]{}@*/\\&#%"
_SYMBOLS = "`^+<=>|~$"
_ORDER = {char: number for number, char in enumerate(_SPACES + _PUNCTUATION + _SYMBOLS)}
# Accents sort so, the most usual of Latin letters; all others after them.
_ACCENTS = {
    char: number
    for number, char in enumerate(
        "\u0301\u0300\u0306\u0302\u030c\u030a\u0308\u030b\u0303\u0307\u0338\u0327\u0328\u0304\u0335"
    )
}
# Letters of their own right after another one.
_AFTER = {"ð": "d", "ħ": "h", "\u0131": "i", "ŋ": "n", "ĸ": "q", "ŧ": "t"}
# Letters that sort as others do, although Unicode does not take them apart.
_AS_OTHERS = {"æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ß": "ss", "ẞ": "SS"} | {
    "ø": "o\u0338",
    "Ø": "O\u0338",
    "đ": "d\u0335",
    "Đ": "D\u0335",
    "ł": "l\u0335",
    "Ł": "L\u0335",
}
_CLASSES = {"Z": 0, "P": 1, "S": 2, "N": 3, "L": 4}


def kind_of(value: Any) -> str | None:
    """The name of a value's JSON type as `$type` has it; None for what JSON cannot hold."""
    rank = _rank(json_value(value))
    if rank is None:
        return None
    return ("null", "boolean", "boolean", "number", "string", "array", "object")[rank]


def json_value(value: Any) -> Any:
    """The value as CouchDB would hold it: a date is a text there. What has no JSON form is given back as it is."""
    if value is None or isinstance(value, str | int | float | list | Mapping):
        return value
    try:
        return plain(value)
    except Unencodable:
        return value


def compare(one: Any, other: Any) -> int | None:
    """Below 0, 0 or above 0, as CouchDB sorts the two; None where one of them is not a JSON value.

    >>> compare("a", "B"), compare("A", "a"), compare(None, 0), compare({}, [9]), compare(1, 1.0)
    (-1, 1, -1, 1, 0)
    """
    one, other = json_value(one), json_value(other)
    rank, other_rank = _rank(one), _rank(other)
    if rank is None or other_rank is None:
        return None
    if rank != other_rank:
        return _sign(rank, other_rank)
    if rank == _NUMBER:
        return _sign(one, other)
    if rank == _STRING:
        return 0 if one == other else _sign(string_key(one), string_key(other))
    if rank == _ARRAY:
        return _compare_all(list(one), list(other))
    if rank == _OBJECT:
        # The order of the keys counts, as it does on the server.
        return _compare_all([part for item in one.items() for part in item], _parts(other))
    return 0


def compare_raw(one: Any, other: Any) -> int | None:
    """As `compare`, in the order that CouchDB has for ids: strings by their bytes, and above all else."""
    rank, other_rank = _rank(one), _rank(other)
    if rank is None or other_rank is None:
        return None
    if rank == other_rank == _STRING:
        return _sign(one, other)
    return _sign(_RAW_RANKS[rank], _RAW_RANKS[other_rank]) or compare(one, other)


def identical(one: Any, other: Any) -> bool:
    """True for the same value of the same type: 1 and 1.0 are two, and so are `é` in its two spellings."""
    one, other = json_value(one), json_value(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return identical(_parts(one), _parts(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(identical, one, other))
    return type(one) is type(other) and bool(one == other)


@lru_cache(maxsize=8192)
def string_key(text: str) -> _Key:
    """What strings are sorted by: letters first, then accents, then case."""
    primary: list[tuple[int, int]] = []
    accents: list[tuple[int, ...]] = []
    variants: list[tuple[int, int]] = []
    for whole in unicodedata.normalize("NFD", text):
        parts = _AS_OTHERS.get(whole) or _taken_apart(whole)
        compatible = parts != whole and whole not in _AS_OTHERS
        for char in parts:
            category = unicodedata.category(char)
            if category[0] == "M":
                accents.append((1, _ACCENTS.get(char, ord(char))))
            elif category[0] != "C" or char in _ORDER or category in {"Co", "Cn", "Cs"}:
                lower = char.lower() if len(char.lower()) == 1 else char
                primary.append(_weight(lower, category))
                accents.append((0,))
                variants.append((int(compatible) * 2 + int(lower != char), ord(whole) if compatible else 0))
    return tuple(primary), tuple(accents), tuple(variants)


def _taken_apart(char: str) -> str:
    # A digit that stands higher is a digit; an accent that stands alone is not a space.
    return unicodedata.normalize("NFKD", char) if unicodedata.category(char)[0] in "LN" else char


def _weight(char: str, category: str) -> tuple[int, int]:
    if char in _ORDER:
        kind = 0 if char in _SPACES else 1 if char in _PUNCTUATION else 2
        return kind, _ORDER[char]
    if category == "Nd":
        return 3, unicodedata.digit(char)
    # What is not of ASCII comes after what is, within its kind.
    after = _AFTER.get(char)
    return _CLASSES.get(category[0], 5), 2 * ord(after or char) + 100 + int(after is not None)


def _rank(value: Any) -> int | None:
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int | float | Decimal):
        return _NUMBER
    if isinstance(value, str):
        return _STRING
    if isinstance(value, list | tuple):
        return _ARRAY
    return _OBJECT if isinstance(value, Mapping) else None


def _parts(mapping: Mapping[Any, Any]) -> list[Any]:
    return [part for item in mapping.items() for part in item]


def _compare_all(ones: list[Any], others: list[Any]) -> int | None:
    for one, other in zip(ones, others, strict=False):
        if result := compare(one, other):
            return result
        if result is None:
            return None
    return _sign(len(ones), len(others))


def _sign(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)
