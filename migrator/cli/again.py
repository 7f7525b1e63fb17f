"""The whole commands that hints name: to be copied and run as they are, without credentials."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Sequence

import click

from migrator.couch.places import redact
from migrator.errors import FLAG, MigratorError, TargetReplaced, without_passwords

WORDS = "migrator.words"
"""Where the group's context keeps the words of the command line."""

# These say how far to go on, which another run decides for itself; a ping's address is a secret.
_NOT_AGAIN = {"--resume": 0, "--restart": 0, "--ping": 1}
_GO_ON = re.compile(r"\b[Gg]o on( later)? with --resume")


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
