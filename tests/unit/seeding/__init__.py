"""Tests of migrator.seeding."""
