"""What is asked of the plan of a whole server, and of doing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from migrator.config.option import CHOICE, DATABASES, RESUME, TUNING, WRITING, option, options_class
from migrator.errors import ConfigError


@options_class
class PlanOptions:
    """What to plan."""

    patterns: tuple[str, ...] = option((), CHOICE, unit="NAME", flag=DATABASES)
    map: Mapping[str, str] = option({}, "New name of a database; also 'old_*=new_*'.", unit="NAME=DATABASE")
    users: bool = option(
        True, "Also move _users.", typed="Leave _users behind.", flag="--no-users", means={True: False}
    )
    replicator: bool = option(False, "Also move the replications, paused.")
    quick: bool = option(
        False,
        "Read only documents that may be too large, not every one; then no attachments and conflicts are counted.",
    )
    probe: bool = option(
        True,
        "Copy a sample into a scratch database, to estimate the duration.",
        typed="Copy no sample into a scratch database; then no duration is estimated.",
        flag="--no-probe",
        means={True: False},
    )


@options_class
class ApplyOptions:
    """How to do a plan.

    With `keep_checkpoint` the checkpoint stays when all is done. `stuck_s` is how long an index
    may make no progress; `again` the command that repeats the plan, for who reads the rejects.
    """

    source: str = option("", "The plan's source, by another URL or with credentials.", unit="URL", flag="--from")
    target: str = option("", "The plan's target, by another URL or with credentials.", unit="URL", flag="--to")
    checkpoint: Path | None = option(
        None, "Where the position is kept.", unit="FILE", text="PLAN.checkpoint, until done", group=RESUME
    )
    resume: bool = option(
        False, "Continue from the checkpoint; start from the beginning if there is none.", group=RESUME
    )
    restart: bool = option(
        False, "Start from the beginning; what is at the target already stays as it is.", group=RESUME
    )
    rejects: Path | None = option(
        None, "Where rejected documents are written.", unit="FILE", text="PLAN.rejects.ndjson", group=WRITING
    )
    verify: Literal["no", "revisions", "contents"] = option(
        "revisions",
        "What to compare afterwards: revisions (with settings and indexes), contents (also every document and "
        "attachment) or no.",
        typed="Afterwards also compare every document and attachment, or compare nothing.",
        flag="--verify/--no-verify",
        means={True: "contents", False: "no"},
        choices=("no", "revisions", "contents"),
        text="compare revisions, settings and indexes",
    )
    warm: bool = option(
        True,
        "Build all indexes before anybody may use the databases.",
        typed="Open the databases without waiting for their indexes.",
        flag="--no-warm",
        means={True: False},
    )
    side_by_side: int = option(4, "Databases copied at once.", unit="N", at_least=1, at_most=64, group=TUNING)
    keep_checkpoint: bool = False
    stuck_s: float = 600.0
    again: str = ""

    def __post_init__(self) -> None:
        if self.resume and self.restart:
            raise ConfigError("--resume and --restart exclude each other.", hint="Keep one of them.")

    def beside(self, plan: Path) -> ApplyOptions:
        """The same, with the files that are not named beside the plan's."""
        return replace(
            self,
            checkpoint=self.checkpoint or plan.with_name(f"{plan.name}.checkpoint"),
            rejects=self.rejects or plan.with_name(f"{plan.name}.rejects.ndjson"),
        )
