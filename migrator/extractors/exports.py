"""Reads what other databases' own tools export as JSON: elasticdump, and mongoexport with its Extended JSON.

Of that, version 2 in both forms and version 1 become the values that they stand for.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any
from uuid import UUID

from migrator.codec import InvalidDocument, canonical, decode
from migrator.extractors.base import FileExtractor, factory, parse_position
from migrator.extractors.find import find_files
from migrator.extractors.json_records import read_texts
from migrator.extractors.remote import AnyPath, FilePath, file_path
from migrator.extractors.rows import NoId, document_id, row_fault, text_fault
from migrator.extractors.text_values import exact_decimal, exact_float
from migrator.model import Fault, Position, Record

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(r"(\d{4}|[+-]\d{4,6})(-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)")
_UUID_SUBTYPE = 4
_UUID = re.compile("-".join(f"[0-9a-fA-F]{{{length}}}" for length in (8, 4, 4, 4, 12)))
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_SPECIAL = re.compile("[+-]?(inf|infinity|nan)", re.IGNORECASE)
SUFFIXES = tuple(f"{kind}{packing}" for kind in (".json", ".ndjson", ".jsonl") for packing in ("", ".gz", ".zst"))
# What multielasticdump and mongodump write beside the data.
_BESIDE = (".mapping", ".analyzer", ".alias", ".settings", ".template", ".metadata")


def plain_values(value: Any, path: str = "") -> Any:
    """Take marked objects to the values they stand for, at every depth.

    What neither JSON nor Python has (timestamps, regular expressions, code, MinKey and the like, and dates that
    are out of Python's range or finer than microseconds) stays as it is marked, so nothing of it is lost.

    Raises:
        InvalidDocument: a marked object is damaged; the message begins with the path to it.
    """
    if isinstance(value, list):
        return [plain_values(item, f"{path}[{number}]") for number, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    make = _MARKS.get(frozenset(value)) if 0 < len(value) < 3 else None
    if make is None:
        return {key: plain_values(item, f"{path}.{key}" if path else key) for key, item in value.items()}
    try:
        return make(value)
    except (ValueError, TypeError, InvalidOperation, binascii.Error, AttributeError, KeyError):
        reason = f"{path or 'the document'} is marked as {next(iter(value))} and is not one"
        raise InvalidDocument("invalid_extended_json", reason) from None


def id_text(value: Any) -> Any:
    """The `_id` that stands for a value: of text the text, of other values their text, of all else its JSON."""
    try:
        return document_id([value])
    except NoId:
        return canonical(value).decode()


def _oid(value: Mapping[str, Any]) -> str:
    text = value["$oid"]
    if not re.fullmatch("[0-9a-fA-F]{24}", text):
        raise ValueError(text)
    return str(text.lower())


def _date(value: Mapping[str, Any]) -> Any:
    stamp = value["$date"]
    if isinstance(stamp, Mapping):
        stamp = _integer(stamp["$numberLong"])
    if isinstance(stamp, int) and not isinstance(stamp, bool):
        try:
            return _EPOCH + timedelta(milliseconds=stamp)
        except OverflowError:
            return value
    match = _ISO.fullmatch(stamp)
    if match is None:
        raise ValueError(stamp)
    year, day, fraction, zone = match[1], match[2], f"{match[3] or '.':0<7}", match[4]
    if len(year) > 4 or year == "0000" or fraction[7:].strip("0"):
        return value
    moment = datetime.fromisoformat(f"{year}{day}{fraction[:7]}{'+00:00' if zone == 'Z' else zone}")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return value


def _integer(text: Any) -> int:
    if isinstance(text, int) and not isinstance(text, bool):
        # Version 1 of some tools.
        return text
    if not re.fullmatch(r"-?\d+", text):
        raise ValueError(text)
    return int(text)


def _double(value: Mapping[str, Any]) -> float:
    text = value["$numberDouble"]
    return float(text) if text in _NOT_FINITE else exact_float(str(text))


def _decimal(value: Mapping[str, Any]) -> Decimal:
    text = str(value["$numberDecimal"])
    return Decimal(text) if _SPECIAL.fullmatch(text) else exact_decimal(text)


def _binary(value: Mapping[str, Any]) -> bytes | UUID:
    content = value["$binary"]
    if isinstance(content, Mapping):
        text, kind = content["base64"], int(content["subType"], 16)
    else:
        text, kind = content, int(value["$type"], 16)
    raw = base64.b64decode(text, validate=True)
    return UUID(bytes=raw) if kind == _UUID_SUBTYPE and len(raw) == 16 else raw


def _uuid(value: Mapping[str, Any]) -> UUID:
    if not _UUID.fullmatch(value["$uuid"]):
        raise ValueError(value)
    return UUID(value["$uuid"])


_MARKS: dict[frozenset[str], Callable[[Mapping[str, Any]], Any]] = {
    frozenset({"$oid"}): _oid,
    frozenset({"$date"}): _date,
    frozenset({"$numberInt"}): lambda value: _integer(value["$numberInt"]),
    frozenset({"$numberLong"}): lambda value: _integer(value["$numberLong"]),
    frozenset({"$numberDouble"}): _double,
    frozenset({"$numberDecimal"}): _decimal,
    frozenset({"$binary"}): _binary,
    frozenset({"$binary", "$type"}): _binary,
    frozenset({"$uuid"}): _uuid,
}


class JsonExportExtractor(FileExtractor):
    """A file of a collection's documents, or a folder with one for each collection; `.gz` and `.zst` too.

    One document a line, a list of them, or one after the other over several lines.

    Args:
        path: the file or folder.
        convert: from what stands in the file to the document.
        kind: the scheme of the source.
        collections: which to read, in this order; all, sorted by name, where None.
    """

    def __init__(
        self,
        path: AnyPath,
        convert: Callable[[dict[str, Any]], dict[str, Any]],
        *,
        kind: str,
        collections: Sequence[str] | None = None,
    ) -> None:
        self._convert = convert
        self._kind = kind
        place = file_path(path)
        found = find_files(place, SUFFIXES, any_name=True)
        files = {name: file for name, file in found.items() if not name.endswith(_BESIDE)} or found
        super().__init__(place, files, collections)

    def describe(self) -> str:
        """The scheme, and the absolute path or the URL."""
        return f"{self._kind}:{super().describe()}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield a record for each document.

        Raises:
            CheckpointError: the file is not the one that `after` was taken from.
            ConfigError: the file is damaged.
        """
        for position, place, text, fault in read_texts(self._files[collection], after=after):
            made = fault._replace(notation=self._kind) if fault else self._made(place, text)
            yield Record(position, fault=made) if isinstance(made, Fault) else Record(position, made)

    def _ends(self, path: FilePath) -> Iterator[tuple[int, int]]:
        return (parse_position(text.position) for text in read_texts(path))

    def _made(self, place: str, text: bytes) -> dict[str, Any] | Fault:
        try:
            found = decode(text)
        except InvalidDocument as invalid:
            return text_fault(invalid, text, place)._replace(notation=self._kind)
        return converted(found, self._convert, self._kind, place)


def converted(
    found: dict[str, Any], convert: Callable[[dict[str, Any]], dict[str, Any]], notation: str, place: str
) -> dict[str, Any] | Fault:
    """The document that stands in an export, or why it gives none.

    Args:
        found: what stands there.
        convert: makes the document of it.
        notation: the scheme of the export, which the fault names.
        place: where it stands, for people.
    """
    try:
        return convert(found)
    except InvalidDocument as refused:
        error, reason = refused.error, refused.reason
    except RecursionError:
        error, reason = "too_deep", "the document is nested too deeply"
    except Exception as odd:  # noqa: BLE001 whatever is odd in one document is a fault of its own
        error, reason = "unreadable", f"{type(odd).__name__}: {odd}"
    fault = row_fault(place, error, reason, id=_id_of(found), document=found)
    return fault._replace(notation=notation)


def from_mongo(found: dict[str, Any]) -> dict[str, Any]:
    """A document of mongoexport: its values plain, its `_id` a text."""
    document: dict[str, Any] = plain_values(found)
    return {**document, "_id": id_text(document["_id"])} if "_id" in document else document


def from_elastic(found: dict[str, Any]) -> dict[str, Any]:
    """A hit of elasticdump: what is in `_source`, under the hit's `_id`; a bare source as it is.

    An id of Elasticsearch is a text, which elasticdump writes as a number where it is one of digits.
    """
    if "_index" not in found and "_source" not in found:
        return {**found, "_id": _digits(found["_id"])} if "_id" in found else found
    source = found.get("_source")
    if not isinstance(source, dict):
        raise InvalidDocument("no_source", "the hit has no _source; was the index made without it?")
    if "_id" not in found:
        return source
    id = _digits(found["_id"])
    if _digits(source.get("_id", id)) != id:
        raise InvalidDocument(
            "id_mismatch", f"the _source has the _id {source['_id']!r:.80}, which is not the hit's"
        )
    return {"_id": id, **source, **({"_id": id} if "_id" in source else {})}


def _digits(id: Any) -> Any:
    return str(id) if isinstance(id, int) and not isinstance(id, bool) else id


def _id_of(found: dict[str, Any]) -> str:
    """The id of what is at fault, where it can be told."""
    try:
        id = id_text(plain_values(found["_id"]))
    except Exception:  # noqa: BLE001 the id may be the very thing that is odd
        return ""
    return str(id)


CONVERTERS = {"mongo": from_mongo, "elasticdump": from_elastic}
"""What makes a document of what stands in an export, by the scheme of the source."""


open_mongo = factory(partial(JsonExportExtractor, convert=from_mongo, kind="mongo"), "mongo")
open_elasticdump = factory(partial(JsonExportExtractor, convert=from_elastic, kind="elasticdump"), "elasticdump")
