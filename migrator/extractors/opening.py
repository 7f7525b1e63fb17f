"""What opening a source takes: the text of a SOURCE, its options, the collections that a job chose, a position."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import parse_qsl

from migrator.config import JobConfig
from migrator.errors import CheckpointError, ConfigError
from migrator.model import Extractor, Position
from migrator.naming import shown

_MAX_SHOWN = 12

Factory: TypeAlias = Callable[[str, JobConfig, Mapping[str, str]], Extractor]
"""Makes the source that a SOURCE names, of its text, the job and the environment."""


class BaseExtractor:
    """What most sources have in common; each says what is otherwise with it."""

    ordered = False

    def count(self, collection: str) -> int | None:  # noqa: ARG002 some know it
        """Not known before it is read."""
        return None

    def describe_position(self, collection: str, position: Position) -> str:
        """Collection and key."""
        return f"{collection} {position!s:.100}"

    def close(self) -> None:
        """Nothing is held open between readings."""


def after_scheme(source: str, scheme: str) -> str:
    """A source without its scheme, if it has it."""
    return source[len(scheme) + 1 :] if source.lower().startswith(f"{scheme}:") else source


def chosen(config: JobConfig) -> list[str] | None:
    """The collections that a job names; None for all."""
    return list(config.collection) or None


def factory(make: Callable[..., Extractor], scheme: str = "") -> Factory:
    """The factory of a source that needs no more than its text and the collections.

    Args:
        make: takes the text and `collections`.
        scheme: what is left out of the text.
    """

    def open_source(source: str, config: JobConfig, _environ: Mapping[str, str]) -> Extractor:
        return make(after_scheme(source, scheme), collections=chosen(config))

    return open_source


def foreign_position(position: Position, what: str) -> CheckpointError:
    """What to raise for a position that is not this source's, such as `no key of this table`."""
    return CheckpointError(f"The checkpoint's position {position!r} is {what}.", hint="Start over with --restart.")


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


def select_collections(available: Sequence[str], wanted: Sequence[str] | None, *, source: str) -> tuple[str, ...]:
    """Give the wanted collections in the order wanted, each once; all of them where nothing is wanted.

    Raises:
        ConfigError: a wanted collection is not there.
    """
    if wanted is None:
        return tuple(available)
    there = set(available)
    for collection in wanted:
        if collection not in there:
            names = ", ".join(shown(name) for name in available[:_MAX_SHOWN]) or "none"
            more = f" and {len(available) - _MAX_SHOWN} more" if len(available) > _MAX_SHOWN else ""
            raise ConfigError(
                f"There is no collection {shown(collection)} in {source}.", hint=f"It has: {names}{more}."
            )
    return tuple(dict.fromkeys(wanted))
