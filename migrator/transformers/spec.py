"""Reads SPEC, the text of one transformer on the command line and in a job file, or the name of a function.

A function of the user's own is code that the user names and that runs with the user's rights.
"""

from __future__ import annotations

import inspect
import pkgutil
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from migrator import plugins
from migrator.codec.deep import detached
from migrator.config.kinds import KINDS, SPEC_FORMS
from migrator.errors import ConfigError, TransformError
from migrator.model import Document, Transformer
from migrator.model.capabilities import NO_EFFECT, Effect, PerRun, effect_of, with_effect
from migrator.naming import did_you_mean, shown
from migrator.plugins import at, described, load_attribute

_FORM = "Write it as def transform(document: dict) -> dict | None, where None leaves the document out."
_BY_WORD = {kind.word: kind for kind in KINDS if kind.factory}


def parse(spec: str, *, seed: bytes = b"", started_ms: int = 0, search_cwd: bool = True) -> Transformer:
    """Make the transformer that a text names; KINDS says which there are.

    Args:
        spec: the text.
        seed: the run's own random bytes, for ids that belong to a run.
        started_ms: when the run started, in milliseconds since 1970.
        search_cwd: look for the user's own functions in the working folder first.

    Returns:
        The transformer.

    Raises:
        ConfigError: the text names no transformer, or its arguments are wrong.
    """
    kind, colon, rest = spec.partition(":")
    if kind in _BY_WORD:
        made: Transformer | PerRun = pkgutil.resolve_name(_BY_WORD[kind].factory)(rest)
        return made.in_run(seed, started_ms) if isinstance(made, PerRun) else made
    plugin = plugins.find(plugins.TRANSFORMERS, kind) if kind.isidentifier() else None
    if plugin is not None:
        return user_function(plugin.make(Callable, rest), name=spec)  # type: ignore[arg-type]
    if not colon or not plugins.is_spec(spec):
        raise _unknown(spec, f"--transform {shown(spec)} names no transformer.")
    try:
        return user_function(load_attribute(spec, search_cwd=search_cwd), name=spec)
    except plugins.NoSuchModule as error:
        if "." in kind and not _nearest(spec):
            raise ConfigError(f"--transform {shown(spec)}: {error.message}", hint=error.hint) from error
        raise _unknown(spec, f"--transform {shown(spec)} names no transformer: {error.message}") from error


def parse_all(specs: Sequence[str], *, seed: bytes = b"", started_ms: int = 0) -> Transformer | None:
    """Make one transformer of several texts.

    Args:
        specs: as for `parse`, in the order in which they apply.
        seed: as for `parse`.
        started_ms: as for `parse`.

    Returns:
        The transformer; None when there are no texts.

    Raises:
        ConfigError: as for `parse`.
    """
    steps = [parse(spec, seed=seed, started_ms=started_ms) for spec in specs]
    return compose(steps) if steps else None


def compose(transformers: Iterable[Transformer]) -> Transformer:
    """Apply several transformers in order; the first that gives None filters the document out.

    Args:
        transformers: what to apply.

    Returns:
        One transformer that does what they all do.
    """
    steps = tuple(transformers)
    if len(steps) == 1:
        return steps[0]

    def transform(document: Document) -> Document | None:
        for step in steps:
            transformed = step(document)
            if transformed is None:
                return None
            document = transformed
        return document

    effects = [effect_of(step) for step in steps] or [NO_EFFECT]
    return with_effect(
        transform,
        Effect(
            keeps_id=all(effect.keeps_id for effect in effects),
            makes_id=any(effect.makes_id for effect in effects),
            stable_id=all(effect.stable_id for effect in effects),
            same_each_run=all(effect.same_each_run for effect in effects),
        ),
    )


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


def _nearest(spec: str) -> str:
    kind = spec.partition(":")[0].strip().casefold()
    return did_you_mean(kind, [*_BY_WORD, *plugins.words(plugins.TRANSFORMERS)], "{}")


def _unknown(spec: str, message: str) -> ConfigError:
    known = [SPEC_FORMS, *(f"{word}:…" for word in plugins.words(plugins.TRANSFORMERS))]
    return ConfigError(message, hint=f"{_nearest(spec)} There are: {', '.join(known)}.")


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
