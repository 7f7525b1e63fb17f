"""The public suite for loaders, under its name in these tests."""

from migrator.testing.loaders import LoaderContract, Target
from migrator.testing.memory import batch_of, load_all

__all__ = ["LoaderContract", "Target", "batch_of", "load_all"]
