"""The kinds of SOURCE, one row each: help, documentation and contract tests are made from the rows.

A factory is named as an entry point names it, is imported when it is needed, and has the signature of a plug-in's:
`factory(source, config, environ)`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of source.

    Args:
        forms: what people write.
        help: what it is, for the README.
        factory: `module:function`.
        schemes: the words before the colon of a SOURCE.
        names: a regular expression of the files that are taken for it without a scheme.
        ending: of the file that holds what a pipe brought; only what reads files has one.
        extra: what must be installed for it.
        title: what needs that, for people.
    """

    forms: tuple[str, ...]
    help: str
    factory: str
    schemes: tuple[str, ...] = ()
    names: str = ""
    ending: str = ""
    extra: str = ""
    title: str = ""


SOURCES = (
    Source(
        ("memory:package.module:attribute",),
        "`{collection: {id: document}}`, a database service that has one as `dbs` or `_data`, or a function that "
        "gives either",
        "migrator.extractors.memory:open_source",
        schemes=("memory",),
    ),
    Source(
        ("export.json",),
        '`{"metadata", "data": {collection: [documents]}}` or `{collection: {id: document}}`; also `.gz`, `.zst`',
        "migrator.extractors.export:open_source",
        names=r"\.json(\.gz|\.zst)?$",
    ),
    Source(
        ("folder/", "orders.ndjson", "ndjson:file"),
        "`<collection>.ndjson` or `.jsonl`, each also `.gz` and `.zst`; `ndjson:` takes a file of any name",
        "migrator.extractors.ndjson:open_source",
        schemes=("ndjson",),
        ending=".ndjson",
    ),
    Source(
        ("settings.toml", "toml:file"),
        "tables: `[orders.a1]` is the document `a1` of the collection `orders`",
        "migrator.extractors.toml:open_source",
        schemes=("toml",),
        names=r"\.toml$",
        ending=".toml",
    ),
    Source(
        ("orders.csv", "orders.tsv", "csv:folder/"),
        "records, with dialects, encodings and types",
        "migrator.extractors.csv:open_source",
        schemes=("csv",),
        names=r"\.[ct]sv(\.gz|\.zst)?(\?|$)",
        ending=".csv",
    ),
    Source(
        ("orders.parquet", "parquet:folder/"),
        "rows",
        "migrator.extractors.parquet:open_source",
        schemes=("parquet",),
        names=r"\.(parquet|parq)$",
        ending=".parquet",
        extra="parquet",
        title="Parquet",
    ),
    Source(
        ("mongo:orders.json", "mongo:folder/"),
        "what `mongoexport` writes: Extended JSON, its types and ids resolved",
        "migrator.extractors.exports:open_mongo",
        schemes=("mongo",),
        ending=".json",
    ),
    Source(
        ("elasticdump:hits.json", "elasticdump:folder/"),
        "what `elasticdump` writes: `_source` under its `_id`",
        "migrator.extractors.exports:open_elasticdump",
        schemes=("elasticdump",),
        ending=".json",
    ),
    Source(
        ("redis://host:6379/0?users=user:*",),
        "hashes and JSON by key pattern",
        "migrator.extractors.redis:open_source",
        schemes=("redis", "rediss", "unix"),
        extra="redis",
        title="A Redis source",
    ),
    Source(
        ("dynamodb:", "dynamodb:table"),
        "tables",
        "migrator.extractors.dynamodb:open_source",
        schemes=("dynamodb",),
        extra="dynamodb",
        title="A DynamoDB source",
    ),
    Source(
        ("singer:file",),
        "what a Singer tap writes; `migrator singer-target` gives its state back",
        "migrator.extractors.singer:open_source",
        schemes=("singer",),
        ending=".singer",
    ),
    Source(
        ("sqlite:///file.db", "postgresql://host/database"),
        "tables, views and named queries as collections",
        "migrator.extractors.sql:open_source",
        schemes=("sqlite", "postgresql", "postgres"),
        extra="sql",
        title="A SQL source",
    ),
    Source(
        ("http://host:5984", "http://host:5984/database"),
        "all databases of a CouchDB server, or one",
        "migrator.extractors.couchdb:open_source",
        schemes=("http", "https"),
    ),
)
BY_SCHEME = {scheme: source for source in SOURCES for scheme in source.schemes}
ENDINGS = {scheme: source.ending for scheme, source in BY_SCHEME.items() if source.ending}
"""By scheme, the ending of the copy of a pipe; these schemes read files, and reach no server."""

FORMS = ", ".join(form for source in SOURCES for form in source.forms)
"""What people can write, for messages."""
HELP = f"{FORMS}; - for NDJSON on standard input, csv:-, mongo:- and so on for other kinds."


def by_name(path: str) -> Source:
    """The kind of a file or folder that is named without a scheme: NDJSON, unless its name says something else."""
    for source in SOURCES:
        if source.names and re.search(source.names, path, re.IGNORECASE) and not Path(path).is_dir():
            return source
    return BY_SCHEME["ndjson"]
