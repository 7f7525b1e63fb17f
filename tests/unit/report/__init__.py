"""Unit tests of the page."""
