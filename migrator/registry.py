"""From the words SOURCE and TARGET to the extractor and loader they stand for."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from migrator.config import JobConfig
from migrator.couch.endpoint import TlsFiles, is_server_url, parse_endpoint, redact
from migrator.errors import ConfigError
from migrator.model import Extractor, Loader

SOURCE_FORMS = (
    "memory:package.module:attribute, a .json export, a folder of .ndjson or .jsonl files (or one such file, "
    "also .gz and .zst), http(s)://host:5984 or http(s)://host:5984/database"
)
TARGET_FORMS = "http(s)://host:5984, http(s)://host:5984/database for one collection, or a folder"
SCHEMES = ("memory", "http", "https")
# Windows paths have one letter before the colon; schemes have more.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_EXPORT = re.compile(r"\.json(\.gz|\.zst)?$", re.IGNORECASE)


def open_extractor(config: JobConfig, environ: Mapping[str, str] | None = None) -> Extractor:
    """The extractor of a job's source.

    Raises:
        ConfigError: the source is of no known kind, or not there.
    """
    source = config.source
    if not source:
        raise ConfigError("There is no source.", hint=f"Add --from SOURCE: {SOURCE_FORMS}.")
    collections = list(config.collection) or None
    if source.startswith("memory:"):
        from migrator.extractors.memory import MemoryExtractor, load_object  # noqa: PLC0415 each kind on its own

        return MemoryExtractor(load_object(source[7:]), name=source[7:], collections=collections)
    if is_server_url(source):
        from migrator.couch.client import CouchClient  # noqa: PLC0415
        from migrator.extractors.couchdb import CouchExtractor  # noqa: PLC0415

        endpoint, database = parse_endpoint(
            source, environ=environ, role="source", tls=_tls(config), read_timeout_s=config.timeout_s
        )
        return CouchExtractor(CouchClient(endpoint), database, collections=collections)
    _refuse_scheme(source, SOURCE_FORMS)
    path = Path(source)
    if _EXPORT.search(source) and not path.is_dir():
        from migrator.extractors.export import ExportExtractor  # noqa: PLC0415

        return ExportExtractor(path, collections=collections)
    from migrator.extractors.ndjson import NdjsonExtractor  # noqa: PLC0415

    return NdjsonExtractor(path, collections=collections)


def open_loader(
    config: JobConfig, names: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
) -> Loader:
    """The loader of a job's target; without a target, of COUCHDB_URL.

    Args:
        config: the job.
        names: target name by collection.
        environ: the environment; the process's own by default.

    Raises:
        ConfigError: the target is of no known kind.
    """
    target = target_text(config, environ)
    if is_server_url(target):
        from migrator.couch.client import CouchClient  # noqa: PLC0415
        from migrator.loaders.conflicts import parse_policy  # noqa: PLC0415
        from migrator.loaders.couchdb import CouchLoader  # noqa: PLC0415

        endpoint, _ = parse_endpoint(
            target, environ=environ, role="target", tls=_tls(config), read_timeout_s=config.timeout_s
        )
        return CouchLoader(
            CouchClient(endpoint, max_connections=config.in_flight + 2),
            names=names,
            on_conflict=parse_policy(config.on_conflict, config.newer_field),
            newer_field=config.newer_field,
            max_in_flight=config.in_flight,
            create_options={"q": config.q, "n": config.n, "partitioned": "true" if config.partitioned else None},
        )
    _refuse_scheme(target, TARGET_FORMS)
    from migrator.loaders.ndjson import NdjsonLoader  # noqa: PLC0415

    return NdjsonLoader(Path(target), on_conflict=config.on_conflict)


def target_text(config: JobConfig, environ: Mapping[str, str] | None = None) -> str:
    """The target as given, or COUCHDB_URL."""
    environ = os.environ if environ is None else environ
    target = config.target or environ.get("COUCHDB_URL", "")
    if not target:
        raise ConfigError("There is no target.", hint=f"Add --to TARGET ({TARGET_FORMS}) or set COUCHDB_URL.")
    return target


def target_database(config: JobConfig, environ: Mapping[str, str] | None = None) -> str | None:
    """The database that the target's URL names, if it names one."""
    target = target_text(config, environ)
    return parse_endpoint(target, environ=environ)[1] if is_server_url(target) else None


def _tls(config: JobConfig) -> TlsFiles:
    return TlsFiles(config.ca_file or None, config.client_cert or None, config.client_key or None)


def _refuse_scheme(text: str, forms: str) -> None:
    match = _SCHEME.match(text)
    if match and not Path(text).exists():
        near = difflib.get_close_matches(match[1].lower(), SCHEMES, n=1)
        raise ConfigError(
            f"{redact(text)}: the scheme {match[1]!r} is not known.",
            hint=(f"Did you mean {near[0]}:? " if near else "") + f"Known are: {forms}.",
        )
