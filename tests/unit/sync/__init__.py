"""Unit tests of what keeps a target up to date."""
