"""Carries documents into Apache CouchDB and out of it, without losing one."""

from migrator.version import __version__

__all__ = ["__version__"]
