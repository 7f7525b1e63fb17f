"""Finds what other distributions add: extractors, transformers and loaders that they register as entry points.

They are looked for only where a word is none of this package's own, so that a start costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from migrator.errors import ConfigError, MigratorError
from migrator.plugins.imports import failure, place

if TYPE_CHECKING:
    import importlib.metadata

EXTRACTORS = "migrator.extractors"
TRANSFORMERS = "migrator.transformers"
LOADERS = "migrator.loaders"
GROUPS = {EXTRACTORS: "extractor", TRANSFORMERS: "transformer", LOADERS: "loader"}
"""The groups of entry points, with what people call one of each."""

_CALLED_WITH = {
    EXTRACTORS: "factory(source, config, environ)",
    TRANSFORMERS: "factory(argument)",
    LOADERS: "factory(target, config, names, environ)",
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point. `word` is the scheme of a SOURCE or TARGET, or the kind of a SPEC, in lower case."""

    group: str
    word: str
    distribution: str
    version: str
    target: str
    entry_point: importlib.metadata.EntryPoint = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"the {GROUPS[self.group]} {self.word!r} of {self.distribution} {self.version}"

    def load(self) -> Callable[..., Any]:
        """Import the factory.

        Raises:
            ConfigError: that fails, or what is there cannot be called.
        """
        try:
            factory = self.entry_point.load()
        except (Exception, SystemExit) as error:
            broken = failure(f"Importing {self} ({self.target})", error)
            raise ConfigError(broken.message, hint=self._whose_fault()) from error
        if not callable(factory):
            raise ConfigError(f"{self} ({self.target}) is no factory.", hint=self._whose_fault())
        found: Callable[..., Any] = factory
        return found

    def make(self, protocol: type, *arguments: object) -> Any:
        """Call the factory and see that it gave what it should.

        Raises:
            ConfigError: it failed, or gave something else.
        """
        factory = self.load()
        try:
            made = factory(*arguments)
        except MigratorError:
            raise
        except Exception as error:
            raise ConfigError(
                f"Calling {self} failed{place(error)}: {type(error).__name__}: {error}.", hint=self._whose_fault()
            ) from error
        if not isinstance(made, protocol):
            lacks = [name for name in _names_of(protocol) if not hasattr(made, name)]
            what = f"lacks {', '.join(lacks)}" if lacks else "is of another type"
            raise ConfigError(f"What {self} gave {what}.", hint=self._whose_fault())
        return made

    def _whose_fault(self) -> str:
        return (
            f"The fault is in {self.distribution}, which must give {_CALLED_WITH[self.group]}: "
            f"update it, or pip uninstall {self.distribution}. See docs/plugins.md."
        )


def installed(group: str | None = None) -> list[Plugin]:
    """All plugins, or those of one group, sorted by group and word."""
    import importlib.metadata  # slow to import, and most runs need none

    found = {}
    for each in GROUPS if group is None else (group,):
        for point in importlib.metadata.entry_points(group=each):
            name, version = (point.dist.name, point.dist.version) if point.dist else ("an unknown one", "")
            plugin = Plugin(each, point.name.lower(), name, version, point.value, point)
            found[each, plugin.word, name, point.value] = plugin
    return [found[key] for key in sorted(found)]


def find(group: str, word: str) -> Plugin | None:
    """The plugin that a word stands for, None where nobody registered it.

    Raises:
        ConfigError: several distributions did.
    """
    found = [plugin for plugin in installed(group) if plugin.word == word.lower()]
    if len(found) > 1:
        names = " and ".join(f"{plugin.distribution} ({plugin.target})" for plugin in found)
        raise ConfigError(
            f"The {GROUPS[group]} {word!r} is registered by {names}.",
            hint=f"Keep one of them: pip uninstall {found[-1].distribution}.",
        )
    return found[0] if found else None


def words(group: str) -> list[str]:
    """The words of a group, each once."""
    return list(dict.fromkeys(plugin.word for plugin in installed(group)))


def _names_of(protocol: type) -> list[str]:
    return sorted(
        name for name in {*vars(protocol), *vars(protocol).get("__annotations__", {})} if not name.startswith("_")
    )
