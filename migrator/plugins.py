"""Code that is not this package's: `module:attribute` that a user names, what an extra installs, and plug-ins.

Plug-ins are extractors, transformers and loaders that other distributions register as entry points. They are
looked for only where a word is none of this package's own, so that a start costs nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrator.errors import ConfigError, MigratorError
from migrator.naming import did_you_mean, shown

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

# On the Python index the name `migrator` belongs to another project.
DISTRIBUTION = "couchdb-migrator"
_SPEC = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_MAX_SHOWN = 12


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
            raise failure(f"Importing {self} ({self.target})", error, self._whose_fault()) from error
        if not callable(factory):
            raise ConfigError(f"{self} ({self.target}) is not a factory.", hint=self._whose_fault())
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
            raise failure(f"Calling {self}", error, self._whose_fault()) from error
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


def failure(what: str, error: BaseException, hint: str = "") -> ConfigError:
    """What is said when the user's code failed: where, and how.

    Args:
        what: what was tried, such as `Calling app:make()`.
        error: what that code raised.
        hint: what to do, where it is not to fix that code.
    """
    hint = hint or "The fault is in that code; fix it there."
    return ConfigError(f"{what} failed{place(error)}: {described(error)}.", hint=hint)


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
    if question := did_you_mean(name, names, "{}"):
        return question
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
