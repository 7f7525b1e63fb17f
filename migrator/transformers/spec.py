"""Reads SPEC, the text of one transformer on the command line and in a job file."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Callable, Iterable, Sequence

from migrator import plugins
from migrator.config.kinds import KINDS, SPEC_FORMS
from migrator.errors import ConfigError
from migrator.model import Document, Transformer
from migrator.model.capabilities import NO_EFFECT, Effect, PerRun, effect_of, with_effect
from migrator.naming import shown
from migrator.transformers.user_function import load_function, user_function

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
        return load_function(spec, search_cwd=search_cwd)
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


def _nearest(spec: str) -> str:
    kind = spec.partition(":")[0].strip().casefold()
    found = difflib.get_close_matches(kind, [*_BY_WORD, *plugins.words(plugins.TRANSFORMERS)], n=1)
    return found[0] if found else ""


def _unknown(spec: str, message: str) -> ConfigError:
    nearest = _nearest(spec)
    question = f"Did you mean {nearest}? " if nearest else ""
    known = [SPEC_FORMS, *(f"{word}:…" for word in plugins.words(plugins.TRANSFORMERS))]
    return ConfigError(message, hint=f"{question}There are: {', '.join(known)}.")
