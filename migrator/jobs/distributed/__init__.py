"""Outgrow one machine: a job in splits, each an ordinary run with its own checkpoint, moved by an engine.

The engine (Dask Distributed) decides where and when a split runs and tries again what failed. Everything that must
not be lost is in files beside the main checkpoint, in a folder that all workers see.
"""
