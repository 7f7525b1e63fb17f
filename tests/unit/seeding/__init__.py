"""Tests of migrator.fixtures."""
