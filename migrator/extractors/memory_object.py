"""Finds the object of this process that `memory:package.module:attribute` names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from migrator.config import JobConfig
from migrator.extractors.memory import MemoryExtractor, data_of
from migrator.extractors.opening import after_scheme, chosen
from migrator.model import Extractor
from migrator.plugins.imports import failure, load_attribute


def open_source(source: str, config: JobConfig, _environ: Mapping[str, str]) -> Extractor:
    """The source that a SOURCE names."""
    name = after_scheme(source, "memory")
    return MemoryExtractor(load_object(name), name=name, collections=chosen(config))


def load_object(spec: str) -> object:
    """Import the source that `package.module:attribute` names; a class or function is called for what it gives.

    Something that can be called but is a source itself, such as a service with `__call__`, is not called.

    Raises:
        ConfigError: there is no such module or attribute, or the user's code failed.
    """
    found = load_attribute(spec)
    is_source = data_of(found) is not None or callable(getattr(found, "list_all", None))
    if not inspect.isclass(found) and (not callable(found) or is_source):
        return found
    try:
        return found()
    except (Exception, SystemExit) as error:
        # The frame of this function is not the user's.
        within = error.__traceback__.tb_next if error.__traceback__ else None
        raise failure(f"Calling {spec}()", error.with_traceback(within)) from error
