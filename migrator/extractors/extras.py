"""Imports what only one kind of source needs: a package of an extra, or a sentence that says how to get it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from migrator.errors import ConfigError


@contextlib.contextmanager
def extra(name: str, *, what: str) -> Iterator[None]:
    """Wrap the imports that a kind of source needs.

    Args:
        name: the extra of this package that brings them.
        what: the kind of source, for people.

    Raises:
        ConfigError: one of them is not installed.
    """
    try:
        yield
    except ImportError as error:
        missing = (error.name or "a package").partition(".")[0]
        raise ConfigError(
            f"{what} needs {missing}, which is not installed.", hint=f'Install it: pip install "migrator[{name}]"'
        ) from error
