"""What only an extra brings: its packages are imported late, and a missing one is told with how to install it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from migrator.errors import ConfigError

# On the Python index the name `migrator` belongs to another project.
DISTRIBUTION = "couchdb-migrator"


def install_command(extra: str, *packages: str) -> str:
    """The command that installs an extra of this package, and packages besides."""
    return " ".join([f'pip install "{DISTRIBUTION}[{extra}]"', *packages])


@contextlib.contextmanager
def extra(name: str, *, what: str, packages: tuple[str, ...] = ()) -> Iterator[None]:
    """Wrap the imports that need an extra.

    Args:
        name: the extra of this package that brings them.
        what: what needs it, for people.
        packages: what else is to be installed, which the extra does not bring.

    Raises:
        ConfigError: one of them is not installed.
    """
    try:
        yield
    except ImportError as error:
        missing = (error.name or " ".join(packages) or "a package").partition(".")[0]
        raise ConfigError(
            f"{what} needs {missing}, which is not installed.",
            hint=f"Install it: {install_command(name, *packages)}",
        ) from error
