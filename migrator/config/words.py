"""The words that are typed for a job: for the command that a hint names, or that a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from migrator.config.option import options_of
from migrator.errors import without_passwords

# These say how far to go on, which another run decides for itself; addresses that are told of it are secrets.
_NOT_AGAIN = frozenset({"resume", "restart", "ping", "webhook"})


def words_of(options: Any, names: Collection[str] = ()) -> list[str]:
    """What is typed for these options, where they are not as usual: no credentials, nothing of how far to go on.

    Args:
        options: an object of a dataclass all of whose fields have defaults.
        names: only these options.
    """
    words: list[str] = []
    usual = type(options)()
    for each in options_of(options):
        value = each.value
        if value == getattr(usual, each.name) or each.name in _NOT_AGAIN or (names and each.name not in names):
            continue
        if isinstance(value, bool):
            words.append(each.flags[-1].split("/")[0 if value else -1])
            continue
        many = [f"{name}={one}" for name, one in value.items()] if isinstance(value, Mapping) else value
        for one in many if isinstance(many, list | tuple) else [value]:
            words += [each.flags[0], without_passwords(f"{one:g}" if isinstance(one, float) else str(one))]
    return words
