"""`migrator completion`: what a shell must know to complete commands, flags, choices and files."""

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
