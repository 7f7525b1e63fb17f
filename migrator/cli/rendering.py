"""What commands print of a result: a table or JSON on standard output, and a report file where one is named.

Also the whole commands that hints name: to be copied and run as they are, without credentials.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrator.cli.messages import print_text
from migrator.config import Connection, JobConfig
from migrator.config.option import options_of
from migrator.couch.places import is_server_url, redact
from migrator.errors import (
    EXIT_DIFFERENCES,
    EXIT_REJECTS,
    FLAG,
    MigratorError,
    TargetReplaced,
    without_passwords,
)
from migrator.files.durable import replace_file
from migrator.files.failures import AGAIN, RESUME, writing
from migrator.files.streams import is_standard_output
from migrator.naming import counted, was
from migrator.report.summary import dump, report_to_json, report_to_table

if TYPE_CHECKING:
    from migrator.jobs.run import JobResult
    from migrator.report.history import HistoryListener
    from migrator.verification.result import VerifyResult

WORDS = "migrator.words"
"""Where the group's context keeps the words of the command line."""

# These say how far to go on, which another run decides for itself; a ping's address is a secret.
_NOT_AGAIN = {"--resume": 0, "--restart": 0, "--ping": 1}
_GO_ON = re.compile(r"\b[Gg]o on( later)? with --resume")
# What decides how and where documents are written.
_CARRIED = {"on_conflict", "newer_field", "q", "n", "partitioned"} | {each.name for each in options_of(Connection)}
# What was not rejected at the target has not passed the run's transformers.
_BEFORE_LOADING = ("extract", "transform")


def print_result(result: JobResult, config: JobConfig, history: HistoryListener) -> None:
    """Print a run's report, and write it to the file that the job names.

    Raises:
        StorageError, ConfigError: the file cannot be written.
    """
    write_result(result, config, history)
    if config.report != "-" and not config.json:
        print_text(
            report_to_table(result.report, dry_run=config.dry_run), beside=is_standard_output(config.target)
        )


def write_result(
    result: JobResult, config: JobConfig, history: HistoryListener, verification: VerifyResult | None = None
) -> None:
    """Write a run's report as JSON where the job wants it: to a file, or with `-` to standard output."""
    if not config.report:
        return
    compared: dict[str, Any] | None = None
    if verification is not None:
        from migrator.verification.result import result_to_json

        compared = result_to_json(verification)
    value = report_to_json(
        result.report,
        rejects=str(result.rejects or ""),
        retry=retry_commands(result.rejects, config, counts_of(result)) if result.rejects else (),
        dry_run=config.dry_run,
        verification=compared,
        history=history.as_dict(),
    )
    if config.report != "-":
        # The checkpoint of a run that is through may be there.
        write_report(config.report, dump(value), again=RESUME)
    elif not config.json:
        click.echo(dump(value), nl=False)


def show(value: Any, text: str, *, as_json: bool | None = False, report: str = "") -> None:
    """Print a result, as JSON or as text, and write the report where one is wanted.

    Args:
        value: the result for machines.
        text: the same for people.
        as_json: print the one for machines.
        report: the report file; `-` prints it instead of the text.

    Raises:
        StorageError, ConfigError: the file cannot be written.
    """
    if report and report != "-":
        write_report(report, dump(value))
    click.echo(dump(value) if as_json or report == "-" else text, nl=False)


def write_report(
    path: str, text: str, *, instead: str = "name another with --report FILE", again: str = AGAIN
) -> None:
    """Write a report file whole, for its owner only.

    Raises:
        StorageError: there is no room, or no right to write.
        ConfigError: the path is wrong.
    """
    with writing(path, what="Report", instead=instead, again=again):
        replace_file(Path(path), text)


def rejected_text(count: int, what: str = "document") -> str:
    """How many documents, or others, were rejected, in words."""
    return f"{counted(count, what)} {was(count)} rejected"


def rejects_exit(altered: int) -> int:
    """The exit code of a run with rejects; some were changed on their way, as if a verification had found them."""
    return EXIT_DIFFERENCES if altered else EXIT_REJECTS


def rejects_advice(result: JobResult, config: JobConfig) -> str:
    """What to do about a run's rejected documents."""
    text = f"{rejected_text(result.report.rejected)}."
    if altered := result.report.altered:
        text += f" {altered:,} of them {was(altered)} changed on the way to the server."
    if config.replicate:
        return (
            f"{text} The server does not name them; migrator verify --from SOURCE --to TARGET does. "
            "Once refused they are not tried again; after a fix: the same command with --restart"
        )
    return f"{text} {retry_advice(result.rejects, config, counts_of(result))}" if result.rejects else text


def counts_of(result: JobResult) -> dict[str, int]:
    """Rejected documents by collection, of all runs of the job."""
    return {name: state.counts.rejected for name, state in result.state.collections.items()}


def retry_advice(rejects: str | os.PathLike[str], config: JobConfig, counts: Mapping[str, int]) -> str:
    """Where rejects are, and the whole commands that write them after a fix."""
    commands = retry_commands(rejects, config, counts)
    return f"They are in {rejects}; after a fix: {'; '.join(commands)}{credentials_hint(config)}"


def retry_commands(rejects: str | os.PathLike[str], config: JobConfig, counts: Mapping[str, int]) -> list[str]:
    """The commands that write a run's rejects again: one, or two where only some need the transformers again.

    Args:
        rejects: the reject file.
        config: the run's job.
        counts: rejected documents by collection.
    """
    from migrator.checkpoint.rejects import stages_in  # only where there are rejects
    from migrator.jobs.registry import target_text

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
        return [shlex.join([*words, *(transforms if early else ()), *_carried(config)])]
    by_stage = [[word for stage in some for word in ("--stage", stage)] for some in (loaded, early)]
    return [
        shlex.join([*words, *by_stage[0], *_carried(config)]),
        shlex.join([*words, *by_stage[1], *transforms, *_carried(config)]),
    ]


def credentials_hint(config: JobConfig) -> str:
    """What to do about credentials that a hint's command leaves out; "" where there were none in it."""
    from migrator.jobs.registry import target_text  # only where there are rejects

    target = target_text(config)
    hint = ""
    if is_server_url(target) and redact(target) != target:
        hint = " (set COUCHDB_USER and COUCHDB_PASSWORD first, as credentials are not shown)"
    if any(spec != without_passwords(spec) for spec in config.transform):
        hint += " (--transform had credentials, which are not shown: add them)"
    return hint


def _carried(config: JobConfig) -> list[str]:
    words: list[str] = []
    usual = JobConfig()
    for each in options_of(config):
        if each.name in _CARRIED and each.value != getattr(usual, each.name):
            words += [each.flags[-1]] if each.value is True else [each.flags[-1], each.default]
    return words


def this_command(*more: str) -> str:
    """The command that runs now, with more words at its end.

    Args:
        more: the words.
    """
    return command_text(_typed(), *more)


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
    from migrator.backup.storage.remote import without_credentials  # only for this

    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        option, equals, value = word.partition("=")
        place = value if equals else following
        if option == "--from" and place:
            return hint.replace("--from PLACE", f"--from {shlex.quote(without_credentials(place))}")
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


def command_text(words: Sequence[str], *more: str) -> str:
    """A whole command to type, without credentials and without what says how far to go on.

    Args:
        words: what was typed after `migrator`.
        more: words at its end.
    """
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
