"""The kinds of SOURCE, TARGET and transformer, one row each: help, documentation and tests are made from the rows.

A factory is named as an entry point names it, is imported when it is needed, and has the signature of a plug-in's:
`factory(source, config, environ)`, `factory(target, config, names, environ)` and, for what follows the colon of a
SPEC, `factory(argument)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from migrator.files.urls import DRIVERS


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


ELSEWHERE = Source(
    ("https://host/orders.ndjson", "s3://bucket/folder/", "csv:gs://bucket/orders.csv"),
    "files where they lie, gone on with at the byte where a connection broke; `https:` needs no extra",
    "migrator.extractors.remote:open_source",
    schemes=tuple(DRIVERS),
    extra="files",
    title="A source in an object store",
)
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
        ("sqlite:///file.db", "postgresql://host/database", "mysql://host/database"),
        "tables, views and named queries as collections",
        "migrator.extractors.sql:open_source",
        schemes=("sqlite", "postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle"),
        extra="sql",
        title="A SQL source",
    ),
    ELSEWHERE,
    Source(
        ("http://host:5984", "http://host:5984/database"),
        "all databases of a CouchDB server, or one",
        "migrator.extractors.couchdb:open_source",
        schemes=("http", "https"),
    ),
)
SOURCE_BY_SCHEME = {scheme: source for source in SOURCES for scheme in source.schemes}
ENDINGS = {scheme: source.ending for scheme, source in SOURCE_BY_SCHEME.items() if source.ending}
"""By scheme, the ending of the copy of a pipe; these schemes read files, and reach no server."""

SOURCE_FORMS = ", ".join(form for source in SOURCES for form in source.forms)
"""What people can write, for messages."""
SOURCE_HELP = f"{SOURCE_FORMS}; - for NDJSON on standard input, csv:-, mongo:- and so on for other kinds."


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of target.

    Args:
        forms: what people write, with what it is.
        factory: `module:function`.
        schemes: the words before the colon of a TARGET.
    """

    forms: dict[str, str]
    factory: str
    schemes: tuple[str, ...] = ()


COUCHDB = Target(
    {
        "http(s)://host:5984": "a CouchDB server, one database for each collection",
        "http(s)://host:5984/database": "one database, for one collection",
    },
    "migrator.loaders.couchdb:open_target",
    schemes=("http", "https"),
)
FOLDER = Target({"folder/": "one `<collection>.ndjson` each"}, "migrator.loaders.ndjson:open_target")
STREAM = Target({"-": "the NDJSON of one collection on standard output"}, "migrator.loaders.ndjson:open_pipe")
TARGETS = (COUCHDB, FOLDER, STREAM)

TARGET_FORMS = ", ".join(form for target in TARGETS for form in target.forms)
"""What people can write, for messages."""
_TARGETS_HELP = [f"{form}: {what.replace('`', '')}" for target in TARGETS for form, what in target.forms.items()]
TARGET_HELP = "; ".join(_TARGETS_HELP) + "."
TARGET_BY_SCHEME = {scheme: target for target in TARGETS for scheme in target.schemes}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of transformer.

    Args:
        word: what stands before the colon of a SPEC; "" for the user's own functions.
        forms: what people write, with what it does.
        examples: a SPEC for each form, which the documentation shows and the contract tests run.
        factory: `module:function`, called with what follows the colon.
        extra: what must be installed for it.
    """

    word: str
    forms: Mapping[str, str]
    examples: tuple[str, ...]
    factory: str = ""
    extra: str = ""


KINDS = (
    Kind(
        "id",
        {
            "id:field=NAME": "take the _id from a field: text, an integer's digits or a UUID",
            "id:template=TEXT": "make the _id of fields, as in {country}-{code}; {{ is a brace",
            "id:hash": "make the _id of the content (SHA-256); id:hash=a,b of these fields alone",
            "id:uuid7": "make the _id a UUID by time, the same for the same document within one run",
        },
        ("id:field=sku", "id:template={country}-{code}", "id:hash", "id:uuid7"),
        "migrator.transformers.ids:read_id",
    ),
    Kind(
        "rename",
        {"rename:OLD=NEW,...": "give fields other names, or move them"},
        ("rename:old=new,a.b=c",),
        "migrator.transformers.fields:read_rename",
    ),
    Kind(
        "drop",
        {"drop:FIELD,...": "leave fields out"},
        ("drop:a,b.c",),
        "migrator.transformers.fields:read_drop",
    ),
    Kind(
        "keep",
        {"keep:FIELD,...": "keep these fields and _id, leave out all others"},
        ("keep:a,b.c",),
        "migrator.transformers.fields:read_keep",
    ),
    Kind(
        "set",
        {"set:FIELD=VALUE": "set a field; VALUE is JSON, or else text"},
        ('set:kind="city"',),
        "migrator.transformers.fields:read_set",
    ),
    Kind(
        "default",
        {"default:FIELD=VALUE": "set a field where it is missing; null is not missing"},
        ("default:active=true",),
        "migrator.transformers.fields:read_default",
    ),
    Kind(
        "where",
        {
            "where:CONDITION": "keep documents with f=v, f!=v, f<v, f<=v, f>v, f>=v, f~regex, f or !f; filter out "
            "others"
        },
        ("where:active=true",),
        "migrator.transformers.where:read_where",
    ),
    Kind(
        "sample",
        {"sample:N%": "keep a share of the documents, always the same; sample:5%,customer by a field's value"},
        ("sample:5%,customer",),
        "migrator.transformers.masking:sample",
    ),
    Kind(
        "mask",
        {
            "mask:KIND:FIELD,...": "pseudonym, hash, drop or fake.email and the like, with the key in "
            "MIGRATOR_MASK_KEY"
        },
        ("mask:drop:a,b.c",),
        "migrator.transformers.masking:read_mask",
        extra="seed",
    ),
    Kind(
        "",
        {"MODULE:FUNCTION": "call a function of your own, package.module:name; None filters the document out"},
        ("package.module:function",),
    ),
)
"""What a SPEC may be. A field may be a dotted path; a dot in a name is written `\\.`."""

SPEC_FORMS = ", ".join(form for kind in KINDS for form in kind.forms)
"""What people can write, for messages."""


def by_name(path: str) -> Source:
    """The kind of a file or folder that is named without a scheme: NDJSON, unless its name says something else."""
    for source in SOURCES:
        if source.names and re.search(source.names, path, re.IGNORECASE) and not Path(path).is_dir():
            return source
    return SOURCE_BY_SCHEME["ndjson"]
