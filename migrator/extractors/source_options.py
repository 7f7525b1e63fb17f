"""Reads what a SOURCE says after a question mark: `csv:orders.csv?delimiter=;&encoding=latin-1`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from urllib.parse import parse_qsl

from migrator.errors import ConfigError
from migrator.naming import shown


def divide(text: str, known: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Path and options of a source; a file whose name has a question mark is taken for what it is.

    Args:
        text: the source without its scheme.
        known: what each option says, for people.

    Raises:
        ConfigError: an option is not known, or given twice.
    """
    path, mark, query = text.partition("?")
    if not mark or os.path.exists(text):  # noqa: PTH110 (any text, also one that is no path)
        return text, {}
    options: dict[str, str] = {}
    for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            forms = "; ".join(f"{option}={meaning}" for option, meaning in known.items())
            raise ConfigError(
                f"The source has an option {shown(name)}, which is not known.",
                hint=(f"Did you mean {near[0]}? " if near else "") + f"There are: {forms}.",
            )
        if name in options:
            raise ConfigError(f"The source has the option {name} twice.", hint="Keep one of them.")
        options[name] = value
    return path, options
