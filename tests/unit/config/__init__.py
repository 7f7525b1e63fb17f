"""Unit tests of options and job files."""
