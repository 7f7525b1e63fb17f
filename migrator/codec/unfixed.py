"""A value that stands in a rejected document for what its source could not give, until somebody changes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from migrator.codec.faults import Path, find_all


class Unfixed(str):
    """A text for people and transformers; `encode` refuses it, so it is never written as it is.

    Whatever is made of it, as by `str()` or `strip()`, is an ordinary text.

    Args:
        raw: what the reject file shows, which need be no text.
    """

    __slots__ = ("raw",)

    raw: Any

    def __new__(cls, raw: Any) -> Unfixed:
        """Make the text of what the source holds."""
        made = super().__new__(cls, "" if raw is None else raw)
        made.raw = raw
        return made


def shown_raw(document: Any) -> tuple[Any, dict[str, Any]]:
    """A document with the raw value in place of each `Unfixed`, and those raw values by JSON Pointer."""
    if not isinstance(document, dict | list):
        return document, {}
    found = [(path, value.raw) for path, value in find_all(document, lambda value: type(value) is Unfixed)]
    return changed(document, found), {_pointer(path): raw for path, raw in found}


def marked_again(document: Any, unfixed: Mapping[str, Any]) -> tuple[Any, str]:
    """The inverse of `shown_raw`, after a person had the document: what was changed is not marked.

    Returns:
        The document, and the pointer of the first value that is unfixed; "" where none is left.
    """
    found: list[tuple[Path, Any]] = []
    first = ""
    for pointer, raw in unfixed.items():
        path = _resolved(document, pointer)
        if path is not None and _same(_at(document, path), raw):
            found.append((path, Unfixed(raw)))
            first = first or pointer
    return changed(document, found), first


def changed(document: Any, values: Iterable[tuple[Path, Any]]) -> Any:
    """A copy of a document with other values at some places; what is not on the way to them is not copied."""
    values = list(values)
    if not values:
        return document
    root = document.copy()
    ours = {id(root)}
    for path, value in values:
        at = root
        for step in path[:-1]:
            if id(at[step]) not in ours:
                at[step] = at[step].copy()
                ours.add(id(at[step]))
            at = at[step]
        at[path[-1]] = value
    return root


def _same(value: Any, raw: Any) -> bool:
    # True is no 1, and 1.0 neither.
    return type(value) is type(raw) and bool(value == raw)


def _pointer(path: Path) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def _resolved(document: Any, pointer: str) -> list[str | int] | None:
    path: list[str | int] = []
    for word in pointer.split("/")[1:]:
        step = word.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and step in document:
            path.append(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            path.append(int(step))
        else:
            return None
        document = document[path[-1]]
    return path or None


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document
