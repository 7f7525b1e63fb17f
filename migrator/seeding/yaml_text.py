"""Reads YAML as JSON values, by the core schema of YAML 1.2: `NO` is a text, and so is a date."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from migrator.extras import extra
from migrator.seeding.problems import Place
from migrator.seeding.texts import Malformed

with extra("seed", what="A YAML fixture"):
    import yaml

_PREFIX = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset({"null", "bool", "int", "float", "timestamp", "str", "merge", "value"})
_PLAIN_INTEGER = re.compile(r"0|[-+]?[1-9][0-9]*")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"([-+]?\.(inf|Inf|INF))|\.(nan|NaN|NAN)")
_CONSTANTS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_CONSTANTS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# Aliases can make a small file stand for more than any machine holds.
MAX_VALUES = 5_000_000
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlText(NamedTuple):
    """A YAML file."""

    file: str
    root: Any

    def place(self, path: Sequence[str | int] = ()) -> Place:
        """The line of a value."""
        node = self.root
        for step in path:
            inner: Any = None
            if isinstance(node, yaml.MappingNode):
                inner = next((value for key, value in node.value if key.value == step), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                inner = node.value[step]
            if inner is None:
                break
            node = inner
        return _place(self.file, node.start_mark) if node is not None else Place(self.file)


def read_yaml(file: str, data: bytes) -> tuple[Any, YamlText]:
    """Read a YAML file of one document.

    Raises:
        Malformed: it is no YAML, has a key twice, or holds what JSON cannot hold.
    """
    try:
        node = yaml.compose(data, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _place(file, mark) if mark else Place(file)
        raise Malformed(place, f"invalid YAML: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        offset = getattr(error, "position", 0)
        line = data[:offset].count(b"\n") + 1
        raise Malformed(Place(file, line), f"invalid YAML: {getattr(error, 'reason', error)}.") from None
    except RecursionError:
        raise Malformed(Place(file), "invalid YAML: it is nested too deeply.") from None
    if node is None:
        return None, YamlText(file, None)
    return _Reading(file).value(node), YamlText(file, node)


class _Reading:
    def __init__(self, file: str) -> None:
        self._file = file
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: Any) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._malformed(node, f"its aliases stand for more than {MAX_VALUES:,} values")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise self._malformed(node, "an alias stands for something that holds it")
        if node.tag not in {f"{_PREFIX}map", f"{_PREFIX}seq"}:
            raise self._malformed(node, f"the tag {node.tag} has no form in JSON")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item) for item in node.value]
            return self._mapping(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: Any) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._malformed(key_node, "a key is no text")
            key = key_node.value
            if key == "<<" and not key_node.style:
                self._merge(merged, value_node)
                continue
            if key in made:
                raise self._malformed(key_node, f"duplicate id or key {key!r} in one mapping")
            made[key] = self.value(value_node)
        return {**{key: value for key, value in merged.items() if key not in made}, **made}

    def _merge(self, merged: dict[str, Any], node: Any) -> None:
        values = [self.value(item) for item in node.value] if isinstance(node, yaml.SequenceNode) else []
        for value in values or [self.value(node)]:
            if not isinstance(value, dict):
                raise self._malformed(node, "'<<' merges what is no mapping")
            for key, item in value.items():
                merged.setdefault(key, item)

    def _scalar(self, node: Any) -> Any:
        text: str = node.value
        tag = node.tag.removeprefix(_PREFIX)
        if tag not in _SCALAR_TAGS:
            raise self._malformed(node, f"the tag {node.tag} has no form in JSON")
        # The loader resolves plain texts by older rules; what it calls a text in spite of them was tagged so.
        tagged = tag == "str" and (text in _CONSTANTS or _PLAIN_INTEGER.fullmatch(text))
        if tag == "str" and (node.style or tagged):
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            value = float(text)
            if math.isfinite(value):
                return value
        elif not _NO_NUMBER.fullmatch(text):
            return text
        raise self._malformed(node, f"{text} is no number that JSON can hold")

    def _malformed(self, node: Any, reason: str) -> Malformed:
        return Malformed(_place(self._file, node.start_mark), f"invalid YAML: {reason}.")


def _place(file: str, mark: Any) -> Place:
    return Place(file, mark.line + 1)
