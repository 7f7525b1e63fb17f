"""Names of files that mean the same to a worker, which was started in another folder than the command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from migrator.config import JobConfig
from migrator.errors import ConfigError
from migrator.files.streams import is_stream
from migrator.jobs.piped import refuse_pipe
from migrator.jobs.registry import scheme_of, target_text
from migrator.kinds.sources import ENDINGS

_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^/].*)", re.IGNORECASE)


def everywhere(config: JobConfig, environ: Mapping[str, str] | None) -> JobConfig:
    """The job with its source, target and TLS files named from the root, and with the target that is meant.

    Args:
        config: the job as it was typed.
        environ: the environment of the command, which may name the target; the process's own by default.
    """
    refuse_pipe(config.source, "each worker of --executor reads it")
    if is_stream(config.target):
        raise ConfigError(f"Workers cannot write to {config.target}.", hint="Name a server or a folder with --to.")
    return replace(
        config,
        source=from_root(config.source),
        target=from_root(target_text(config, environ)),
        ca_file=_path(config.ca_file),
        client_cert=_path(config.client_cert),
        client_key=_path(config.client_key),
    )


def from_root(text: str) -> str:
    """A SOURCE or TARGET whose path, if it has one, begins at the root.

    >>> from_root("http://localhost:5984"), from_root("csv:/data/a.csv?delimiter=;")
    ('http://localhost:5984', 'csv:/data/a.csv?delimiter=;')
    """
    if Path(text).exists():
        # As everywhere, a file goes before a scheme.
        return _path(text)
    scheme, _, rest = text.partition(":")
    if scheme.lower() in ENDINGS:
        return f"{scheme}:{_path(rest)}"
    if found := _SQLITE.fullmatch(text):
        return found[1] + _path(found[2])
    return text if scheme_of(text) else _path(text)


def _path(text: str) -> str:
    # Put before it and no more: links stay, and so does whatever stands after a question mark.
    return f"{Path.cwd()}/{text}" if text and not text.startswith("/") else text
