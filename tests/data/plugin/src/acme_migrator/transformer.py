"""`upper:FIELD`: puts a field's text into capitals."""

from __future__ import annotations

from typing import Any

from migrator.errors import ConfigError
from migrator.model import Transformer


def upper(argument: str) -> Transformer:
    """What the entry point names: the SPEC's text behind the first colon."""
    if not argument:
        raise ConfigError("--transform upper names no field.", hint="Write upper:FIELD.")

    def transform(document: dict[str, Any]) -> dict[str, Any]:
        # What it is given is a copy of its own.
        if isinstance(document.get(argument), str):
            document[argument] = document[argument].upper()
        return document

    return transform
