"""Reads the keywords of a function into the options of its job, and lists in `help()` what can be given."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from migrator.backup.options import BackupOptions, RestoreOptions
from migrator.config import Connection, JobConfig
from migrator.config.option import GROUPS, CommandOptions, Described, options_of, wanted
from migrator.config.pace import NUMBERS
from migrator.errors import ConfigError, UnknownArgument
from migrator.fixtures.options import Masking, SeedOptions
from migrator.functions.arguments import Surroundings
from migrator.jobs.open import Around
from migrator.model import Extractor
from migrator.model.events import Event, Listener, ignore
from migrator.monitoring.timed import timed
from migrator.naming import did_you_mean
from migrator.report.result import Result
from migrator.server.move.options import ApplyOptions, PlanOptions

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R", bound=Result)
T = TypeVar("T")
_AROUND = tuple(Surroundings.__annotations__)
_OTHERS = {
    "progress": (False, "Show a progress bar on standard error, where that is a terminal."),
    "listener": (ignore, "Called with each event of `migrator.model.events`; must not block."),
    "stopping": (
        None,
        "Set it, and the job settles what is under way and stops.",
    ),
    "keep_checkpoint": (None, "Keep the checkpoint when all is done. Default: one that is named stays."),
    "environ": (None, "Variables in place of the process's own, COUCHDB_USER and the like."),
}
# Without these, what the function gives says it.
_NOT_HERE = {"json": "The result has to_dict()."}


def rows_of(arguments: type, *kinds: type) -> dict[str, Described]:
    """The rows of a function's options, by name; the first kind that has one counts.

    Args:
        arguments: what the function takes.
        kinds: the classes of its options.
    """
    rows = {each.name: each for kind in reversed((*kinds, CommandOptions)) for each in options_of(kind)}
    return {name: rows[name] for name in get_type_hints(arguments) if name not in _OTHERS}


KINDS: dict[str, tuple[type, ...]] = {
    "backup": (BackupOptions, JobConfig),
    "restore": (RestoreOptions, JobConfig),
    "seed": (SeedOptions, Masking, JobConfig),
    "plan_server": (PlanOptions, JobConfig),
    "apply": (ApplyOptions, JobConfig),
}
"""The options of each function; of the others they are those of a job."""


def documented(arguments: type) -> Callable[[F], F]:
    """List a function's arguments in its signature and docstring, as `help()` and notebooks show them."""

    def decorate(function: F) -> F:
        hints = get_type_hints(arguments)
        rows = rows_of(arguments, *KINDS.get(function.__name__, (JobConfig,)))
        own = inspect.signature(function)
        found, lines = [], []
        places = {name: GROUPS.index(row.option.group) for name, row in rows.items()}
        for name in sorted(hints, key=lambda name: places.get(name, len(GROUPS))):
            if name in rows:
                row = rows[name]
                value, text = row.value, row.option.help
                text += f" Default: {row.default}." if row.option.default else ""
            else:
                value, text = _OTHERS[name]
            found.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=hints[name])
            )
            lines.append(f"    {name}: {text}")
        given = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        function.__signature__ = own.replace(parameters=[*given, *found])  # type: ignore[attr-defined]
        doc = inspect.cleandoc(function.__doc__ or "").splitlines()
        place = next(number for number, line in enumerate(doc) if line.startswith("    options: "))
        function.__doc__ = "\n".join([*doc[:place], *lines, *doc[place + 1 :]])
        return function

    return decorate


class Asked:
    """What a function was asked.

    Args:
        function: its name.
        values: what was given by keyword, by name.
        around: what the job runs in.
    """

    def __init__(self, function: str, values: Mapping[str, Any], around: Around) -> None:
        self.function = function
        self.values = values
        self.around = around

    def get(self, name: str, usual: T) -> T:
        """One argument, or what is usual."""
        return cast("T", self.values.get(name, usual))

    def made(self, kind: type[T], *names: str, **more: Any) -> T:
        """An object of a class of options, from what was given.

        Args:
            kind: the class.
            names: only these; all of them when empty.
            more: further fields, which win.
        """
        chosen = [each for each in options_of(kind) if each.name in (names or self.values)]
        return kind(**{each.name: self._read(each) for each in chosen if each.name in self.values}, **more)

    def part(self, *names: str, **more: Any) -> JobConfig:
        """How servers are reached, and these of a job's options, where others may mean something else."""
        connection = [each.name for each in options_of(Connection)]
        return self.made(JobConfig, *connection, *names, **more)

    def job(self, source: object, target: str | os.PathLike[str]) -> tuple[JobConfig, Extractor | None]:
        """The job, and its source where that is an object and not text."""
        if not isinstance(target, str | os.PathLike) or isinstance(os.fspath(target), bytes):
            raise ConfigError(f"target is {target!r:.60}.", hint="It must be a text or a path.")
        target = os.fspath(target)
        if isinstance(source, str | os.PathLike):
            return self.made(JobConfig, source=os.fspath(source), target=target), None
        config = self.made(JobConfig, target=target)
        if not isinstance(source, Extractor):
            from migrator.extractors.base import chosen  # most jobs name their source
            from migrator.extractors.memory import MemoryExtractor, object_of

            found = object_of(source, getattr(source, "__name__", type(source).__name__))
            source = MemoryExtractor(found, name=type(found).__name__, collections=chosen(config))
        return config, source

    def watched(self, config: JobConfig, work: Callable[[Around], R]) -> R:
        """Do the work while those who watch are told, and write the report that the job names."""
        shown = self.around.get("listener", ignore)
        with timed(self.function, config, lambda text: warnings.warn(text, stacklevel=5)) as told:
            result = work({**self.around, "listener": _both(told.listener, shown)})
            told.exit_code = result.exit_code
        return result

    def _read(self, each: Described) -> Any:
        value = self.values[each.name]
        if isinstance(value, os.PathLike) and not each.kind.startswith("Path"):
            value = os.fspath(value)
        elif isinstance(value, str) and each.kind.startswith("Path"):
            value = Path(value)
        elif each.name in NUMBERS and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if each.name == "report" and value == "-":
            raise ConfigError("report is '-', which is for the command.", hint="Print the result's to_dict().")
        if text := wanted(each.kind, value):
            raise ConfigError(f"{self.function}(): {each.name} is {value!r:.60}.", hint=f"It must be {text}.")
        return value


@contextlib.contextmanager
def asked(function: str, arguments: type, given: Mapping[str, Any]) -> Iterator[Asked]:
    """What a function was asked, and a progress bar while it works, where one is wanted.

    Args:
        function: its name.
        arguments: what it takes.
        given: what was given by keyword.

    Raises:
        UnknownArgument: it takes no such argument; it names the nearest.
    """
    known = get_type_hints(arguments)
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known, "{}") or _NOT_HERE.get(name, "")
            raise UnknownArgument(
                f"{function}() has no argument {name!r}.", hint=hint or f"help(migrator.{function}) lists all."
            )
    values = {name: value for name, value in given.items() if name not in _AROUND}
    around = cast("Around", {name: given[name] for name in Around.__annotations__ if name in given})
    with contextlib.ExitStack() as stack:
        if given.get("progress") and sys.stderr.isatty():
            from migrator.report.progress import ProgressListener  # only where it is wanted

            bar = stack.enter_context(contextlib.closing(ProgressListener()))
            around["listener"] = _both(bar, around.get("listener", ignore))
        yield Asked(function, values, around)


def _both(first: Listener, second: Listener) -> Listener:
    def tell(event: Event) -> None:
        first(event)
        second(event)

    return tell
