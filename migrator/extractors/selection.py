"""Chooses among a source's collections."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.errors import ConfigError
from migrator.naming import shown

_MAX_SHOWN = 12


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
