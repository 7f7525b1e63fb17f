"""Flags made from the options of dataclasses, and objects of these dataclasses made from flags."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from migrator.config.option import Described, options_of
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
    return click.option(*each.flags, each.name, help=text, **more)


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
