"""The kinds of SOURCE that this package knows: by the scheme before the colon, else by the file's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.config import Connection, JobConfig
from migrator.couch.endpoint import Endpoint, TlsFiles
from migrator.couch.locate import locate
from migrator.model import Extractor

if TYPE_CHECKING:
    from migrator.couch.client import CouchClient

FORMS = (
    "memory:package.module:attribute, a .json export, a folder of .ndjson or .jsonl files (or one such file, "
    "also .gz and .zst), a .csv, .tsv or .parquet file, csv:FOLDER, parquet:FOLDER, "
    "mongo:FILE and elasticdump:FILE (or folders), http(s)://host:5984 or http(s)://host:5984/database, "
    "sqlite:///file.db, postgresql://host/database, redis://host:6379/0, "
    "dynamodb:TABLE, singer:FILE, - for NDJSON on standard input, or csv:-, mongo:-, singer:- and so on"
)
"""What people can write, for messages."""

_CSV = re.compile(r"\.[ct]sv(\.gz|\.zst)?(\?|$)", re.IGNORECASE)
_PARQUET = re.compile(r"\.(parquet|parq)$", re.IGNORECASE)
_EXPORT = re.compile(r"\.json(\.gz|\.zst)?$", re.IGNORECASE)


def tls_files(config: Connection) -> TlsFiles:
    """The files that a job names for TLS."""
    return TlsFiles(config.ca_file or None, config.client_cert or None, config.client_key or None)


def server_of(
    config: Connection, url: str, *, role: str, environ: Mapping[str, str] | None
) -> tuple[Endpoint, str | None]:
    """The endpoint and the database that a server's URL names, reached as a job's flags say.

    Raises:
        ConfigError, TransientError: as `locate` does.
    """
    return locate(url, environ=environ, role=role, tls=tls_files(config), read_timeout_s=config.longest_silence_s)


def client_of(
    config: JobConfig, url: str, *, role: str, environ: Mapping[str, str] | None, max_connections: int = 8
) -> tuple[CouchClient, str | None]:
    """A client of the server that a URL names, and the database where it names one; the rest is `server_of`'s."""
    from migrator.couch.client import CouchClient  # noqa: PLC0415 late, for files need none

    endpoint, database = server_of(config, url, role=role, environ=environ)
    return CouchClient(endpoint, max_connections=max_connections), database


def by_path(config: JobConfig) -> Extractor:
    """The extractor of a file or folder, by its name."""
    source, collections = config.source, list(config.collection) or None
    path = Path(source)
    called_json = bool(_EXPORT.search(source)) and not path.is_dir()
    if called_json:
        from migrator.extractors.json_layout import holds_lines  # noqa: PLC0415 each kind on its own

        called_json = holds_lines(path)
        if not called_json:
            from migrator.extractors.export import ExportExtractor  # noqa: PLC0415

            return ExportExtractor(path, collections=collections)
    if _CSV.search(source) and not path.is_dir():
        return _csv(config, {})
    if _PARQUET.search(source) and not path.is_dir():
        return _parquet(config, {})
    from migrator.extractors.ndjson import NdjsonExtractor  # noqa: PLC0415

    return NdjsonExtractor(path, collections=collections, called_json=called_json)


def _memory(config: JobConfig, _environ: Mapping[str, str]) -> Extractor:
    from migrator.extractors.memory import MemoryExtractor, load_object  # noqa: PLC0415

    name = config.source[len("memory:") :]
    return MemoryExtractor(load_object(name), name=name, collections=list(config.collection) or None)


def _couchdb(config: JobConfig, environ: Mapping[str, str]) -> Extractor:
    from migrator.extractors.couchdb import CouchExtractor  # noqa: PLC0415

    most = config.readers + 2
    client, database = client_of(config, config.source, role="source", environ=environ, max_connections=most)
    return CouchExtractor(client, database, collections=list(config.collection) or None, at_once=config.readers)


def _csv(config: JobConfig, _environ: Mapping[str, str]) -> Extractor:
    from migrator.extractors.csv import CsvExtractor  # noqa: PLC0415

    return CsvExtractor(_behind(config.source, "csv:"), collections=list(config.collection) or None)


def _parquet(config: JobConfig, _environ: Mapping[str, str]) -> Extractor:
    from migrator.extractors.parquet import ParquetExtractor  # noqa: PLC0415

    return ParquetExtractor(_behind(config.source, "parquet:"), collections=list(config.collection) or None)


def _ndjson(config: JobConfig, _environ: Mapping[str, str]) -> Extractor:
    from migrator.extractors.ndjson import NdjsonExtractor  # noqa: PLC0415

    path = _behind(config.source, "ndjson:")
    return NdjsonExtractor(path, collections=list(config.collection) or None, any_name=True)


def _mongo(config: JobConfig, _environ: Mapping[str, str]) -> Extractor:
    from migrator.extractors.exports import JsonExportExtractor, from_mongo  # noqa: PLC0415

    path, collections = _behind(config.source, "mongo:"), list(config.collection) or None
    return JsonExportExtractor(path, from_mongo, kind="mongo", collections=collections)


def _elasticdump(config: JobConfig, _environ: Mapping[str, str]) -> Extractor:
    from migrator.extractors.exports import JsonExportExtractor, from_elastic  # noqa: PLC0415

    path, collections = _behind(config.source, "elasticdump:"), list(config.collection) or None
    return JsonExportExtractor(path, from_elastic, kind="elasticdump", collections=collections)


def _singer(config: JobConfig, _environ: Mapping[str, str]) -> Extractor:
    from migrator.extractors.singer import SingerExtractor  # noqa: PLC0415

    return SingerExtractor(_behind(config.source, "singer:"), collections=list(config.collection) or None)


def _redis(config: JobConfig, environ: Mapping[str, str]) -> Extractor:
    from migrator.extractors.redis import RedisExtractor  # noqa: PLC0415

    return RedisExtractor(
        config.source,
        collections=list(config.collection) or None,
        environ=environ,
        ca_file=config.ca_file or None,
        timeout_s=config.timeout_s,
    )


def _dynamodb(config: JobConfig, _environ: Mapping[str, str]) -> Extractor:
    from migrator.extractors.dynamodb import DynamoExtractor  # noqa: PLC0415

    table, collections = _behind(config.source, "dynamodb:"), list(config.collection) or None
    return DynamoExtractor(table, collections=collections, timeout_s=config.timeout_s)


def _sql(config: JobConfig, _environ: Mapping[str, str]) -> Extractor:
    from migrator.extractors.sql import SqlExtractor  # noqa: PLC0415

    ids_given = any(spec.startswith("id:") for spec in config.transform)
    return SqlExtractor(config.source, collections=list(config.collection) or None, ids_given=ids_given)


def _behind(source: str, scheme: str) -> str:
    return source[len(scheme) :] if source.lower().startswith(scheme) else source


BY_SCHEME: dict[str, Callable[[JobConfig, Mapping[str, str]], Extractor]] = {
    "memory": _memory,
    "http": _couchdb,
    "https": _couchdb,
    "csv": _csv,
    "ndjson": _ndjson,
    "parquet": _parquet,
    "mongo": _mongo,
    "elasticdump": _elasticdump,
    "singer": _singer,
    "redis": _redis,
    "rediss": _redis,
    "unix": _redis,
    "dynamodb": _dynamodb,
    "sqlite": _sql,
    "postgresql": _sql,
    "postgres": _sql,
}
"""Who opens a SOURCE that begins with such a word and a colon."""

OF_FILES = ("csv", "ndjson", "parquet", "mongo", "elasticdump")
"""Of these schemes, those that read files and reach no server."""
