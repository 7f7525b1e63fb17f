"""Unit tests of what tries again, and of the limits that tune themselves."""
