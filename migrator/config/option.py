"""An option is a field of a dataclass that says its help, unit and group; and the options of many commands."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

from migrator.errors import ConfigError

K = TypeVar("K", bound=type)
T = TypeVar("T")
# A day; what systems take as a timeout ends somewhere beyond.
MAX_SECONDS = 86_400
SECONDS = "SECONDS"
BYTES = "BYTES"
COMMON, WRITING, RESUME = "Common", "Conflicts and rejects", "Resume"
SYNC, TUNING, TLS, LOGGING = "Sync", "Tuning", "TLS", "Logging"
# The headings of options, in the order in which help shows them.
GROUPS = (COMMON, WRITING, RESUME, SYNC, TUNING, TLS, LOGGING)
_KEY = "option"
BESIDE = "beside REPORT"


@dataclass(frozen=True, slots=True)
class Option:
    """What a field says of itself.

    Args:
        help: one sentence or two for people.
        unit: what stands for the value: `SECONDS`, `BYTES`, `FILE`, `N`; "" for what is only given or not.
        group: the heading in help and reference, one of `GROUPS`.
        flag: of the command where it is not the field's own name; several, separated by spaces.
        choices: the values that are known.
        at_least: the smallest number.
        at_most: the largest number.
        default: what holds where nothing is given and the field's own default does not say it.
        means: the field's value for a flag that is given (True) or given as `--no-…` (False).
        bare: the value of a flag that is given without one.
        typed: what the flag does, where `help` is only true of the field.
        read: makes the value of a flag's text.
        variable: the environment's variable that stands in for the flag.
    """

    help: str
    unit: str = ""
    group: str = COMMON
    flag: str = ""
    choices: tuple[str, ...] = ()
    at_least: int | None = None
    at_most: int | None = None
    default: str = ""
    means: Mapping[bool, object] = dataclasses.field(default_factory=dict)
    bare: object = None
    typed: str = ""
    read: Callable[[str], object] | None = None
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """An option with what its field knows: name, kind (`str`, `bool`, `int`, …, as annotated) and default."""

    name: str
    kind: str
    value: Any
    option: Option
    required: bool = False

    @property
    def flags(self) -> list[str]:
        """What is typed; a unit at the end of the name is not part of it: `timeout_s` is `--timeout`."""
        return self.option.flag.split() or [f"--{self.name.removesuffix('_s').replace('_', '-')}"]

    @property
    def default(self) -> str:
        """The default as people read it; "" where there is none."""
        if self.option.default or self.value in (None, "", (), {}) or isinstance(self.value, bool):
            return self.option.default
        return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)


DATABASES = "--database --collection"
CHOICE = "Only this; a name, or a pattern such as 'orders_*'."


def said(help: str, **more: Any) -> dict[str, Option]:
    """The metadata of a field that is an option and has no default: `field(metadata=said("…"))`."""
    return {_KEY: Option(help, **more)}


def option(default: Any, help: str, *, text: str = "", **more: Any) -> Any:
    """A field that is an option.

    Args:
        default: its value where nothing is given.
        help: what it does.
        text: the default as people read it, where the value itself does not say it.
        more: the rest of `Option`.
    """
    metadata = said(help, default=text, **more)
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def options_of(options: Any) -> list[Described]:
    """The options of a dataclass, or of an object whose values are then the defaults; its own ones first."""
    kind = options if isinstance(options, type) else type(options)
    found = []
    for field in dataclasses.fields(kind):
        if _KEY in field.metadata:
            required = field.default is field.default_factory is dataclasses.MISSING
            value = field.default if isinstance(options, type) else getattr(options, field.name)
            value = None if value is dataclasses.MISSING else value
            found.append(Described(field.name, str(field.type), value, field.metadata[_KEY], required))
    own = inspect.get_annotations(kind)
    return sorted(found, key=lambda each: each.name not in own)


def documented(kind: K) -> K:
    """List a dataclass' options in its docstring, as `help()` shows it."""
    if kind.__doc__ is not None:
        lines = [f"    {each.name}: {each.option.help}" for each in options_of(kind)]
        kind.__doc__ = "\n".join([kind.__doc__.rstrip(), "", "Args:", *lines])
    return kind


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def options_class(kind: type[T]) -> type[T]:
    """A frozen dataclass of options, which its docstring lists and which are checked when an object is made."""
    own: Callable[[T], None] | None = getattr(kind, "__post_init__", None)

    def checked(self: T) -> None:
        check(self)
        if own is not None:
            own(self)

    kind.__post_init__ = checked  # type: ignore[attr-defined]
    return documented(dataclass(frozen=True, kw_only=True)(kind))


def check(options: Any) -> None:
    """Check each option of an object, and make a list of one of a single text.

    Raises:
        ConfigError: a value cannot be; it says what can.
    """
    for each in options_of(options):
        if each.kind == "tuple[str, ...]":
            object.__setattr__(options, each.name, texts(each.name, each.value))
        elif each.option.choices and each.value and each.value not in each.option.choices:
            known = ", ".join(each.option.choices)
            raise ConfigError(f"{each.name} is {each.value!r}.", hint=f"Known are: {known}.")
        elif each.value is not None:
            _check_number(each.name, each.value, each.option)


def _check_number(name: str, value: Any, option: Option) -> None:
    if option.unit == SECONDS and not 0 < value <= MAX_SECONDS:
        raise ConfigError(f"{name} is {value}.", hint=f"It must be above 0 and at most {MAX_SECONDS}.")
    if option.at_most is not None and not (option.at_least or 0) <= value <= option.at_most:
        raise ConfigError(
            f"{name} is {value}.", hint=f"It must be at least {option.at_least or 0} and at most {option.at_most}."
        )
    if option.at_least is not None and not value >= option.at_least:
        raise ConfigError(f"{name} is {value}.", hint=f"It must be at least {option.at_least}.")


def wanted(kind: str, value: object) -> str:
    """What a value should be, in words, where it is not of the kind that a field has; "" where it is."""
    kinds = kind.split(" | ")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if (value is None and "None" in kinds) or kinds[0].startswith("tuple"):
        # What a list holds is checked with the other options.
        return ""
    if kinds[0].startswith("Mapping"):
        fits = isinstance(value, Mapping) and all(isinstance(item, str) for item in value.values())
        return "" if fits else "a table of texts"
    if kinds[0] in {"int", "float"}:
        return "" if number and (kinds[0] == "float" or isinstance(value, int)) else "a number"
    if kinds[0] == "bool":
        return "" if isinstance(value, bool) else "true or false"
    return "" if isinstance(value, str | Path) else "a text"


def texts(name: str, value: object) -> tuple[str, ...]:
    """A list of texts; one text is a list of one, not of its letters.

    Raises:
        ConfigError: it is something else.
    """
    items = (value,) if isinstance(value, str) else value
    if items is None:
        return ()
    if isinstance(items, list | tuple) and all(isinstance(item, str) for item in items):
        return tuple(items)
    raise ConfigError(f"{name} is {value!r:.60}.", hint=f'Give a list of texts, {name}=["…"].')


_logging = partial(option, group=LOGGING)


@options_class
class Output:
    """How a result is printed."""

    as_json: bool = option(False, "Print the result as one line of JSON.", flag="--json")


@options_class
class LogOptions:
    """What standard error shows."""

    log_format: str = _logging("text", "Format of standard error.", choices=("text", "json"))
    log_level: str = _logging("info", "Minimum log level.", choices=("debug", "info", "warning", "error"))
    quiet: bool = _logging(False, "Print nothing on success, but what --json asks for.", flag="-q --quiet")


@options_class
class CommandOptions:
    """What commands can be told, each a few of these, apart from what the work itself is told."""

    job_file: str = option("", "Read the job from a file; flags win over it.", unit="JOB.toml", flag="-c --config")
    output: Path | None = option(None, "Write the plan to this file, for apply.", unit="PLAN")
    differences: str | None = option(None, "Write every difference as NDJSON.", unit="FILE")
    stages: tuple[str, ...] = option(
        (),
        "Only what was rejected at this stage.",
        flag="--stage",
        choices=("extract", "transform", "load"),
        text="all",
    )
    html: str = option(
        "",
        "Write one self-contained page, with charts and a search; - for standard output.",
        unit="[FILE]",
        bare=BESIDE,
        text="REPORT with .html",
    )
    form: str = option(
        "table",
        "A table with all collections, or a few lines for mail and chat.",
        flag="--format",
        choices=("table", "text"),
    )
    format: str = option(
        "json",
        "One file per document (json), or one file per database (ndjson).",
        choices=("json", "ndjson"),
    )
    probe: bool = option(
        True,
        "Try what can be written, in a scratch database that is removed after.",
        typed="Write nothing, not even into a scratch database that is removed after.",
        flag="--no-probe",
        means={True: False},
    )
    prefix: str = option("", "Prefix of each database's name.", unit="NAME")
    diff: bool = option(False, "Show what differs from the fixtures and write nothing; exit 4 if anything does.")
    now: str = option("", "Value of ${now}, as in 2024-05-01.", unit="TIME", variable="MIGRATOR_NOW", text="now")
