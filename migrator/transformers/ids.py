"""Gives documents their `_id`: from a field, a template, a hash of the content, or a UUID of version 7."""

from __future__ import annotations

import hmac
import re
from typing import Any
from uuid import UUID

from migrator.codec import BOOKKEEPING, canonical, content_hash
from migrator.errors import ConfigError, TransformError
from migrator.model import Document, Transformer
from migrator.model.capabilities import Effect, with_effect
from migrator.transformers.paths import MISSING, Path, get, incomplete, parse_path, split, with_value

# CouchDB's notes on one copy of a document are not part of its content.
_NO_CONTENT = BOOKKEEPING | {"_id"}
_TEMPLATE = re.compile(
    r"(?P<brace>\{\{|\}\})|\{(?P<path>(?:[^{}\\]|\\.)*)\}|(?P<text>[^{}]+)|(?P<fault>.)", re.DOTALL
)
_MAX_MS = 2**48


def id_from_field(field: str) -> Transformer:
    """Take the `_id` from a field, which stays where it is.

    Text is taken as it is; an integer becomes its decimal digits and a UUID its usual text, and nothing else is
    taken for an id.

    Args:
        field: dotted path.

    Returns:
        The transformer; it raises TransformError where the field is missing or cannot be an id.

    Raises:
        ConfigError: the path is empty or damaged.
    """
    spec = f"id:field={field}"
    path = parse_path(field, spec)

    def transform(document: Document) -> Document:
        return _with_id(document, _text(document, path, spec), spec)

    return with_effect(transform, Effect(makes_id=True))


def id_from_template(template: str) -> Transformer:
    """Make the `_id` of several fields: `{country}-{code}`.

    Values are taken as by `id_from_field`. `{{` and `}}` stand for a brace. Where a value can hold the text that
    stands between two fields, two documents can get one id, and then they meet as a conflict.

    Args:
        template: dotted paths in braces, and text.

    Returns:
        The transformer; it raises TransformError where a field is missing or cannot be part of an id.

    Raises:
        ConfigError: the template cannot be read, or names no field.
    """
    spec = f"id:template={template}"
    parts: list[str | Path] = []
    for match in _TEMPLATE.finditer(template):
        if match["fault"]:
            raise ConfigError(
                f"--transform {spec}: there is a single {match['fault']!r} at character {match.start() + 1}.",
                hint="Write fields as {name}, and a brace itself as {{ or }}.",
            )
        if match["path"] is not None:
            parts.append(parse_path(match["path"], spec))
        else:
            parts.append(match["text"] or match["brace"][0])
    if not any(isinstance(part, tuple) for part in parts):
        raise ConfigError(
            f"--transform {spec}: the template names no field, so all documents would get one id.",
            hint="Write fields as {name}: id:template={country}-{code}",
        )

    def transform(document: Document) -> Document:
        texts = [part if isinstance(part, str) else _text(document, part, spec) for part in parts]
        return _with_id(document, "".join(texts), spec)

    return with_effect(transform, Effect(makes_id=True))


def id_from_hash(*fields: str) -> Transformer:
    """Make the `_id` of the content: the SHA-256 in hexadecimal of the document's canonical JSON.

    Documents of equal content get one id, and so become one document. `_id` and CouchDB's bookkeeping are not
    hashed; values that JSON lacks are hashed as the value codec `plain` writes them.

    Args:
        fields: dotted paths of what alone is hashed; all of them must be there. The whole document by default.

    Returns:
        The transformer; it raises TransformError where a field is missing.

    Raises:
        ConfigError: a path is empty or damaged.
    """
    spec = f"id:hash={','.join(fields)}" if fields else "id:hash"
    paths = [parse_path(field, spec) for field in fields]

    def transform(document: Document) -> Document:
        hashed: dict[str, Any] = {}
        for path in paths:
            value = get(document, path)
            if value is MISSING:
                raise _missing(path, spec)
            hashed = with_value(hashed, path, value, spec)
        if not paths:
            hashed = {key: value for key, value in document.items() if key not in _NO_CONTENT}
        return _with_id(document, content_hash(hashed), spec)

    return with_effect(transform, Effect(makes_id=True, stable_id=False))


def id_uuid7(*, seed: bytes, started_ms: int) -> Transformer:
    """Make the `_id` a UUID of version 7 (RFC 9562), the same whenever the same run meets the same document.

    Its random bits are an HMAC of the content, and of the `_id` where there is one: a run that is resumed does
    not write a document twice. Documents that are equal and have no `_id` get one id.

    Args:
        seed: the run's own random bytes.
        started_ms: when the run started, in milliseconds since 1970; the time in every id.

    Returns:
        The transformer.

    Raises:
        ConfigError: `started_ms` is out of range.
    """
    if not 0 <= started_ms < _MAX_MS:
        raise ConfigError(f"started_ms is {started_ms}.", hint="It is the milliseconds since 1970, of 48 bits.")

    def transform(document: Document) -> Document:
        content = {key: value for key, value in document.items() if key not in BOOKKEEPING}
        random = int.from_bytes(hmac.digest(seed, canonical(content), "sha256")[:10], "big")
        # 48 bits of time, 4 of version, 12 random, 2 of variant, 62 random.
        high = started_ms << 16 | 0x7000 | random >> 68
        low = 0b10 << 62 | random & (1 << 62) - 1
        return _with_id(document, str(UUID(int=high << 64 | low)), "id:uuid7")

    return with_effect(transform, Effect(makes_id=True, stable_id=False, same_each_run=False))


class Uuid7:
    """`id:uuid7`, whose ids belong to a run."""

    def in_run(self, seed: bytes, started_ms: int) -> Transformer:
        """As `PerRun` says."""
        return id_uuid7(seed=seed, started_ms=started_ms)


def read_id(argument: str) -> Transformer | Uuid7:
    """The transformer of `id:ARGUMENT`."""
    way, equals, rest = argument.partition("=")
    if way == "field" and rest:
        return id_from_field(rest)
    if way == "template" and rest:
        return id_from_template(rest)
    if way == "hash" and bool(rest) is bool(equals):
        return id_from_hash(*(split(rest, ",") if rest else ()))
    if way == "uuid7" and not equals:
        return Uuid7()
    raise incomplete(f"id:{argument}", "id:field=NAME, id:template={a}-{b}, id:hash, id:hash=a,b or id:uuid7")


def _with_id(document: Document, id: str, spec: str) -> dict[str, Any]:
    if not id:
        raise TransformError(f"{spec}: the _id would be empty.")
    return {"_id": id, **{key: value for key, value in document.items() if key != "_id"}}


def _text(document: Document, path: Path, spec: str) -> str:
    value = get(document, path)
    if value is MISSING:
        raise _missing(path, spec)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return int.__repr__(value)
        except ValueError:
            raise TransformError(f"{spec}: {'.'.join(path)} is an integer too long for an id.") from None
    raise TransformError(
        f"{spec}: {'.'.join(path)} is of type {type(value).__name__}; an id is made of text, integers and UUIDs."
    )


def _missing(path: Path, spec: str) -> TransformError:
    return TransformError(f"{spec}: the document has no field {'.'.join(path)}.")
