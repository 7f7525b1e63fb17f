"""Flags made from the options of dataclasses, by group in help; and objects of these dataclasses from flags."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from migrator.cli.messages import QUIET, release
from migrator.cli.streams import SafeStream
from migrator.config import LogOptions, Output
from migrator.config.option import COMMON, GROUPS, Described, options_of
from migrator.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
TYPES: dict[str, Any] = {
    "int": int,
    "float": float,
    "Path": click.Path(path_type=Path),
    "str": None,
    "tuple[str, ...]": None,
    "Mapping[str, str]": None,
}
REPEATED = frozenset({"tuple[str, ...]", "Mapping[str, str]"})
# The help of a command with more flags than these fills more than a screen.
MANY = 16
_WHOLE = "migrator.whole_help"


class Flag(click.Option):
    """A flag with the heading under which help shows it."""

    def __init__(self, *args: Any, group: str = COMMON, **more: Any) -> None:
        super().__init__(*args, **more)
        self.group = group


class Command(click.Command):
    """A command whose help has its flags by group; where they are many, all of them only with --help-all.

    Each has --json and --quiet, which `messages.asked` knows.

    Args:
        output: False for one whose standard output belongs to another program, and is no JSON of its own.
        json_help: what --json does, where that is not as everywhere.
        prints: what it prints is all that it does, so that it has failed where that is lost.
    """

    def __init__(
        self, *args: Any, output: bool = True, json_help: str = "", prints: bool = False, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self.prints = prints
        typed = {flag for param in self.params for flag in param.opts}
        for each in (*options_of(Output), *options_of(LogOptions)) if output else options_of(LogOptions):
            if each.name in {"as_json", "quiet"} and each.flags[-1] not in typed:
                text = json_help if each.name == "as_json" and json_help else each.option.help
                option = dataclasses.replace(each.option, help=text)
                self.params.append(_kept(dataclasses.replace(each, option=option)))
        shown = [param for param in self.params if isinstance(param, Flag) and not param.hidden]
        self.many = len(shown) > MANY
        if self.many:
            self.params.append(
                click.Option(
                    ["--help-all"],
                    is_flag=True,
                    is_eager=True,
                    expose_value=False,
                    callback=_show_whole_help,
                    help="Show all options and exit.",
                )
            )

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what it had to say quietly is said after all where it does not end well."""
        if ctx.params.get("quiet"):
            ctx.meta[QUIET] = True
        try:
            return self._invoke(ctx)
        except BaseException as error:
            if getattr(error, "exit_code", getattr(error, "code", 1)):
                release()
            raise

    def _invoke(self, ctx: click.Context) -> Any:
        result = super().invoke(ctx)
        if self.prints and isinstance(sys.stdout, SafeStream):
            sys.stdout.confirm()
        return result

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags, by group."""
        groups: dict[str, list[click.Option]] = {each: [] for each in GROUPS}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and not param.hidden:
                groups[getattr(param, "group", COMMON)].append(param)
        groups = {name: found for name, found in groups.items() if found}
        short = self.many and not ctx.meta.get(_WHOLE)
        for name in [COMMON] if short else groups:
            with formatter.section(name if len(groups) > 1 else "Options"):
                formatter.write_dl(list(filter(None, [each.get_help_record(ctx) for each in groups[name]])))
        if short:
            with formatter.section("More, explained by --help-all"):
                formatter.write_dl([(name, _names(groups[name], formatter)) for name in list(groups)[1:]])


class Group(click.Group):
    """Commands below one word."""

    command_class = Command


def _names(flags: Sequence[click.Option], formatter: click.HelpFormatter) -> str:
    """The flags' names, in lines that do not break one: a name's hyphen must not stand at a line's end."""
    width = formatter.width - max(map(len, GROUPS)) - 6
    return "\b\n" + textwrap.fill(", ".join(each.opts[-1] for each in flags), width, break_on_hyphens=False)


def _show_whole_help(context: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        context.meta[_WHOLE] = True
        click.echo(context.get_help(), color=context.color)
        context.exit()


def flags(
    options: Any,
    *names: str,
    without: tuple[str, ...] = (),
    hidden: bool = False,
    required: bool = False,
    help: Mapping[str, str] | None = None,
    default: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """A flag for each option of a dataclass, or of an object of one, whose values are the defaults then.

    What is not given has the value None (or no items), so that a job file or the dataclass decides.

    Args:
        options: the dataclass or the object.
        names: only these; all of them when empty.
        without: all but these.
        hidden: leave them out of the help.
        required: the command does not run without them.
        help: other words for what an option does for this command.
        default: other words for its default.
    """
    found = {each.name: each for each in options_of(options)}
    chosen = [found[name] for name in names] if names else list(found.values())

    def decorate(function: F) -> F:
        for each in reversed(chosen):
            if each.name in without:
                continue
            option = dataclasses.replace(
                each.option,
                help=(help or {}).get(each.name, each.option.typed or each.option.help),
                default=(default or {}).get(each.name, each.option.default),
            )
            asked = dataclasses.replace(each, option=option, required=required or each.required)
            function = _flag(asked, hidden=hidden)(function)
        return function

    return decorate


def _kept(each: Described) -> click.Parameter:
    """A flag that every command has, and whose value no command is given."""

    def keep(context: click.Context, param: click.Parameter, value: object) -> None:
        if value:
            context.meta[f"migrator.{param.name}"] = True

    made = _flag(each, hidden=False)(lambda: None)
    param: click.Parameter = made.__click_params__.pop()  # type: ignore[attr-defined]
    param.expose_value, param.callback = False, keep
    return param


def _flag(each: Described, *, hidden: bool) -> Callable[[F], F]:
    option = each.option
    more: dict[str, Any] = {
        "hidden": hidden,
        "envvar": option.variable or None,
        "required": each.required,
    }
    text = option.help
    kind = each.kind.removesuffix(" | None")
    if kind == "bool" or option.means:
        more |= {"is_flag": True, "default": None}
    elif option.choices:
        more["type"] = click.Choice(option.choices)
    else:
        more |= {"type": option.read or TYPES[kind], "metavar": option.unit}
    if kind in REPEATED:
        more["multiple"] = True
        text += " May be given more than once."
    if option.bare is not None:
        more |= {"is_flag": False, "flag_value": option.bare}
    if each.default:
        text += f" [default: {each.default}]"
    return click.option(*each.flags, each.name, cls=Flag, group=option.group, help=text, **more)


def given(options: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that flags say.

    Args:
        options: the dataclass, or an object of it.
        values: of all flags, by name.

    Raises:
        ConfigError: a NAME=VALUE is not of that form.
    """
    found: dict[str, Any] = {}
    for each in options_of(options):
        value = values.get(each.name)
        if value is None or value == ():
            continue
        if each.kind == "Mapping[str, str]":
            value = dict(pair(text, each) for text in value)
        elif each.option.means:
            value = each.option.means.get(value, value)
        found[each.name] = value
    return found


def made(kind: type[T], values: Mapping[str, Any], **more: Any) -> T:
    """An object of a dataclass, from flags.

    Args:
        kind: the dataclass.
        values: of all flags, by name.
        more: further fields, which win.
    """
    return kind(**{**given(kind, values), **more})


def pair(text: str, each: Described) -> tuple[str, str]:
    """Read NAME=VALUE.

    Raises:
        ConfigError: it is not of that form.
    """
    name, equals, value = text.rpartition("=")
    if not equals or not name or not value:
        raise ConfigError(
            f"{each.flags[0]} {text!r} is not of the form {each.option.unit}.",
            hint=f"For example {each.flags[0]} Users=people",
        )
    return name, value
