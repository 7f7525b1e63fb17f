"""Targets: one file per kind."""
