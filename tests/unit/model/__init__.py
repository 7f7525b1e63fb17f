"""Unit tests of the nouns and of what a stage can declare."""
