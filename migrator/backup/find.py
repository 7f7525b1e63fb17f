"""Finds documents in the backups of a place: by id, by pattern, or by what a field holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

from migrator.backup.catalog import Catalog
from migrator.backup.contents import Contents, StoredDocument
from migrator.backup.format.manifest import Manifest
from migrator.backup.listing import noted
from migrator.codec import decode
from migrator.errors import ConfigError, DamagedBackup
from migrator.naming import is_meant, is_pattern

AT_ONCE = 8
"""So many databases are searched for ids at once."""

_LITERAL = re.compile(r"[^*?\[]*")
_OPERATOR = re.compile(r"(?<!\\)(?:!=|[=<>~])")


class Found(NamedTuple):
    """A document, where it is, and the snapshot that it is of."""

    database: str
    manifest: Manifest
    document: StoredDocument

    def as_dict(self) -> dict[str, Any]:
        """A line for programs."""
        where = {"database": self.database, "snapshot": self.manifest.snapshot, "as_of": self.manifest.finished}
        return {**where, **self.document.as_dict()}


class Query(NamedTuple):
    """What is looked for: the ids, those that a pattern means, or the documents that meet a condition."""

    ids: tuple[str, ...] = ()
    pattern: str = ""
    condition: str = ""


def parse_query(text: str) -> Query:
    """What somebody typed: a condition if it has an operator, a pattern if it has `*`, `?` or `[`, or an id."""
    if _OPERATOR.search(text):
        return Query(condition=text)
    return Query(pattern=text) if is_pattern(text) else Query(ids=(text,))


def find(
    catalog: Catalog, manifests: Mapping[str, Manifest], query: Query, broken: dict[str, DamagedBackup]
) -> Iterator[Found]:
    """What is found in databases as of their snapshots, by database and id.

    Args:
        catalog: the place.
        manifests: the snapshot of each database.
        query: what is looked for.
        broken: gets the databases of which something is damaged that has to be read; others go on.

    Raises:
        ConfigError: the condition cannot be read, or there is no key for what is encrypted.
        DamagedBackup: something of the only database is damaged.
    """
    if query.ids:
        yield from _by_ids(catalog, manifests, query.ids, broken)
        return
    meets = _meeting(query)
    for database, manifest in manifests.items():
        with noted(broken, database, alone=len(manifests) == 1), Contents(catalog, manifest) as contents:
            for document in selected_documents(contents, [query.pattern] if query.pattern else []):
                if meets(document):
                    yield Found(database, manifest, document)


def _by_ids(
    catalog: Catalog, manifests: Mapping[str, Manifest], ids: Sequence[str], broken: dict[str, DamagedBackup]
) -> Iterator[Found]:
    """Of several databases at once: a place far away takes its time for each file."""

    def look(database: str) -> list[Found]:
        found: list[Found] = []
        manifest = manifests[database]
        with noted(broken, database, alone=len(manifests) == 1), Contents(catalog, manifest) as contents:
            found += [Found(database, manifest, each) for each in contents.documents(ids=ids)]
        return found

    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(manifests)))) as pool:
        for found in pool.map(look, manifests):
            yield from found


def find_earlier(
    catalog: Catalog, manifests: Mapping[str, Manifest | None], ids: Sequence[str], unread: dict[str, str]
) -> Iterator[Found]:
    """Of each database the newest snapshot before the given one that holds documents which that one does not.

    Args:
        catalog: the place.
        manifests: the snapshots that were searched; None of a database of which none was.
        ids: the documents.
        unread: gets the snapshots that could not be searched, with the reason.
    """
    for database, newest in manifests.items():
        survey = catalog.survey(database)
        unread.update(survey.damaged)
        for manifest in reversed(survey.manifests):
            if newest and manifest.snapshot >= newest.snapshot:
                continue
            try:
                with Contents(catalog, manifest) as contents:
                    found = list(contents.documents(ids=ids))
            except DamagedBackup as error:
                # An older one may still have it.
                unread[manifest.snapshot] = error.message
                continue
            if found:
                yield from (Found(database, manifest, document) for document in found)
                break


def nearest(catalog: Catalog, manifests: Mapping[str, Manifest], id: str) -> str:
    """Ask whether another id was meant, of one of the first databases; "" where none is near."""
    for manifest in islice(manifests.values(), AT_ONCE):
        with Contents(catalog, manifest) as contents:
            if near := contents.near(id):
                return near
    return ""


def selected_documents(contents: Contents, patterns: Sequence[str]) -> Iterator[StoredDocument]:
    """The documents of which one of some patterns, or ids, means the id; all of them without a pattern."""
    if patterns and not any(map(is_pattern, patterns)):
        yield from contents.documents(ids=patterns)
        return
    prefix = literal(patterns[0]) if len(patterns) == 1 else ""
    for document in contents.documents(prefix):
        if not patterns or any(document.id == each or is_meant(document.id, each) for each in patterns):
            yield document


def literal(pattern: str) -> str:
    """What every name begins with that a pattern means."""
    return _LITERAL.match(pattern)[0]  # type: ignore[index]


def _meeting(query: Query) -> Callable[[StoredDocument], bool]:
    if not query.condition:
        return lambda _: True
    from migrator.transformers.where import where  # only for a condition

    try:
        keep = where(query.condition)
    except ConfigError as error:
        # It was not typed as a transformer.
        raise ConfigError(error.message.replace("--transform where:", "The condition "), hint=error.hint) from None

    def meets(document: StoredDocument) -> bool:
        leaf = document.live
        return leaf is not None and keep(decode(leaf.body)) is not None

    return meets
