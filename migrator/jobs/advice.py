"""The whole commands that write what was rejected, after a fix."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from migrator.checkpoint.rejects import stages_in
from migrator.config import Connection, JobConfig
from migrator.config.option import options_of
from migrator.config.words import words_of
from migrator.couch.places import is_server_url, redact
from migrator.errors import without_passwords
from migrator.jobs.registry import target_text

# What decides how and where documents are written.
_CARRIED = {"on_conflict", "newer_field", "q", "n", "partitioned"} | {each.name for each in options_of(Connection)}
# What was not rejected at the target has not passed the run's transformers.
_BEFORE_LOADING = ("extract", "transform")


def retry_commands(rejects: str | os.PathLike[str], config: JobConfig, counts: Mapping[str, int]) -> list[str]:
    """The commands that write a run's rejects again: one, or two where only some need the transformers again.

    Args:
        rejects: the reject file.
        config: the run's job.
        counts: rejected documents by collection.
    """
    target = target_text(config)
    path = os.fspath(rejects)
    path = f"./{path}" if path.startswith("-") else path
    words = ["migrator", "retry", path, "--to", redact(target) if is_server_url(target) else target]
    for name, database in config.map.items() if is_server_url(target) else ():
        if counts.get(name):
            words += ["--map", f"{name}={database}"]
    transforms = [word for spec in config.transform for word in ("--transform", without_passwords(spec))]
    stages = stages_in(Path(rejects)) if transforms else set()
    early = [stage for stage in _BEFORE_LOADING if stage in stages]
    loaded = sorted(stages.difference(_BEFORE_LOADING))
    if not (early and loaded):
        return [shlex.join([*words, *(transforms if early else ()), *words_of(config, _CARRIED)])]
    by_stage = [[word for stage in some for word in ("--stage", stage)] for some in (loaded, early)]
    return [
        shlex.join([*words, *by_stage[0], *words_of(config, _CARRIED)]),
        shlex.join([*words, *by_stage[1], *transforms, *words_of(config, _CARRIED)]),
    ]


def credentials_hint(config: JobConfig) -> str:
    """What to do about credentials that a hint's command leaves out; "" where there were none in it."""
    target = target_text(config)
    hint = ""
    if is_server_url(target) and redact(target) != target:
        hint = " (set COUCHDB_USER and COUCHDB_PASSWORD first, as credentials are not shown)"
    if any(spec != without_passwords(spec) for spec in config.transform):
        hint += " (--transform had credentials, which are not shown: add them)"
    return hint
