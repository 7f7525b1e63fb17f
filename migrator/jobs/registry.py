"""From the words SOURCE and TARGET to the extractor and loader they stand for."""

from __future__ import annotations

import importlib.metadata
import os
import pkgutil
import re
import threading
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from migrator import plugins
from migrator.config import JobConfig, kinds
from migrator.couch.endpoint import is_server_url, redact
from migrator.couch.locate import client_of, locate
from migrator.couch.places import checked_place
from migrator.errors import ConfigError
from migrator.files.streams import is_stream
from migrator.files.urls import file_url
from migrator.jobs.piped import PipedExtractor, copy_of, pipe_of
from migrator.model import Extractor, Loader
from migrator.model.capabilities import NO_EFFECT, Effect, NeedsIds, effect_of
from migrator.naming import did_you_mean
from migrator.plugins import extra

if TYPE_CHECKING:
    from migrator.couch.client import CouchClient

# Windows paths have one letter before the colon; schemes have more.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9.-]+)(?:\+[A-Za-z0-9_.+-]+)?:")


def open_extractor(
    config: JobConfig, environ: Mapping[str, str] | None = None, stopping: threading.Event | None = None
) -> Extractor:
    """The extractor of a job's source.

    Args:
        config: the job.
        environ: the environment; the process's own by default.
        stopping: set it to stop waiting for a pipe.

    Raises:
        ConfigError: the source is of no known kind, or not there.
    """
    source = config.source
    if not source:
        raise ConfigError("There is no source.", hint=f"Add --from SOURCE: {kinds.SOURCE_FORMS}.")
    environ = os.environ if environ is None else environ
    own = {**kinds.SOURCE_BY_SCHEME, **_other_dialect(source)}
    known = (*own, *_plugin_words(source, own, plugins.EXTRACTORS))
    source = checked_place(source, "--from", known=known, reads=True)
    config = replace(config, source=source)
    if (pipe := pipe_of(source)) is not None:
        config, copy = copy_of(config, pipe, stopping)
        return PipedExtractor(open_extractor(config, environ), pipe.name, copy)
    scheme = scheme_of(source)
    if scheme in kinds.ENDINGS and re.match(r"//[^/]", source[len(scheme) + 1 :]):
        raise ConfigError(
            f"{redact(source)} names a server, and {scheme}: reads files.",
            hint=f"Write {scheme}:FILE. Known are: {kinds.SOURCE_FORMS}.",
        )
    if plugin := _plugin(source, own, plugins.EXTRACTORS, kinds.SOURCE_FORMS):
        extractor: Extractor = plugin.make(Extractor, source, config, environ)
    else:
        row = kinds.ELSEWHERE if is_elsewhere(source) else own.get(scheme) or kinds.by_name(source)
        with extra(row.extra, what=row.title):
            factory = pkgutil.resolve_name(row.factory)
        extractor = factory(source, config, environ)
    if isinstance(extractor, NeedsIds):
        extractor.ids_given = effects(config).makes_id
    return extractor


def is_elsewhere(source: str) -> bool:
    """True of a file that is named by its URL, without a kind before it."""
    url = file_url(source)
    return url is not None and not url.word and not Path(source).exists()


def _other_dialect(source: str) -> Mapping[str, kinds.Source]:
    """The row of a scheme that an installed dialect of SQLAlchemy alone knows."""
    scheme = scheme_of(source)
    if not scheme or scheme in kinds.SOURCE_BY_SCHEME or plugins.find(plugins.EXTRACTORS, scheme):
        return {}
    dialects = importlib.metadata.entry_points(group="sqlalchemy.dialects")
    words = {point.name.partition(".")[0].lower() for point in dialects}
    return {scheme: kinds.SOURCE_BY_SCHEME["sqlite"]} if scheme in words else {}


def effects(config: JobConfig) -> Effect:
    """What a job's transformers do to ids."""
    if not config.transform:
        return NO_EFFECT
    from migrator.transformers import parse_all  # most jobs have none

    return effect_of(parse_all(config.transform))


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
    names = dict(names or {})
    plugin = None if is_stream(target) else _target_plugin(target)
    if plugin is not None:
        loader: Loader = plugin.make(Loader, target, config, names, os.environ if environ is None else environ)
    else:
        row = kinds.TARGET_BY_SCHEME.get(scheme_of(target)) or (
            kinds.STREAM if is_stream(target) else kinds.FOLDER
        )
        loader = pkgutil.resolve_name(row.factory)(target, config, names, environ)
    return loader


def open_client(
    config: JobConfig, role: str, environ: Mapping[str, str] | None = None
) -> tuple[CouchClient, str | None]:
    """A client of a job's server, for what neither an extractor nor a loader does, and the database it names.

    Args:
        config: the job.
        role: "source" or "target"; that side is a server.
        environ: the environment; the process's own by default.
    """
    text = config.source if role == "source" else target_text(config, environ)
    return client_of(config, text, role=role, environ=environ)


def _plugin_words(text: str, own: Collection[str], group: str) -> tuple[str, ...]:
    """The schemes that plugins add, which are looked for only where a text's own is none of this package's."""
    scheme = scheme_of(text)
    return tuple(plugins.words(group)) if scheme and scheme not in own else ()


def target_text(config: JobConfig, environ: Mapping[str, str] | None = None) -> str:
    """The target as given, or COUCHDB_URL.

    Raises:
        ConfigError: there is none, or it is a mistyped URL.
    """
    environ = os.environ if environ is None else environ
    target = config.target or environ.get("COUCHDB_URL", "")
    if not target:
        raise ConfigError(
            "There is no target.", hint=f"Add --to TARGET ({kinds.TARGET_FORMS}) or set COUCHDB_URL."
        )
    what = "--to" if config.target else "COUCHDB_URL"
    words = _plugin_words(target, kinds.TARGET_BY_SCHEME, plugins.LOADERS)
    if file_url(target) and scheme_of(target) not in words and not Path(target).exists():
        raise ConfigError(
            f"{what} {redact(target)} is a file elsewhere, which is read and not written.",
            hint=f"Name {kinds.TARGET_FORMS}. Backups go there: migrator backup --to s3://bucket/path",
        )
    return checked_place(target, what, known=words)


def server_text(url: str | None, role: str, environ: Mapping[str, str] | None = None) -> str:
    """A server's URL as given, or COUCHDB_URL.

    Args:
        url: what was given.
        role: "source" or "target".
        environ: the environment; the process's own by default.

    Raises:
        ConfigError: there is none, or it is something else.
    """
    flag = "--from" if role == "source" else "--to"
    found = url or (os.environ if environ is None else environ).get("COUCHDB_URL", "")
    found = checked_place(found, flag if url else "COUCHDB_URL")
    if not is_server_url(found):
        raise ConfigError(
            f"{flag} names no server." if found else f"There is no server: neither {flag} nor COUCHDB_URL.",
            hint=f"For example {flag} http://localhost:5984",
        )
    return found


def target_database(config: JobConfig, environ: Mapping[str, str] | None = None) -> str | None:
    """The database that the target's URL names, if it names one."""
    target = target_text(config, environ)
    if not is_server_url(target):
        return None
    return locate(target, config=config, role="target", environ=environ)[1]


def refuse_plugin_target(target: str) -> None:
    """Say that a target cannot be read back, where it is a plugin's.

    Raises:
        ConfigError: it is.
    """
    if is_stream(target):
        raise ConfigError(
            f"What is written to {target} cannot be read back.",
            hint="Verified can be http(s) servers and folders.",
        )
    plugin = _target_plugin(target)
    if plugin is not None:
        raise ConfigError(
            f"{redact(target)} cannot be verified: {plugin} writes and does not read.",
            hint="Verified can be http(s) servers and folders.",
        )


def own_words(group: str) -> list[str]:
    """The words of a group of plugins that are this package's own, which no plugin can take."""
    if group == plugins.TRANSFORMERS:
        return sorted(kind.word for kind in kinds.KINDS if kind.word)
    return sorted(kinds.SOURCE_BY_SCHEME if group == plugins.EXTRACTORS else kinds.TARGET_BY_SCHEME)


def _target_plugin(target: str) -> plugins.Plugin | None:
    return _plugin(target, kinds.TARGET_BY_SCHEME, plugins.LOADERS, kinds.TARGET_FORMS)


def _plugin(text: str, own: Mapping[str, object], group: str, forms: str) -> plugins.Plugin | None:
    """The plug-in that a scheme stands for; None where it is this package's own, or none, as in a file's name."""
    scheme = scheme_of(text)
    if not scheme or scheme in own or Path(text).exists():
        return None
    if plugin := plugins.find(group, scheme):
        return plugin
    others = plugins.words(group)
    more = f"; by plugins: {', '.join(others)}" if others else ""
    raise ConfigError(
        f"{redact(text)}: the scheme {scheme!r} is not known.",
        hint=f"{did_you_mean(scheme, [*own, *others], '{}:')} Known are: {forms}{more}.",
    )


def scheme_of(text: str) -> str:
    """The word before the colon of a SOURCE or TARGET, without a driver's name after it; "" for a path."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else ""
