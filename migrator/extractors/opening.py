"""What the factories of sources share: the text of a SOURCE and the collections that a job chose."""

from __future__ import annotations

from migrator.config import JobConfig


def after_scheme(source: str, scheme: str) -> str:
    """A source without its scheme, if it has it."""
    return source[len(scheme) + 1 :] if source.lower().startswith(f"{scheme}:") else source


def chosen(config: JobConfig) -> list[str] | None:
    """The collections that a job names; None for all."""
    return list(config.collection) or None
