"""Fetches an object that the user names as `package.module:attribute`: this runs code that the user chose."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from migrator.errors import ConfigError
from migrator.naming import shown

_MAX_SHOWN = 12


def load_object(
    spec: str, *, search_cwd: bool = True, is_source: Callable[[object], bool] = lambda _found: False
) -> object:
    """Import what a spec names; a class or function is called without arguments for what it gives.

    Args:
        spec: `package.module:attribute`; the attribute may be dotted.
        search_cwd: look into the working folder first, as `python -m` does. It stays on `sys.path`, because the
            user's code may import more of its own later.
        is_source: says of something that can be called that it is itself what is looked for.

    Raises:
        ConfigError: there is no such module or attribute, or the user's code failed.
    """
    module_name, _, path = spec.partition(":")
    if not module_name or not path or not all(path.split(".")) or not all(module_name.split(".")):
        raise ConfigError(f"{shown(spec)} names no object.", hint="Write it as package.module:attribute.")
    cwd = str(Path.cwd())
    if search_cwd and cwd not in sys.path:
        sys.path.insert(0, cwd)
    found: object = _imported(module_name)
    owner = module_name
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise ConfigError(f"{owner} has no attribute {name!r}.", hint=_what_there_is(found)) from error
        owner = f"{owner}.{name}"
    if inspect.isclass(found) or (callable(found) and not is_source(found)):
        try:
            return found()
        except (Exception, SystemExit) as error:
            raise _failed(f"Calling {spec}()", error) from error
    return found


def _imported(module_name: str) -> object:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ConfigError(
                f"There is no module {error.name!r}.",
                hint="Run the command in the folder that holds it, or name that folder in PYTHONPATH.",
            ) from error
        raise _failed(f"Importing {module_name}", error) from error
    except (Exception, SystemExit) as error:
        raise _failed(f"Importing {module_name}", error) from error


def _failed(what: str, error: BaseException) -> ConfigError:
    message = " ".join(str(error).split())
    reason = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return ConfigError(
        f"{what} failed{_place(error)}: {reason}.", hint="The fault is in that code; mend it there."
    )


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno
    else:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename != __file__ and not frame.filename.startswith("<frozen")
        ]
        # Frames of the import system itself are frozen or lie in this folder.
        frames = [frame for frame in frames if Path(frame.filename).parent != Path(importlib.__file__).parent]
        if not frames:
            return ""
        file, line = frames[-1].filename, frames[-1].lineno
    cwd = Path.cwd()
    path = Path(file)
    return f" at {path.relative_to(cwd) if path.is_relative_to(cwd) else path}:{line}"


def _what_there_is(found: object) -> str:
    names = [name for name in vars(found) if not name.startswith("_")] if hasattr(found, "__dict__") else []
    return f"It has: {', '.join(sorted(names)[:_MAX_SHOWN])}." if names else "Look at the spelling."
