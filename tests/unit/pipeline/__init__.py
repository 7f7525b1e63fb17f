"""Unit tests of the one loop and its parts."""
