"""Exact comparison, under its name in these tests."""

from migrator.testing.transformers import same

__all__ = ["same"]
