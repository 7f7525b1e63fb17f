"""A function of the user's own as a transformer: code that the user names and that runs with the user's rights."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from migrator.errors import ConfigError, TransformError
from migrator.model import Document, Transformer
from migrator.model.capabilities import effect_of, with_effect
from migrator.plugins import at, described, load_attribute
from migrator.transformers.copying import detached

_FORM = "Write it as def transform(document: dict) -> dict | None, where None leaves the document out."


def load_function(spec: str, *, search_cwd: bool = True) -> Transformer:
    """Import the function that `package.module:function` names, as `user_function`.

    Args:
        spec: the name.
        search_cwd: look into the working folder first, as `python -m` does.

    Returns:
        The transformer, guarded as by `user_function`.

    Raises:
        ConfigError: there is no such function, or importing it failed.
    """
    return user_function(load_attribute(spec, search_cwd=search_cwd), name=spec)


def user_function(function: Callable[..., Any], *, name: str) -> Transformer:
    """Guard a function that nothing is known of.

    It gets a deep copy of the document, so that it may change what it gets. What it gives must be a mapping or
    None, and what it raises becomes a TransformError with the place in its file.

    Args:
        function: takes a dict, gives a mapping or None.
        name: what people call it.

    Returns:
        The transformer; it raises TransformError for what the function raises.

    Raises:
        ConfigError: it cannot be called with one argument.
    """
    if not callable(function):
        raise ConfigError(
            f"--transform {name}: that is of type {type(function).__name__}, no function.", hint=_FORM
        )
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigError(f"--transform {name}: the function is async or a generator.", hint=_FORM)
    if not _takes_one_argument(function):
        raise ConfigError(f"--transform {name}: the function does not take just one argument.", hint=_FORM)

    def transform(document: Document) -> Document | None:
        try:
            own = detached(document)
        except Exception as error:  # the document's objects copy themselves as they please
            raise TransformError(f"{name}: the document cannot be copied: {described(error)}.") from error
        try:
            transformed = function(own)
        except TransformError:
            raise
        except Exception as error:  # the user's code fails as it pleases
            raise TransformError(f"{name} failed{_place(error, function)}: {described(error)}.") from error
        if transformed is None or isinstance(transformed, Mapping):
            return transformed
        raise TransformError(f"{name}: it gave a {type(transformed).__name__}, neither a mapping nor None.")

    return with_effect(transform, effect_of(function))


def _takes_one_argument(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind({})
    except TypeError:
        return False
    except ValueError:
        # Some functions written in C do not tell.
        return True
    return True


def _place(error: BaseException, function: Callable[..., Any]) -> str:
    """The line in the function's own file, however deep in other code the error arose."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return ""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == code.co_filename]
    return at(code.co_filename, own[-1].lineno if own else code.co_firstlineno)
