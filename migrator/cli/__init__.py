"""The command line: parse, build, call, render. Each command is imported when it is called."""

from __future__ import annotations

import importlib
import io
import os
import sys

import click

from migrator.cli.messages import begin, say
from migrator.cli.streams import safe_streams
from migrator.errors import (
    EXIT_INTERRUPTED,
    EXIT_UNEXPECTED,
    ConfigError,
    Interrupted,
    MigratorError,
    without_passwords,
)
from migrator.version import __version__

# Command, module, one line of help: importing a module for its help line alone would cost the start its speed.
COMMANDS = {
    "run": ("migrator.cli.run", "Move documents from a source to a target."),
    "plan": ("migrator.cli.plan", "Show what run would create, map and write; write nothing."),
    "verify": ("migrator.cli.run", "Prove that a target holds what a source holds."),
    "retry": ("migrator.cli.run", "Write the documents of a reject file again, after a fix."),
    "status": ("migrator.cli.report", "Show how far a checkpoint is."),
    "report": ("migrator.cli.report", "Show a run's report again, as a table or as one HTML page."),
    "wait": ("migrator.cli.servers", "Wait until a server answers."),
    "seed": ("migrator.cli.seed", "Load fixtures into databases."),
    "snapshot": ("migrator.cli.seed", "Write databases back as fixtures."),
    "backup": ("migrator.cli.backup", "Back up what has changed in databases."),
    "restore": ("migrator.cli.backup", "Restore databases as they were at a point in time."),
    "backups": ("migrator.cli.backups", "List, show, search, check, copy and prune backups."),
    "convert": ("migrator.cli.backup", "Turn databases and backups into other tools' files, and back."),
    "singer-target": ("migrator.cli.run", "Write what a Singer tap sends on standard input."),
    "plugins": ("migrator.cli.report", "List installed plug-ins: extractors, transformers, loaders."),
    "plan-server": ("migrator.cli.plan", "Plan the move of a whole server, for apply."),
    "apply": ("migrator.cli.plan", "Move a whole server as its plan says."),
    "doctor": ("migrator.cli.servers", "Check a server, and say how to fix what is wrong."),
    "secure": ("migrator.cli.servers", "Create a least-privilege user for a job, and check it."),
    "compact": ("migrator.cli.servers", "Reclaim disk space."),
    "replicate": ("migrator.cli.replicate", "Set up, list and stop replications that the server runs."),
    "completion": ("migrator.cli.report", "Print the completion script for a shell."),
    "sandbox": ("migrator.cli.servers", "Run a local CouchDB-compatible server for trying things out."),
}


# What other tools call it.
ELSEWHERE = {
    **dict.fromkeys(("import", "export", "load", "migrate", "copy", "move", "sync"), "run"),
    **dict.fromkeys(("compare", "diff", "prove"), "verify"),
    **dict.fromkeys(("dump", "save"), "backup"),
    "check": "doctor",
    **{name: f"backups {name}" for name in ("list", "ls", "find", "cat", "history")},
    "prune": "backups prune",
}


class LazyGroup(click.Group):
    """A group whose commands are imported on call."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words, from which a hint makes a whole command."""
        ctx.meta["migrator.words"] = list(args)
        begin(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The commands in the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(
            importlib.import_module(COMMANDS[cmd_name][0]), cmd_name.replace("-", "_")
        )
        return _without_dashes(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one was meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from migrator.naming import did_you_mean  # only for a wrong word

            meant = f"Did you mean {ELSEWHERE[args[0]]!r}?" if args[0] in ELSEWHERE else ""
            ctx.fail(f"No such command {args[0]!r}. {meant or did_you_mean(args[0], COMMANDS)}".strip())
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in COMMANDS.items()])


# Of the flags that name files, those whose commands give - a meaning.
_STREAMED = frozenset({"report", "source", "target", "html", "rejects"})


def _without_dashes(command: click.Command) -> click.Command:
    """Refuse - where a file or folder is wanted: nothing makes a file of that name."""
    for param in command.params:
        is_file = param.metavar in {"FILE", "FOLDER"} or param.name in {"folder", "output"}
        if is_file and param.name not in _STREAMED and param.callback is None:
            param.callback = _refuse_dash
    for inner in getattr(command, "commands", {}).values():
        _without_dashes(inner)
    return command


def _refuse_dash(_context: click.Context, param: click.Parameter, value: object) -> object:
    if str(value) == "-":
        flag = param.opts[-1] if isinstance(param, click.Option) else (param.metavar or str(param.name)).upper()
        raise ConfigError(f"{flag} - would be a pipe, and this needs a file.", hint="Name a file; ./- is one too.")
    return value


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="migrator")
def cli() -> None:
    """Move data into and out of CouchDB without losing a document.

    \b
    Examples:
      migrator run --from memory:app.db:service --to http://localhost:5984
      migrator run --from export.json --to http://localhost:5984 --resume
      migrator run --from http://localhost:5984 --to backup/
      migrator verify --from export.json --to http://localhost:5984

    Credentials come from COUCHDB_USER and COUCHDB_PASSWORD (or COUCHDB_PASSWORD_FILE), ~/.netrc, or the URL.

    Exit codes: 0 all accounted for, 1 unexpected, 2 usage, 3 rejected documents, 4 differences, 5 server out
    of reach or credentials refused, 6 checkpoint in the way, 7 another run holds the lock, 130 interrupted.
    """


def main() -> None:
    """Run the command and leave with its exit code; what users can cause shows no traceback."""
    with safe_streams():
        _main()


def _main() -> None:
    if "_MIGRATOR_COMPLETE" in os.environ:
        from migrator.cli.report import register  # only where a shell asks

        register()
    begin(sys.argv[1:])
    try:
        cli.main(prog_name="migrator", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        say(without_passwords(text.getvalue()), "error")
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        say("Stopped.", "warning")
        sys.exit(EXIT_INTERRUPTED)
    except Interrupted as stop:
        from migrator.cli.stopping import stopped_text  # only for this

        say(stopped_text(stop, sys.argv[1:]), "warning")
        sys.exit(stop.exit_code)
    except MigratorError as error:
        from migrator.cli.rendering import whole_hint  # only for this

        say(f"Error: {error.message} {whole_hint(error, sys.argv[1:])}", "error")
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("MIGRATOR_DEBUG"):
            raise
        from migrator.files.failures import storage_failure  # only for this

        if failure := storage_failure(error):
            say(f"Error: {failure.message} {failure.hint}", "error")
            sys.exit(failure.exit_code)
        what = without_passwords(f"{type(error).__name__}: {error}")
        say(f"Error: unexpected {what}. Please report it; MIGRATOR_DEBUG=1 shows where.", "error")
        sys.exit(EXIT_UNEXPECTED)
