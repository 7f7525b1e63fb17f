"""Reads what other databases' own tools export as JSON: mongoexport, elasticdump."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from migrator.codec import InvalidDocument, decode
from migrator.extractors.extended_json import NotExtended, id_text, plain_values
from migrator.extractors.files import FileExtractor, find_files, parse_position
from migrator.extractors.json_records import read_texts
from migrator.extractors.opening import factory
from migrator.extractors.row_faults import row_fault, text_fault
from migrator.model import Fault, Position, Record

SUFFIXES = tuple(f"{kind}{packing}" for kind in (".json", ".ndjson", ".jsonl") for packing in ("", ".gz", ".zst"))
# What multielasticdump and mongodump write beside the data.
_BESIDE = (".mapping", ".analyzer", ".alias", ".settings", ".template", ".metadata")


class NotADocument(ValueError):
    """What was read stands for no document; the arguments are a word and a sentence."""

    def __init__(self, error: str, reason: str) -> None:
        super().__init__(reason)
        self.error = error


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
        path: str,
        convert: Callable[[dict[str, Any]], dict[str, Any]],
        *,
        kind: str,
        collections: Sequence[str] | None = None,
    ) -> None:
        self._convert = convert
        self._kind = kind
        found = find_files(Path(path), SUFFIXES, any_name=True)
        files = {name: file for name, file in found.items() if not name.endswith(_BESIDE)} or found
        super().__init__(Path(path), files, collections)

    def describe(self) -> str:
        """The scheme and the absolute path."""
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

    def _ends(self, path: Path) -> Iterator[tuple[int, int]]:
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
    except NotADocument as refused:
        error, reason = refused.error, str(refused)
    except RecursionError:
        error, reason = "too_deep", "the document is nested too deeply"
    except NotExtended as refused:
        error, reason = "invalid_extended_json", str(refused)
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
        raise NotADocument("no_source", "the hit has no _source; was the index made without it?")
    if "_id" not in found:
        return source
    id = _digits(found["_id"])
    if _digits(source.get("_id", id)) != id:
        raise NotADocument("id_mismatch", f"the _source has the _id {source['_id']!r:.80}, which is not the hit's")
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
