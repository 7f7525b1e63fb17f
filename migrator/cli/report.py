"""`migrator report`, `status`, `plugins`, `completion`: what was done, what is there, what a shell completes."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from migrator.checkpoint.file import COMMAND, Checkpoint, CheckpointFile
from migrator.cli.flags import Command, flags
from migrator.cli.messages import say
from migrator.cli.rendering import show
from migrator.config.option import BESIDE, CommandOptions
from migrator.errors import ConfigError
from migrator.report.result import write_report
from migrator.report.summary import report_from_json, report_to_table, table

# A report has a few hundred bytes for each collection and a thousand differences; a larger file is something else.
MAX_FILE_BYTES = 256_000_000


@click.command(cls=Command)
@click.argument("report_file", metavar="REPORT")
@flags(CommandOptions, "form", "html")
def report(report_file: str, form: str | None, html: str | None) -> None:
    """Show the REPORT that --report of run, retry or verify wrote; - reads standard input.

    Without --html it is printed as a table. The page needs no other file and asks no other host for anything.

    \b
    Examples:
      migrator report report.json
      migrator report report.json --format text | mail -s "The move" ada@example.com
      migrator report report.json --html
      migrator report report.json --html page.html
    """
    value = _read(report_file)
    if html is None and form != "text":
        show(value, _text(value, report_file))
        return
    from migrator.report.html import render_page

    if html is None:
        click.echo(render_page(value, name=report_file, short=True), nl=False)
        return
    if form:
        raise ConfigError("--html writes a page, so --format does nothing.", hint="Leave one of them out.")
    page = render_page(value, name=report_file)
    if html == "-" or (html == BESIDE and report_file == "-"):
        click.echo(page, nl=False)
        return
    path = Path(report_file).with_suffix(".html") if html == BESIDE else Path(html)
    if path.exists() and report_file != "-" and path.samefile(report_file):
        raise ConfigError(f"{path} is the report itself.", hint="Name another file with --html FILE.")

    write_report(str(path), page, instead="name another with --html FILE")
    say(f"Wrote {path}.")


def _text(value: Any, name: str) -> str:
    from migrator.verification.result import result_from_json, result_to_text

    if isinstance(value, dict) and "differences" in value:
        return result_to_text(result_from_json(value, name=name))
    text = report_to_table(report_from_json(value, name=name), dry_run=bool(value.get("dry_run")))
    verification = value.get("verification")
    return text if verification is None else text + result_to_text(result_from_json(verification, name=name))


def _read(name: str) -> Any:
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise ConfigError(f"{name} is too large for a report.", hint="Name the file that --report wrote.")
        return json.loads(text)
    except OSError as error:
        raise ConfigError(
            f"Report {name} cannot be read: {error.strerror}.",
            hint="Name the file that --report of migrator run, retry or verify wrote.",
        ) from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{name} is not JSON.", hint="Name the file that --report wrote.") from None


@click.command(cls=Command)
@click.argument("checkpoint", type=click.Path(path_type=Path))
def status(checkpoint: Path) -> None:
    """Show how far the job of a CHECKPOINT file is.

    \b
    Example:
      migrator status nightly.json
    """
    file = CheckpointFile(checkpoint)
    if not file.exists() and not file.real.is_symlink():
        raise ConfigError(f"There is no checkpoint {checkpoint}.", hint="Name the file that --checkpoint names.")
    found = file.load()
    value = {
        "finished": found.finished,
        "job": found.job,
        "collections": {
            name: {"finished": state.finished, **state.counts.as_dict()}
            for name, state in found.collections.items()
        },
        "totals": found.totals.as_dict(),
    }
    names = ("read", "written", "unchanged", "skipped", "filtered", "rejected")
    rows: list[tuple[str, ...]] = [("collection", "state", *names)]
    for name, state in found.collections.items():
        numbers = [f"{getattr(state.counts, each):,}" for each in names]
        rows.append((name, "finished" if state.finished else "under way", *numbers))
    end = "finished." if found.finished else f"not finished. Go on with: {_goes_on(found, checkpoint)}"
    job = found.job
    sides = f"from {job['source']} to {job.get('target')}" if "source" in job else "the move of a whole server"
    show(value, f"{sides}\n{table(rows, left=2)}\nThe job is {end}\n")


# By what a checkpoint's job says of its kind, the command and what it says of itself.
_KINDS = {
    "verify": ["verify"],
    "replicate": ["run", "--replicate"],
    "since last": ["run", "--since-last"],
    "apply": ["apply"],
}


def _goes_on(found: Checkpoint, path: Path) -> str:
    """The whole command that goes on; of files of older versions, which did not keep it, what their job says."""
    kind = str(found.job.get("operation") or found.job.get("command"))
    start = _KINDS.get(kind, ["run"])
    words = [str(word) for word in found.details.get(COMMAND, ())]
    if kind == "apply":
        # Kept as it was typed, to start over.
        words = [word for word in words[2:] if word != "--restart"] or [path.name.removesuffix(".checkpoint")]
    elif not words:
        words = ["--from", str(found.job.get("source")), "--to", str(found.job.get("target"))]
    start = start[:1] + [word for word in start[1:] if word not in words]
    if "--checkpoint" not in words:
        words += ["--checkpoint", str(path)]
    return shlex.join(["migrator", *start, *words, "--resume"])


VARIABLE = "_MIGRATOR_COMPLETE"


class _OrFiles(ShellComplete):
    """Where nothing of our own fits, a value is completed as a file's name: most values are."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        found = super().get_completions(args, incomplete)
        if found or incomplete.startswith("-"):
            return found
        return [CompletionItem(incomplete, type="file")]


class _Bash(_OrFiles, BashComplete):
    pass


class _Zsh(_OrFiles, ZshComplete):
    # A zsh whose .zshrc has not called compinit knows no compdef.
    source_template = ZshComplete.source_template.replace(
        "    compdef ", "    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u }\n    compdef "
    )


class _Fish(_OrFiles, FishComplete):
    pass


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def register() -> None:
    """Let click answer a shell's questions by these classes."""
    for shell in SHELLS.values():
        add_completion_class(shell)


@click.command(cls=Command, output=False)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> Any:
    """Print the script that lets SHELL complete commands, flags, choices and files with the Tab key.

    \b
    Examples:
      migrator completion bash >> ~/.bashrc
      migrator completion zsh >> ~/.zshrc
      migrator completion fish > ~/.config/fish/completions/migrator.fish
    """
    root = context.find_root().command
    click.echo(SHELLS[shell](root, {}, "migrator", VARIABLE).source())


@click.command(cls=Command)
def plugins() -> None:
    """List the extractors, transformers and loaders that installed distributions add.

    Each is imported to see that it can be; one that cannot is listed with the reason.

    \b
    Example:
      migrator plugins
    """
    from migrator import plugins as found
    from migrator.jobs.registry import own_words

    installed = found.installed()
    value, lines = [], []
    seen: dict[tuple[str, str], str] = {}
    for plugin in installed:
        note = ""
        other = seen.setdefault((plugin.group, plugin.word), plugin.distribution)
        if plugin.word in own_words(plugin.group):
            note = "not used: the word is migrator's own"
        elif other != plugin.distribution:
            note = f"not used: {other} registers it too"
        else:
            try:
                plugin.load()
            except ConfigError as error:
                note = f"broken: {error.message}"
        kind = found.GROUPS[plugin.group]
        line = f"{kind:<12} {plugin.word + ':':<16} {plugin.distribution} {plugin.version}  {plugin.target}"
        lines.append(f"{line}  {note}".rstrip() + "\n")
        names = ("word", "distribution", "version", "target")
        value.append({"kind": kind, **{each: getattr(plugin, each) for each in names}, "note": note})
    show({"schema": 1, "plugins": value}, "".join(lines))
    if not installed:
        say("There are none; docs/plugins.md says how to write one.")
