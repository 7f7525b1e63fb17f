"""Unit tests of the checkpoint file, the reject file and the guard of a target."""
