"""The whole commands that hints name: to be copied and run as they are, without credentials."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from migrator.checkpoint.rejects import stages_in
from migrator.config import Connection, JobConfig
from migrator.config.option import options_of
from migrator.couch.endpoint import is_server_url, redact
from migrator.errors import FLAG, MigratorError, TargetReplaced, without_passwords
from migrator.jobs.registry import target_text

WORDS = "migrator.words"
"""Where the group's context keeps the words of the command line."""

# What decides how and where documents are written.
_CARRIED = {"on_conflict", "newer_field", "q", "n", "partitioned"} | {each.name for each in options_of(Connection)}
# These say how far to go on, which another run decides for itself; a ping's address is a secret.
_NOT_AGAIN = {"--resume": 0, "--restart": 0, "--ping": 1}
_GO_ON = re.compile(r"\b[Gg]o on( later)? with --resume")
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
    words = ["migrator", "retry", _path(rejects), "--to", redact(target) if is_server_url(target) else target]
    for name, database in config.map.items() if is_server_url(target) else ():
        if counts.get(name):
            words += ["--map", f"{name}={database}"]
    transforms = [word for spec in config.transform for word in ("--transform", without_passwords(spec))]
    stages = stages_in(Path(rejects)) if transforms else set()
    early = [stage for stage in _BEFORE_LOADING if stage in stages]
    loaded = sorted(stages.difference(_BEFORE_LOADING))
    if not early:
        return [shlex.join([*words, *_carried(config)])]
    if not loaded:
        return [shlex.join([*words, *transforms, *_carried(config)])]
    return [
        shlex.join([*words, *_stages(loaded), *_carried(config)]),
        shlex.join([*words, *_stages(early), *transforms, *_carried(config)]),
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


def this_command(*more: str) -> str:
    """The command that runs now, with more words at its end.

    Args:
        more: the words.
    """
    return _command(_typed(), *more)


def _typed() -> Sequence[str]:
    context = click.get_current_context(silent=True)
    words: Sequence[str] = context.meta.get(WORDS, ()) if context else ()
    return words


def whole_hint(error: MigratorError, words: Sequence[str] | None = None) -> str:
    """What to do about an error, with the whole command to type next where that is this one with a flag.

    A command that has no --resume goes on by being run again.

    Args:
        error: what ended it.
        words: what was typed after `migrator`; None for that of the command that runs now.
    """
    words = _typed() if words is None else words
    hint = with_place(error.hint or error.usual_hint, words)
    if isinstance(error, TargetReplaced):
        flags = [] if error.flag is None else [error.flag]
    else:
        flags = [f"--{name}" for _, name in FLAG.findall(hint)]
    if not words or not flags:
        return hint
    if "--resume" in flags and "--resume" not in _options(words):
        hint, flags = _GO_ON.sub(_run_again, hint), [""]
    return f"{hint} Type: {' or: '.join(_command(words, *filter(None, [flag])) for flag in flags)}"


def with_place(hint: str, words: Sequence[str]) -> str:
    """A hint whose command leaves the place of backups open, with the place that was typed."""
    if "--from PLACE" not in hint:
        return hint
    from migrator.backup.storage.remote import without_credentials  # only for this

    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        option, equals, value = word.partition("=")
        place = value if equals else following
        if option == "--from" and place:
            return hint.replace("--from PLACE", f"--from {shlex.quote(without_credentials(place))}")
    return hint


def _run_again(found: re.Match[str]) -> str:
    return f"{'R' if found[0][0] == 'G' else 'r'}un the same command again{found[1] or ''}"


def _options(words: Sequence[str]) -> set[str]:
    """What the command of these words can be told."""
    from migrator.cli import cli  # which imports this

    command: click.Command = cli
    for word in words:
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word) or command
    return {option for param in command.params for option in param.opts if not getattr(param, "hidden", False)}


def _command(words: Sequence[str], *more: str) -> str:
    kept: list[str] = []
    skipped = 0
    for word in words:
        if skipped:
            skipped -= 1
            continue
        option, equals, _ = word.partition("=")
        if option in _NOT_AGAIN:
            skipped = 0 if equals else _NOT_AGAIN[option]
            continue
        kept.append(without_passwords(redact(word) if "://" in word else word))
    return shlex.join(["migrator", *kept, *more])


def _carried(config: JobConfig) -> list[str]:
    words: list[str] = []
    usual = JobConfig()
    for each in options_of(config):
        if each.name in _CARRIED and each.value != getattr(usual, each.name):
            words += [each.flags[-1]] if each.value is True else [each.flags[-1], each.default]
    return words


def _stages(stages: Sequence[str]) -> list[str]:
    return [word for stage in stages for word in ("--stage", stage)]


def _path(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    return f"./{text}" if text.startswith("-") else text
