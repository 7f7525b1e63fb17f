"""Unit tests of a job opened, ordered and followed."""
