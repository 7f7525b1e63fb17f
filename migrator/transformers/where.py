r"""Keeps the documents that meet a condition, and filters out the others.

A field that is missing meets no condition but `!field`. Values are compared as the value codec `plain` writes
them, so a datetime is its ISO 8601 text.

- `=` and `!=` compare any two values; 1 equals 1.0, and neither equals true nor "1".
- `<`, `<=`, `>` and `>=` compare two numbers, or two texts by their code points; nothing else meets them.
- `field` alone asks for what is truthy; false, null, 0, "", an empty array and an empty object are not.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from migrator.codec import InvalidDocument, decode_value, plain
from migrator.errors import ConfigError
from migrator.model import Document, Transformer
from migrator.model.capabilities import NO_EFFECT, with_effect
from migrator.transformers.paths import MISSING, Path, get, incomplete, nested, parse_path

# The first operator that no backslash goes before divides field and value.
_CONDITION = re.compile(
    r"(?P<field>(?:\\.|[^\\=<>~!]|!(?!=))+)(?P<operator>!=|<=|>=|=|<|>|~)(?P<value>.*)", re.DOTALL
)
_OPERATOR = re.compile("[=<>~]|!=")
_PLAIN_TYPES = frozenset({str, int, bool, type(None)})
_Test = Callable[[Any], bool]


def where(condition: str) -> Transformer:
    r"""Keep the documents that meet a condition.

    Args:
        condition: `field=value`, with `!=`, `<`, `<=`, `>`, `>=` too; `field~regex`, which is found anywhere in a
            text; `field`, which is there and truthy; `!field`, which is not. A value is JSON where it can be read
            as such, else text. An operator in a field's name is written with a backslash before it.

    Returns:
        The transformer; it gives the document itself, or None.

    Raises:
        ConfigError: the condition cannot be read.
    """
    spec = f"where:{condition}"
    match = _CONDITION.fullmatch(condition)
    if match is None:
        if _OPERATOR.match(condition.removeprefix("!")):
            raise ConfigError(
                f"--transform {spec}: there is no field before the operator.", hint="Write field=value."
            )
        negated = condition.startswith("!")
        path = parse_path(condition.removeprefix("!"), spec)

        test: _Test = bool
    elif match["field"].startswith("!"):
        raise ConfigError(f"--transform {spec}: '!' stands before a comparison.", hint="Write field!=value.")
    else:
        negated = False
        path = parse_path(match["field"], spec)
        test = _regex_test(match["value"], spec) if match["operator"] == "~" else _comparison(match, spec)

    def transform(document: Document) -> Document | None:
        value = get(document, path)
        met = value is not MISSING and test(_plain(value, path))
        return document if met is not negated else None

    return with_effect(transform, NO_EFFECT)


def read_where(argument: str) -> Transformer:
    """The transformer of `where:ARGUMENT`."""
    if not argument:
        raise incomplete("where:", "where:field=value, where:field or where:!field")
    return where(argument)


def read_value(text: str, spec: str) -> Any:
    """A value that the user gave: JSON where it can be read as such, else the text itself.

    Raises:
        ConfigError: it is a number that nothing can hold.
    """
    try:
        return decode_value(text)
    except InvalidDocument as invalid:
        if invalid.error in {"number_out_of_range", "integer_too_long"}:
            raise ConfigError(
                f"--transform {spec}: {text:.30} is beyond what a number can be.",
                hint='Put it into quotes, "...", if it is meant as text.',
            ) from None
        return text


def _regex_test(text: str, spec: str) -> _Test:
    try:
        search = re.compile(text).search
    except re.error as error:
        raise ConfigError(
            f"--transform {spec}: {text!r} is not a regular expression: {error}.",
            hint="The syntax is that of Python's re; put a backslash before a special character.",
        ) from error
    return lambda value: isinstance(value, str) and search(value) is not None


def _comparison(match: re.Match[str], spec: str) -> _Test:
    text = match["value"]
    if match["operator"] == "=" and text.startswith("="):
        raise ConfigError(f"--transform {spec}: there are two '='.", hint="Write field=value.")
    wanted = read_value(text, spec)
    if match["operator"] == "=":
        return lambda value: _equal(value, wanted)
    if match["operator"] == "!=":
        return lambda value: not _equal(value, wanted)
    if not (_is_number(wanted) or isinstance(wanted, str)):
        raise ConfigError(
            f"--transform {spec}: {text} has no order.", hint="Compare with a number or a text, or use = and !=."
        )
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[match["operator"]]
    if _is_number(wanted):
        return lambda value: _is_number(value) and bool(compare(value, wanted))
    return lambda value: isinstance(value, str) and bool(compare(value, wanted))


def _plain(value: Any, path: Path) -> Any:
    if type(value) in _PLAIN_TYPES:
        return value
    # Only so does an error name the field.
    return get(plain(nested(path, value)), path)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(value: Any, wanted: Any) -> bool:
    """Equal as JSON; no deeper than `wanted`, which the user typed."""
    if isinstance(wanted, Mapping):
        return (
            isinstance(value, Mapping)
            and value.keys() == wanted.keys()
            and all(_equal(value[key], wanted[key]) for key in wanted)
        )
    if isinstance(wanted, list):
        return (
            isinstance(value, list)
            and len(value) == len(wanted)
            and all(_equal(item, other) for item, other in zip(value, wanted, strict=True))
        )
    return isinstance(value, bool) is isinstance(wanted, bool) and bool(value == wanted)
