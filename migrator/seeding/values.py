"""Expressions in the texts of fixtures: `${NAME}`, `${NAME:-default}`, `${now-3d}` and `${ref:database/id}`.

Two or more dollars before a brace stand for one less and no expression, so `$${` is written for `${`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import unquote

from migrator.errors import ConfigError
from migrator.seeding.problems import Place, Problem
from migrator.seeding.texts import Text

_EXPRESSION = re.compile(r"(?P<literal>\${2,})\{|\$\{(?P<inner>[^{}]*)\}|(?P<open>\$\{)")
_DOLLARS = re.compile(r"(\$+)\{")
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-.*)?", re.DOTALL)
_NOW = re.compile(r"now(?P<steps>(?:[+-][0-9]+(?:ms|[smhdw]))*)(?:\|(?P<form>[a-z]+))?")
_STEP = re.compile(r"([+-][0-9]+)(ms|[smhdw])")
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORMS: dict[str, Callable[[datetime], str | int]] = {
    "date": lambda time: time.date().isoformat(),
    "s": lambda time: int(time.timestamp()),
    "ms": lambda time: int(time.timestamp()) * 1000 + time.microsecond // 1000,
}
HELP = "Write ${NAME}, ${NAME:-default}, ${now-3d} or ${ref:database/id}; $${ stands for ${ itself."


class Reference(NamedTuple):
    """One document names another, which must be among the fixtures."""

    place: Callable[[], Place]
    database: str
    id: str


class _Refused(Exception):
    """An expression cannot be worked out; the text says why."""


@dataclass
class Expander:
    """Works out the expressions in documents.

    Args:
        environ: the variables.
        now: what `now` is.
        problems: where faults are put.
        references: where references are put, to be checked when all fixtures are read.
    """

    environ: Mapping[str, str]
    now: datetime
    problems: list[Problem]
    references: list[Reference] = field(default_factory=list)

    def expand(self, value: Any, database: str, text: Text) -> Any:
        """A value of a document of `database` with its expressions worked out."""
        return self._value(value, (), database, text)

    def _value(self, value: Any, path: tuple[str | int, ...], database: str, text: Text) -> Any:
        if isinstance(value, str):
            return self._text(value, path, database, text) if "${" in value else value
        if isinstance(value, dict):
            return {key: self._value(item, (*path, key), database, text) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item, (*path, index), database, text) for index, item in enumerate(value)]
        return value

    def _text(self, value: str, path: tuple[str | int, ...], database: str, text: Text) -> Any:
        def worked_out(inner: str) -> str | int:
            try:
                return self._inner(inner, database, lambda: text.place(path))
            except _Refused as refused:
                self.problems.append(Problem(text.place(path), str(refused)))
                return ""

        whole = _EXPRESSION.fullmatch(value)
        if whole is not None and whole["inner"] is not None:
            return worked_out(whole["inner"])

        def replaced(match: re.Match[str]) -> str:
            if match["literal"]:
                return f"{match['literal'][1:]}{{"
            if match["open"]:
                self.problems.append(Problem(text.place(path), f"'${{' without a closing brace. {HELP}"))
                return ""
            return str(worked_out(match["inner"]))

        return _EXPRESSION.sub(replaced, value)

    def _inner(self, inner: str, database: str, place: Callable[[], Place]) -> str | int:
        if inner.startswith("ref:"):
            head, slash, id = inner[4:].partition("/")
            target = unquote(head) if slash else database
            wanted = id if slash else head
            self.references.append(Reference(place, target, wanted))
            return wanted
        if match := _NOW.fullmatch(inner):
            return self._time(inner, match)
        if match := _VARIABLE.fullmatch(inner):
            name, default = match["name"], match["default"]
            if name in self.environ:
                return self.environ[name]
            if default is not None:
                return default[2:]
            raise _Refused(f"the variable {name} is not set. Set it, or write ${{{name}:-default}}.")
        raise _Refused(f"${{{inner}}} is no expression. {HELP}")

    def _time(self, inner: str, match: re.Match[str]) -> str | int:
        form = match["form"]
        if form and form not in _FORMS:
            raise _Refused(f"${{{inner}}}: there is no form {form!r}. There are {', '.join(_FORMS)}.")
        try:
            time = self.now
            for number, unit in _STEP.findall(match["steps"]):
                time += timedelta(**{_UNITS[unit]: int(number)})
        except OverflowError:
            raise _Refused(f"${{{inner}}} is beyond the years 1 to 9999.") from None
        return _FORMS[form](time) if form else iso(time)


def iso(time: datetime) -> str:
    """A time in UTC as fixtures hold it: `2024-05-01T12:00:00Z`, with milliseconds where there are some."""
    timespec = "milliseconds" if time.microsecond else "seconds"
    return time.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def escaped(value: Any) -> Any:
    """A value in which no text is taken for an expression: the inverse of expanding it."""
    if isinstance(value, str):
        return _DOLLARS.sub(r"\1${", value) if "${" in value else value
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value


def parse_now(text: str | None) -> datetime:
    """The time that `--now` gives; the present without it, to the second.

    Raises:
        ConfigError: it is no time.
    """
    if not text:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"--now {text!r} is no time.", hint="Write it like 2024-05-01 or 2024-05-01T12:00:00Z."
        ) from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
