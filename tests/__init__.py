"""The tests; the folders mirror what they test."""
