"""Which ways of keeping a target up to date go together, said before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping

from migrator.config import JobConfig
from migrator.couch.endpoint import is_server_url
from migrator.errors import ConfigError
from migrator.registry import target_text


def is_sync(config: JobConfig) -> bool:
    """True when a job is one of this chapter's."""
    return config.replicate


def check_modes(config: JobConfig, environ: Mapping[str, str] | None = None) -> None:
    """Refuse what does not go together.

    Raises:
        ConfigError: names the flag in the way.
    """
    if not is_sync(config):
        _refuse(config, "goes with --replicate only", "Leave it out.", ("keep_job",))
        return
    mode = "--replicate"
    _refuse(
        config,
        "does not go with --replicate: the replicator copies revisions as they are",
        "Leave one of the two out.",
        ("transform", "newer_field", "max_errors", "dry_run"),
    )
    if config.on_conflict != "fail":
        raise ConfigError(
            "--on-conflict does not go with --replicate: the replicator keeps both revisions.",
            hint="Leave one of the two out.",
        )
    for flag, text in (("--from", config.source), ("--to", target_text(config, environ))):
        if not is_server_url(text):
            raise ConfigError(
                f"{mode} works between two CouchDB servers, and {flag} is {text or 'not given'!s}.",
                hint="Name http(s)://host:5984.",
            )


def _refuse(config: JobConfig, why: str, hint: str, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(config, name):
            raise ConfigError(f"--{name.replace('_', '-')} {why}.", hint=hint)
