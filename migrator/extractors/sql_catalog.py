"""Which relations of a database are collections, and what each is read from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from migrator.errors import ConfigError
from migrator.extractors.base import select_collections
from migrator.extractors.sql_engine import Database, translated
from migrator.extractors.sql_rows import query_columns
from migrator.naming import shown


@dataclass(frozen=True)
class Relation:
    """What a collection is read from.

    Args:
        parts: each gives rows of its own; more than one where tables inherit.
        key: the columns by whose order it is read; without any it is read in one go.
        identity: what changes when old positions say nothing any more.
        id_columns: the columns whose values make the id; none where a transformer makes it.
        inherited: the parts after the first are tables that inherit from it.
    """

    parts: tuple[sa.FromClause, ...]
    key: tuple[sa.Column[Any], ...]
    identity: str
    id_columns: tuple[str, ...]
    inherited: bool = False


@dataclass(eq=False)
class Catalog:
    """The collections of a database.

    Args:
        database: it.
        queries: named queries; where there are any, they are the collections unless others are asked for.
        ids_given: a transformer makes the ids, so a relation needs no key.
    """

    database: Database
    queries: Mapping[str, str]
    ids_given: bool

    def __post_init__(self) -> None:
        self._relations: dict[str, Relation] = {}

    def names(self, wanted: Sequence[str] | None) -> tuple[str, ...]:
        """The collections: the queries, else the tables that are not part of another; or those that are wanted.

        Raises:
            ConfigError: one is not there, or cannot be read.
        """
        with translated(self.database.place):
            there = self.database.dialect.relations(self.database)
        # Where there are views alone, they are what is meant.
        usual = sorted(name for name, own in there.items() if own) or sorted(there)
        if self.queries:
            usual = list(self.queries)
        if wanted is not None:
            known = [*usual, *sorted({*there, *self.queries} - set(usual))]
            usual = list(select_collections(known, wanted, source=self.database.place))
        for name in usual:
            self.relation(name)
        return tuple(usual)

    def relation(self, name: str) -> Relation:
        """What a collection is read from.

        Raises:
            ConfigError: it has no key, or a policy hides rows of it.
        """
        if name not in self._relations:
            with translated(self.database.place):
                self._relations[name] = self._query(name) if name in self.queries else self._stored(name)
        return self._relations[name]

    def _query(self, name: str) -> Relation:
        text = self.queries[name]
        source = query_columns(self.database, text, name)
        self.database.dialect.settle_types(self.database, source)
        self._need_ids(name, source, "The query")
        return Relation((source,), (), hashlib.sha256(text.encode()).hexdigest()[:16], _own_id(source))

    def _stored(self, name: str) -> Relation:
        parts = self.database.dialect.parts(self.database, name)
        table, *others = parts
        columns = set(table.columns.keys())
        key = _key_of(table)
        if others:
            # Keys are not inherited: two rows can have one, and reading could not go on between them.
            key = ()
            if all(set(other.columns.keys()) == columns for other in others):
                parts = (table,)
        if not _key_of(table):
            self._need_ids(name, table, "The table or view")
        elif "_id" in columns and [column.name for column in _key_of(table)] != ["_id"]:
            raise ConfigError(
                f"The table {shown(name)} has a column _id that is not its key.",
                hint="Rename the column, or read it by a query without it: ?query.NAME=select ….",
            )
        identity = json.dumps(
            [[column.name, str(column.type)] for column in key] or ["in one go", sorted(columns)]
        )
        id_columns = tuple(str(column.name) for column in _key_of(table)) or _own_id(table)
        for part in parts:
            # After the identity, which is made of the types as they are declared.
            self.database.dialect.settle_types(self.database, part)
        return Relation(parts, key, identity, id_columns, inherited=len(parts) > 1)

    def _need_ids(self, name: str, source: sa.FromClause, what: str) -> None:
        if self.ids_given or "_id" in source.columns:
            return
        raise ConfigError(
            f"{what} {shown(name)} has neither a primary key nor a unique one without nulls, so "
            "reading could not go on where it stopped, and its rows have no ids.",
            hint="Give it one, read it in one go with ids of its content or columns (--transform id:hash or "
            "id:field=COLUMN), or name the tables to read with --collection.",
        )


def _key_of(table: sa.Table) -> tuple[sa.Column[Any], ...]:
    if len(table.primary_key.columns):
        return tuple(table.primary_key.columns)
    for constraint in sorted(table.constraints, key=lambda each: str(each.name)):
        columns = tuple(constraint.columns) if isinstance(constraint, sa.UniqueConstraint) else ()
        if columns and not any(column.nullable for column in columns):
            return columns
    return ()


def _own_id(source: sa.FromClause) -> tuple[str, ...]:
    return ("_id",) if "_id" in source.columns else ()
