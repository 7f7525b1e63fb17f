"""Reads the documents of a Python object: a mapping, or the application's in-memory database service."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.base import BaseExtractor, factory, select_collections
from migrator.extractors.memory_positions import chained, key_position, parsed_position
from migrator.extractors.rows import mismatch_fault, row_fault
from migrator.files.identity import content_identity
from migrator.model import Extractor, Fault, Position, Record
from migrator.naming import shown
from migrator.plugins import failure, load_attribute

USUAL_COLLECTIONS = ("agents", "deployments", "users", "sessions", "tickets", "demos")
"""Looked for in a service that does not say what it holds."""

_Documents: TypeAlias = Mapping[Any, Any] | Sequence[Any]

_ATTRIBUTES = ("dbs", "_data")
_FORMS = (
    "Expected {collection: {id: document}}, {collection: [documents]}, or a service with that as dbs or _data."
)
_ABSENT = object()
# Another thread may write while keys are listed; another mapping than a dict then says so and is asked again.
_SNAPSHOT_TRIES = 100


class MemoryExtractor(BaseExtractor):
    """Documents that a Python object holds; neither it nor they are changed, nor handed out themselves.

    The ids are the keys, and `_id` is set from them. Documents come sorted by id where the source maps ids to
    documents, in the source's order where it has lists. What vanishes while it is read is not read. A position
    is `read:<digest>:<id>` (`readhex:` and bytes for an id that is not valid Unicode), where the digest tells what
    was read up to there, or `item:<documents so far>`. Going on after one, what is before must be the same.

    Args:
        source: `{collection: {id: document}}`, `{collection: [documents]}`, an object with one of these as its
            attribute `dbs` or `_data`, or, where all else is missing, an object with `list_all(collection)`.
        name: what people call it, best `package.module:attribute`.
        collections: which to read, in this order; all where None. A source with `list_all` alone is asked for
            `USUAL_COLLECTIONS` then, and those that are not empty are read.
        place: what the description says, where it is not `memory:` and the name.

    Raises:
        ConfigError: the source has none of these shapes, or a collection is not there.
    """

    def __init__(
        self, source: object, *, name: str, collections: Sequence[str] | None = None, place: str = ""
    ) -> None:
        self._described = place or f"memory:{name}"
        self._source = source
        self._data = data_of(source)
        if self._data is not None:
            names = _keys(self._data, self.describe())
            for collection in names:
                self._checked(collection, self._data.get(collection, {}))
            self._collections = select_collections(names, collections, source=self.describe())
        elif callable(getattr(source, "list_all", None)):
            self._collections = self._listed_collections(collections)
        else:
            raise ConfigError(f"{self.describe()} is {_kind(source)}, which holds no collections.", hint=_FORMS)
        self.ordered = self._data is not None and all(
            isinstance(self._data.get(collection), Mapping) for collection in self._collections
        )

    def describe(self) -> str:
        """The name with `memory:` before it, or another place."""
        return self._described

    def collections(self) -> Sequence[str]:
        """The names of the collections, in the source's order where none were chosen."""
        return self._collections

    def count(self, collection: str) -> int | None:
        """How many documents there are now."""
        return len(self._documents(collection))

    def identity(self, collection: str) -> str:
        """Nothing where positions tell what was read; else a hash of the list."""
        documents = self._documents(collection)
        if isinstance(documents, Mapping):
            return ""
        digest = hashlib.sha256()
        digests = [""]
        for document in documents:
            own = document.get("_id", "") if isinstance(document, Mapping) else ""
            digest.update(ascii(own).encode() + b"\n")
            digests.append(chained(digests.pop(), "", document))
        return f"{len(documents)}-{digest.hexdigest()[:16]}{content_identity(digests[0].encode())}"

    def describe_position(self, collection: str, position: Position) -> str:
        """Name the document that was read last, as `memory:NAME collection key`."""
        kind, value, _ = parsed_position(position)
        return self._place(collection, shown(value) if kind == "key" else f"[{int(value) - 1}]")

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield a record for each document that is there when its turn comes.

        Raises:
            CheckpointError: `after` belongs to a source of another shape, or what was read before was changed.
        """
        documents = self._documents(collection)
        kind, value, digest = ("item", "0", "") if after is None else parsed_position(after)
        if not isinstance(documents, Mapping):
            if kind == "key":
                raise CheckpointError(
                    f"{self._place(collection, 'is a list now')}, which it was not when the checkpoint was made.",
                    hint="Start over with --restart.",
                )
            return self._listed(collection, list(documents), int(value))
        keys = _keys(documents, self._place(collection, ""))
        # Python compares strings by code points, which is the order of their UTF-8 bytes too.
        ids = sorted(key for key in keys if isinstance(key, str))
        passed = 0 if after is None else len(ids) if kind == "item" else bisect_right(ids, value)
        found = ""
        # A checkpoint of a version before does not say what was read.
        for key in ids[:passed] if digest else ():
            found = chained(found, key, documents.get(key))
        if found != digest:
            raise CheckpointError(
                f"{self._place(collection, '')} has changed since the checkpoint was made: up to "
                f"{shown(value) if kind == 'key' else 'its end'} it does not hold what was read.",
                hint="Start over with --restart: documents that are there already stay as they are.",
            )
        others = [key for key in keys if not isinstance(key, str)]
        begin = int(value) if kind == "item" else 0
        return self._mapped(collection, documents, ids[passed:], others, begin, digest)

    def _place(self, collection: object, which: str) -> str:
        name = shown(collection)[1:-1] if isinstance(collection, str) else repr(collection)
        return f"{self.describe()} {name} {which}".rstrip()

    def _documents(self, collection: str) -> _Documents:
        # Asking by get() makes no new collection in a defaultdict.
        return self._listed_by_service(collection) if self._data is None else self._data.get(collection, {})

    def _checked(self, collection: object, documents: object) -> _Documents:
        if not isinstance(collection, str):
            raise ConfigError(
                f"{self._place(collection, '')}: a collection's name is not a string but {_kind(collection)}.",
                hint=_FORMS,
            )
        if isinstance(documents, Mapping) or (
            isinstance(documents, Sequence) and not isinstance(documents, str | bytes)
        ):
            return documents
        raise ConfigError(f"{self._place(collection, '')} holds no documents but {_kind(documents)}.", hint=_FORMS)

    def _listed_collections(self, wanted: Sequence[str] | None) -> tuple[str, ...]:
        if wanted is not None:
            return tuple(dict.fromkeys(wanted))
        present = []
        for collection in USUAL_COLLECTIONS:
            # A service may answer with an error where another answers with an empty list.
            try:
                present += [collection] if self._listed_by_service(collection) else []
            except ConfigError as error:
                if not isinstance(error.__cause__, LookupError):
                    raise
        return tuple(present)

    def _listed_by_service(self, collection: str) -> _Documents:
        place = self._place(collection, "")
        try:
            answer = self._source.list_all(collection)  # type: ignore[attr-defined]
        except Exception as error:
            raise ConfigError(
                f"{place}: list_all() failed with {type(error).__name__}: {error}.",
                hint="Fix the service, or leave the collection out: name the others with --collection NAME.",
            ) from error
        if inspect.iscoroutine(answer):
            answer.close()
            raise ConfigError(f"{place}: list_all() is asynchronous, and cannot be called from here.", hint=_FORMS)
        if isinstance(answer, Iterable) and not isinstance(answer, str | bytes | Mapping):
            answer = list(answer)
        return self._checked(collection, answer)

    def _mapped(
        self,
        collection: str,
        documents: Mapping[Any, Any],
        ids: list[str],
        others: list[Any],
        begin: int,
        digest: str,
    ) -> Iterator[Record]:
        for key in ids:
            try:
                document = documents.get(key, _ABSENT)
                if document is _ABSENT:
                    continue
                digest = chained(digest, key, document)
                fits = key and isinstance(document, Mapping) and document.get("_id", key) == key
                made = {"_id": key, **document} if fits else None
                fault = None if fits else self._fault(collection, key, document)
            except Exception as odd:  # noqa: BLE001 the source's own code failed over one document
                made, fault = None, self._failed(self._place(collection, shown(key)), odd, key)
            yield Record(key_position(key, digest), made, fault=fault)
        # Keys that are not strings come last, because the position after a key says nothing of them.
        for number, key in enumerate(others[begin:], begin + 1):
            position = f"item:{number}:{digest}" if digest else f"item:{number}"
            try:
                place = self._place(collection, repr(key))
                reason = f"the key is not a string but {_kind(key)}"
                fault = row_fault(place, "id_not_string", reason, document=documents.get(key))
            except Exception as odd:  # noqa: BLE001 as above
                fault = self._failed(self._place(collection, _kind(key)), odd)
            yield Record(position, fault=fault)

    @staticmethod
    def _failed(place: str, odd: Exception, key: str = "") -> Fault:
        return row_fault(place, "unreadable", f"reading it failed with {type(odd).__name__}: {odd}", id=key)

    def _fault(self, collection: str, key: str, document: object) -> Fault:
        place = self._place(collection, shown(key))
        if not isinstance(document, Mapping):
            return Fault("not_an_object", f"{place}: expected a mapping, found {_kind(document)}", key, document)
        if not key:
            return Fault("empty_id", f"{place}: the key is empty", "", document)
        return mismatch_fault(place, key, document)

    def _listed(self, collection: str, documents: list[Any], begin: int) -> Iterator[Record]:
        for number, document in enumerate(documents[begin:], begin):
            position = f"item:{number + 1}"
            place = self._place(collection, f"[{number}]")
            try:
                whole = isinstance(document, Mapping) and ("_id" in document or self._data is not None)
                made = dict(document) if whole else None
            except Exception as odd:  # noqa: BLE001 as above
                yield Record(position, fault=self._failed(place, odd))
                continue
            if made is not None:
                yield Record(position, made)
                continue
            if isinstance(document, Mapping):
                reason = (
                    f"{place}: list_all() gives the document without its _id; give the service an attribute dbs "
                    "or _data that holds {collection: {id: document}}"
                )
                yield Record(position, fault=Fault("missing_id", reason, "", document))
            else:
                reason = f"{place}: expected a mapping, found {_kind(document)}"
                yield Record(position, fault=Fault("not_an_object", reason, "", document))


def object_of(found: object, name: str) -> object:
    """A source, or what a class or function gives when it is called for one; `name` is what errors call it.

    Something that can be called but is a source itself, such as a service with `__call__`, is not called.

    Raises:
        ConfigError: the user's code failed.
    """
    is_source = data_of(found) is not None or callable(getattr(found, "list_all", None))
    if not inspect.isclass(found) and (not callable(found) or is_source):
        return found
    try:
        return found()
    except (Exception, SystemExit) as error:
        # The frame of this function is not the user's.
        within = error.__traceback__.tb_next if error.__traceback__ else None
        raise failure(f"Calling {name}()", error.with_traceback(within)) from error


def data_of(source: object) -> Mapping[Any, Any] | None:
    """The mapping that a service is or has."""
    if isinstance(source, Mapping):
        return source
    for attribute in _ATTRIBUTES:
        data = getattr(source, attribute, None)
        if isinstance(data, Mapping):
            return data
    return None


def _keys(mapping: Mapping[Any, Any], place: str) -> list[Any]:
    for _ in range(_SNAPSHOT_TRIES):
        with contextlib.suppress(RuntimeError):
            return list(mapping)
    raise ConfigError(f"{place} changes faster than it can be listed.", hint="Read it while nothing writes to it.")


def _kind(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _open(name: str, collections: Sequence[str] | None) -> Extractor:
    return MemoryExtractor(object_of(load_attribute(name), name), name=name, collections=collections)


open_source = factory(_open, "memory")
