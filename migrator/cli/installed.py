"""`migrator completion` and `migrator plugins`: what a shell knows of the commands, and what was installed."""

from __future__ import annotations

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

from migrator.errors import ConfigError

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


@click.command()
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


@click.command()
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
        click.echo(f"{line}  {note}".rstrip())
    if not installed:
        click.echo("There are none; docs/plugins.md says how to write one.", err=True)
