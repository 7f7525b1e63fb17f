"""What commands print of a result: a table or JSON on standard output, and a report file where one is named.

Also the whole commands that hints name: to be copied and run as they are, without credentials.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from migrator.cli.messages import AS_JSON, asked, print_text
from migrator.config import JobConfig
from migrator.couch.places import redact
from migrator.errors import FLAG, MigratorError, TargetReplaced, without_passwords
from migrator.files.urls import shown_url
from migrator.naming import counted, was

if TYPE_CHECKING:
    from migrator.verification.run import RunResult

WORDS = "migrator.words"
"""Where the group's context keeps the words of the command line."""

# These say how far to go on, which another run decides for itself; a ping's address is a secret.
_NOT_AGAIN = {"--resume": 0, "--restart": 0, "--ping": 1}
_GO_ON = re.compile(r"\b[Gg]o on( later)? with --resume")


def print_run(result: RunResult) -> None:
    """Print what a run did: as a table, or with `--report -` as JSON; with --json, other JSON follows."""
    from migrator.files.streams import is_standard_output  # as below: a page of help needs none of this
    from migrator.report.summary import report_to_table

    config = result.config
    text = "" if config.json else report_to_table(result.report, dry_run=config.dry_run)
    _print(result.to_dict, text, report=config.report, beside=is_standard_output(config.target))


def show(value: Any, text: str, *, report: str = "", beside: bool = False) -> None:
    """Print a result: a text for people, or with --json one line; and write the report where one is wanted.

    Args:
        value: the result for machines.
        text: the same for people.
        report: the report file; `-` prints it instead of the text.
        beside: standard output has something else, so that this goes to standard error.

    Raises:
        StorageError, ConfigError: the file cannot be written.
    """
    from migrator.report.result import write_report
    from migrator.report.summary import dump

    if report and report != "-":
        write_report(report, dump(value))
    _print(lambda: value, text, report=report, beside=beside)


def _print(value: Callable[[], Any], text: str, *, report: str, beside: bool) -> None:
    """Print the one of a result's forms that was asked for; `value` is called where it is JSON."""
    from migrator.report.summary import dump

    if asked(AS_JSON):
        click.echo(json.dumps(value()), err=beside)
    elif report == "-":
        click.echo(dump(value()), nl=False)
    elif text:
        print_text(text, beside=beside)


def rejected_text(count: int, what: str = "document") -> str:
    """How many documents, or others, were rejected, in words."""
    return f"{counted(count, what)} {was(count)} rejected"


def rejects_advice(result: RunResult) -> str:
    """What to do about a run's rejected documents."""
    text = f"{rejected_text(result.rejected)}."
    if altered := result.report.altered:
        text += f" {altered:,} of them {was(altered)} changed on the way to the server."
    if result.config.replicate:
        return (
            f"{text} The server does not name them; migrator verify --from SOURCE --to TARGET does. "
            "Once refused they are not tried again; after a fix: the same command with --restart"
        )
    if not result.rejects:
        return text
    return f"{text} {retry_advice(result.rejects, result.config, result.rejected_of, result.rejected)}"


def retry_advice(rejects: str | os.PathLike[str], config: JobConfig, counts: Mapping[str, int], count: int) -> str:
    """Where so many rejects are, and the whole commands that write them after a fix."""
    from migrator.jobs.advice import credentials_hint, retry_commands  # only where there are rejects

    commands = retry_commands(rejects, config, counts)
    place = f"{was(count, 'It is', 'They are')} in {rejects}"
    return f"{place}; after a fix: {'; '.join(commands)}{credentials_hint(config)}"


def this_command(*more: str, without: Sequence[str] = ()) -> str:
    """The command that runs now, with more words at its end, and without some options that take a value."""
    return command_text(_typed(), *more, without=without)


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
    if "--resume" in flags and "--resume" not in flags_of(words):
        hint, flags = _GO_ON.sub(_run_again, hint), [""]
    return f"{hint} Type: {' or: '.join(command_text(words, *filter(None, [flag])) for flag in flags)}"


def with_place(hint: str, words: Sequence[str]) -> str:
    """A hint whose command leaves the place of backups open, with the place that was typed."""
    if "--from PLACE" not in hint:
        return hint
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        option, equals, value = word.partition("=")
        place = value if equals else following
        if option == "--from" and place:
            return hint.replace("--from PLACE", f"--from {shlex.quote(shown_url(place))}")
    return hint


def _run_again(found: re.Match[str]) -> str:
    return f"{'R' if found[0][0] == 'G' else 'r'}un the same command again{found[1] or ''}"


def flags_of(words: Sequence[str]) -> set[str]:
    """The flags that the command of these words shows."""
    from migrator.cli import cli  # which imports this

    command: click.Command = cli
    for word in words:
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word) or command
    return {option for param in command.params for option in param.opts if not getattr(param, "hidden", False)}


def command_text(words: Sequence[str], *more: str, without: Sequence[str] = ()) -> str:
    """A whole command to type, without credentials and without what says how far to go on.

    Args:
        words: what was typed after `migrator`.
        more: words at its end.
        without: options that are left out with their values.
    """
    left_out = {**_NOT_AGAIN, **dict.fromkeys(without, 1)}
    kept: list[str] = []
    skipped = 0
    for word in words:
        if skipped:
            skipped -= 1
            continue
        option, equals, _ = word.partition("=")
        if option in left_out:
            skipped = 0 if equals else left_out[option]
            continue
        kept.append(without_passwords(redact(word) if "://" in word else word))
    return shlex.join(["migrator", *kept, *more])
