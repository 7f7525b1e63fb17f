"""Exact comparison, under its name in these tests."""

from migrator.testing.exactness import same

__all__ = ["same"]
