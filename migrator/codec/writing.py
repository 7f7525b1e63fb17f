"""Writes documents as JSON, one line each. Nothing is guessed: what has no declared form makes it unencodable."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from json import JSONEncoder
from typing import Any

import orjson

from migrator.codec import deep
from migrator.codec.faults import Refusal, Unencodable, find, has_surrogate, path_text, shown, type_name
from migrator.codec.rejected import Unfixed
from migrator.codec.values import PLAIN, Tag, Unordered, ValueCodec, escaped_key

BOOKKEEPING = frozenset({"_rev", "_revisions", "_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq"})
"""CouchDB's own top-level fields of one copy of a document; they are never part of what is carried."""

_OPTIONS = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
# What is written here was rebuilt just before, so it holds no cycle.
_ENCODER = JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"))
_SORTING = JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), sort_keys=True
)
_SCALARS = frozenset({str, int, bool, type(None)})
_CONTAINERS = frozenset({dict, list, Tag, Unordered})


def encode(document: Mapping[str, Any], values: ValueCodec = PLAIN) -> bytes:
    r"""Write one document as one line of UTF-8 JSON, `_id` first, without CouchDB's bookkeeping.

    >>> encode({"name": "Zoë", "_rev": "1-a", "_id": "z"})
    b'{"_id":"z","name":"Zo\xc3\xab"}'

    Args:
        document: any mapping; it stays as it is.
        values: how to write what JSON lacks.

    Returns:
        The text as UTF-8, without a line break.

    Raises:
        Unencodable: it holds what JSON cannot hold and `values` does not convert; the reason names the place.
    """
    fields = _fields(document)
    if not BOOKKEEPING.isdisjoint(fields):
        fields = {key: value for key, value in fields.items() if key not in BOOKKEEPING}
    if "_id" in fields and next(iter(fields)) != "_id":
        fields = {"_id": fields["_id"], **fields}
    if values.native is not None:
        try:
            return orjson.dumps(fields, values.native, _OPTIONS)
        except orjson.JSONEncodeError as error:
            # A Ctrl-C while a value was converted is not a fault of the value.
            if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
                raise error.__cause__ from None
    return _utf8(normalise(fields, values), _ENCODER)


def canonical(value: Any, values: ValueCodec = PLAIN) -> bytes:
    """The one JSON text of a value, for digests: keys sorted by code points at every level, no spaces.

    Floats are spelled as Python does, so the text is the same in every version of this library.

    Args:
        value: any value that `values` can write.
        values: how to write what JSON lacks.

    Returns:
        The text as UTF-8.

    Raises:
        Unencodable: as for encode.
    """
    return _utf8(normalise(value, values), _SORTING)


def content_hash(value: Any) -> str:
    """The id of a document that has no other: the SHA-256 of its canonical text.

    Args:
        value: any value that the codec `plain` can write.

    Returns:
        64 hexadecimal digits.

    Raises:
        Unencodable: as for encode.
    """
    return hashlib.sha256(canonical(value)).hexdigest()


def plain(value: Any) -> Any:
    """Convert a value as the codec `plain` writes it.

    Args:
        value: any value.

    Returns:
        The value as JSON holds it: dict, list, str, int, float, bool and None.

    Raises:
        Unencodable: as for encode.
    """
    return normalise(value, PLAIN)


def normalise(value: Any, values: ValueCodec) -> Any:
    """Rebuild a value of any depth from dict, list, str, int, float, bool and None, by a value codec.

    Raises:
        Unencodable: a value has no declared form, a key is not a string, or a container holds itself.
    """
    return _Walk(values).run(value)


class Frame:
    """A container on the way down: what is left of it, what it became, and where in it we are.

    It keeps its source alive, so that no other object gets its identity.
    """

    __slots__ = ("items", "source", "step", "target", "verbatim")

    def __init__(self, source: object, container: Any) -> None:
        self.source = source
        self.step: Any = 0
        self.target: Any
        self.items: Iterator[tuple[Any, Any]]
        self.verbatim = type(container) is Tag
        if isinstance(container, dict):
            self.items = iter(container.items())
            self.target = {}
        else:
            self.items = enumerate(container)
            self.target = Unordered() if type(container) is Unordered else []

    def put(self, value: Any) -> None:
        """Put a value where we are."""
        if type(self.target) is dict:
            self.target[self.step] = value
        else:
            self.target.append(value)


class _Walk:
    """One rebuilding. Python's own recursion would end at a thousand levels."""

    def __init__(self, values: ValueCodec) -> None:
        self._convert = values.convert
        self._escape = values.escape
        self._frames: list[Frame] = []
        self._active: set[int] = set()

    def run(self, root: Any) -> Any:
        self._frames.append(Frame(None, [root]))
        while True:
            frame = self._frames[-1]
            inner = self._fill(frame)
            if inner is not None:
                self._frames.append(inner)
                continue
            self._frames.pop()
            done = frame.target
            if type(done) is Unordered:
                done = sorted(done, key=lambda item: deep.write(item, _SORTING))
            if not self._frames:
                return done[0]
            self._active.discard(id(frame.source))
            self._frames[-1].put(done)

    def _fill(self, frame: Frame) -> Frame | None:
        """Take over what is left of a container, up to the next container in it, which is given back."""
        target = frame.target
        keyed = type(target) is dict
        for step, item in frame.items:
            frame.step = step
            if keyed and (type(step) is not str or (self._escape and not frame.verbatim)):
                frame.step = self._key(step, frame)
            kind = type(item)
            if kind in _SCALARS or (kind is float and math.isfinite(item)):
                value = item
            else:
                value = self._converted(item)
                if type(value) in _CONTAINERS:
                    return self._open(item, value)
            if keyed:
                target[frame.step] = value
            else:
                target.append(value)
        return None

    def _open(self, source: object, container: Any) -> Frame:
        if id(source) in self._active:
            raise self._unencodable(
                "circular", "leads back to a container that it lies in, so its JSON would have no end"
            )
        self._active.add(id(source))
        return Frame(source, container)

    def _converted(self, item: Any) -> Any:
        value = item
        while True:
            kind = type(value)
            if kind in _SCALARS or kind in _CONTAINERS or (kind is float and math.isfinite(value)):
                return value
            try:
                value = self._convert(value)
            except Refusal as refusal:
                if isinstance(item, Unfixed):
                    why = f"is {refusal.why}; write there what it should be, or change it with a transformer"
                else:
                    hint = "convert it in the source or with a transformer of your own"
                    why = f"is of type {type_name(item)}, {refusal.why}; {hint}"
                raise self._unencodable(refusal.error, why) from None
            except Exception as error:  # the value's own code ran, and may fail in any way
                why = f"is of type {type_name(item)}, whose conversion failed with {type(error).__name__}: {error}"
                raise self._unencodable("conversion_failed", why) from error

    def _key(self, key: Any, frame: Frame) -> str:
        if not isinstance(key, str):
            why = f"has the key {shown(key)} of type {type_name(key)}; keys in JSON are strings"
            raise self._unencodable("key_not_string", why, at_key=True)
        text = str.__str__(key)
        if self._escape and not frame.verbatim:
            text = escaped_key(text)
        if text in frame.target:
            why = f"has the key {shown(text)} twice, once as a {type_name(key)}"
            raise self._unencodable("duplicate_key", why, at_key=True)
        return text

    def _unencodable(self, error: str, why: str, *, at_key: bool = False) -> Unencodable:
        # The first frame only holds the root; a key is its container's.
        steps = [frame.step for frame in self._frames[1:]]
        path = path_text(steps[:-1] if at_key else steps)
        return Unencodable(path, error, f"{path} {why}")


def _fields(document: Any) -> dict[str, Any]:
    if type(document) is dict:
        return document
    if isinstance(document, Mapping):
        return dict(document)
    raise Unencodable(
        "the document", "not_an_object", f"the document is of type {type_name(document)}, no mapping"
    )


def _utf8(value: Any, encoder: JSONEncoder) -> bytes:
    """Write plain JSON values; the only faults left are those of the text itself."""
    try:
        return deep.write(value, encoder).encode()
    except UnicodeEncodeError:
        raise _found(
            value, has_surrogate, "lone_surrogate", "holds half a surrogate pair, no Unicode text"
        ) from None
    except ValueError:
        raise _found(value, _too_long, "integer_too_long", "is an integer too long for Python to write") from None


def _found(value: Any, wanted: Callable[[Any], bool], error: str, why: str) -> Unencodable:
    path = path_text((find([value], wanted) or [0])[1:])
    return Unencodable(path, error, f"{path} {why}")


def _too_long(value: object) -> bool:
    if not isinstance(value, int):
        return False
    try:
        str(value)
    except ValueError:
        return True
    return False
