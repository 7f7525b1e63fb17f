"""Imports what is not this package's: `module:attribute` that a user names, and what an extra installs."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from migrator.errors import ConfigError
from migrator.naming import shown

# On the Python index the name `migrator` belongs to another project.
DISTRIBUTION = "couchdb-migrator"
_SPEC = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_MAX_SHOWN = 12


class NoSuchModule(ConfigError):
    """The module itself is not there; what it imports may be."""


def load_attribute(spec: str, *, search_cwd: bool = True) -> Any:
    """Import a module and fetch an attribute of it.

    Args:
        spec: `package.module:attribute`; the attribute may be dotted.
        search_cwd: look into the working folder first, as `python -m` does. It stays on `sys.path`, because the
            user's code may import more of its own later.

    Raises:
        NoSuchModule: there is no such module.
        ConfigError: there is no such attribute, or the user's code failed.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ConfigError(f"{shown(spec)} names no object.", hint="Write it as package.module:attribute.")
    cwd = str(Path.cwd())
    if search_cwd and cwd not in sys.path:
        sys.path.insert(0, cwd)
    owner = match["module"]
    found = _imported(owner)
    for name in match["attribute"].split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise ConfigError(f"{owner} has no attribute {name!r}.", hint=_what_there_is(found, name)) from error
        owner = f"{owner}.{name}"
    return found


def is_spec(text: str) -> bool:
    """Whether a text has the form `package.module:attribute`."""
    return _SPEC.fullmatch(text) is not None


def failure(what: str, error: BaseException) -> ConfigError:
    """What is said when the user's code failed: where, and how.

    Args:
        what: what was tried, such as `Calling app:make()`.
        error: what that code raised.
    """
    return ConfigError(
        f"{what} failed{place(error)}: {described(error)}.", hint="The fault is in that code; fix it there."
    )


def described(error: BaseException) -> str:
    """Type and message of an exception on one line."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def place(error: BaseException) -> str:
    """Where an exception arose, as ` at file.py:12`; "" where that is not known."""
    if isinstance(error, SyntaxError) and error.filename:
        return at(error.filename, error.lineno)
    # Frames of the import system are frozen or lie in its folder.
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__
        and not frame.filename.startswith("<frozen")
        and Path(frame.filename).parent != Path(importlib.__file__).parent
    ]
    return at(frames[-1].filename, frames[-1].lineno) if frames else ""


def at(file: str, line: int | None) -> str:
    """A line of a file as people want it: seen from the working folder."""
    path, cwd = Path(file), Path.cwd()
    return f" at {path.relative_to(cwd) if path.is_relative_to(cwd) else path}:{line}"


def _imported(module_name: str) -> Any:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise NoSuchModule(
                f"There is no module {error.name!r}.",
                hint="Run the command in the folder that holds it, or name that folder in PYTHONPATH.",
            ) from error
        raise failure(f"Importing {module_name}", error) from error
    except (Exception, SystemExit) as error:
        raise failure(f"Importing {module_name}", error) from error


def _what_there_is(found: object, name: str) -> str:
    names = sorted(known for known in getattr(found, "__dict__", {}) if not known.startswith("_"))
    nearest = difflib.get_close_matches(name, names, n=1)
    if nearest:
        return f"Did you mean {nearest[0]}?"
    return f"It has: {', '.join(names[:_MAX_SHOWN])}." if names else "Look at the spelling."


def install_command(extra: str, *packages: str) -> str:
    """The command that installs an extra of this package, and further packages."""
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
