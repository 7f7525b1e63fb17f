"""Move data into and out of Apache CouchDB without losing a document.

    extractor  →  transformers  →  loader   →  checkpoint
    (source)      (pure            (target,     (moves after what
                   functions)       one outcome  is settled)
                                    for each)

>>> import migrator, tempfile
>>> service = {"agents": {"a-1": {"name": "Ada"}, "a-2": {"name": "Bob", "retired": True}}}
>>> with tempfile.TemporaryDirectory() as folder:
...     result = migrator.run(service, folder + "/out", transform=["where:!retired"], checkpoint=folder + "/cp")
>>> result.ok, result.totals.written, result.totals.filtered
(True, 1, 1)

A source is text as on the command line, or an object; a target is text. Everything else is a keyword, which
`help(migrator.run)` lists. Read `migrator.model` first.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from migrator.version import __version__

if TYPE_CHECKING:
    from migrator.functions import apply, backup, plan, plan_server, restore, retry, run, seed, verify

__all__ = [
    "__version__",
    "apply",
    "backup",
    "plan",
    "plan_server",
    "restore",
    "retry",
    "run",
    "seed",
    "verify",
]


def __getattr__(name: str) -> Any:
    # Imported late: `import migrator` alone must cost nothing.
    if name in _ROOMS:
        import importlib

        return importlib.import_module(f"migrator.{name}")
    if name in __all__:
        from migrator import functions

        return getattr(functions, name)
    raise AttributeError(f"module 'migrator' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Rooms with a function's name: what is imported becomes the package's attribute, so it must be callable.
_ROOMS = frozenset({"backup", "retry"})


class _Room(ModuleType):
    """A room that can be called as the function of its name."""

    @property
    def _function(self) -> Any:
        from migrator import functions

        return getattr(functions, self.__name__.rpartition(".")[2])

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._function(*args, **options)

    @property
    def __signature__(self) -> Any:
        return self._function.__signature__


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        if name in _ROOMS and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
