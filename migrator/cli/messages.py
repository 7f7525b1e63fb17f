"""What a command says on standard error beside its log: a line for people, or with --log-format json an object."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import stat
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import click

_FLAG, _JSON = "--log-format", "json"
AS_JSON, QUIET = "migrator.as_json", "migrator.quiet"
"""In the context of a command that was asked for JSON, or to be quiet."""
_HELD = "migrator.held"
# Of what a quiet command has to say so many lines are kept, the last ones.
MAX_HELD = 1_000
# How the command that runs now writes its log; known before its words are parsed, as these may be wrong.
_state = {"json": False}


def begin(words: Sequence[str]) -> None:
    """Find out how a command's messages are written.

    Args:
        words: of its command line.
    """
    pairs = itertools.pairwise([*words, ""])
    _state["json"] = any(pair == (_FLAG, _JSON) or pair[0] == f"{_FLAG}={_JSON}" for pair in pairs)


def asked(what: str) -> bool:
    """True where the command that runs now was asked for that.

    Args:
        what: `AS_JSON` or `QUIET`.
    """
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(what))


def release() -> None:
    """Say what a quiet command has kept to itself."""
    context = click.get_current_context()
    context.meta.pop(QUIET, None)
    for tell in context.meta.pop(_HELD, ()):
        tell()


def _hold(tell: Callable[[], object]) -> None:
    _held().append(tell)


def _held() -> deque[Callable[[], object]]:
    meta = click.get_current_context().meta
    found: deque[Callable[[], object]] = meta.setdefault(_HELD, deque(maxlen=MAX_HELD))
    return found


class HeldLog(io.StringIO):
    """Where the log of a quiet command goes: to standard error, but only if the command does not end well.

    Made in the command's own thread; any thread may write.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held = _held()

    def write(self, text: str) -> int:
        """Keep a line."""
        self._held.append(partial(click.echo, text, err=True, nl=False))
        return len(text)


def say(text: str, level: str = "info") -> None:
    """Say something, above the progress bar where there is one.

    Args:
        text: what is said; a warning is coloured, and the first word of an error.
        level: `info`, `warning` or `error`.
    """
    text = text.rstrip()
    if level == "info" and asked(QUIET):
        _hold(partial(say, text, level))
        return
    if _state["json"]:
        from migrator.report.logs import LogListener  # only for this

        LogListener(_JSON).say(text, level)
        return
    if level != "info":
        from migrator.report.logs import has_colour  # only for what is not as usual

        if has_colour(sys.stderr):
            first, blank, rest = text.partition(" ") if level == "error" else (text, "", "")
            text = click.style(first, fg="red" if level == "error" else "yellow") + blank + rest
    if "migrator.report.progress" in sys.modules:
        sys.modules["migrator.report.progress"].write_above(text, sys.stderr)
    else:
        click.echo(text, err=True)


def screen_lines() -> int | None:
    """How many lines the terminal has that standard output is; None where it is none."""
    return shutil.get_terminal_size().lines if sys.stdout.isatty() else None


def _kept_in_a_file() -> bool:
    """True where standard output is a file: who sends a result there wants to have it."""
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


def print_text(text: str, *, beside: bool = False) -> None:
    """Print lines; on standard error where standard output has something else, and they go beside it."""
    if asked(QUIET) and (beside or not _kept_in_a_file()):
        _hold(partial(print_text, text, beside=beside))
    elif beside:
        say(text)
    else:
        click.echo(text, nl=False)
