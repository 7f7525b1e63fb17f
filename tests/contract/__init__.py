"""One set of cases for all implementations of a protocol."""
