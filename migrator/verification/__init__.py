"""Compares what a source holds, after its transformers, with what the target holds."""
