"""Types of the compiled part; see _terms.c."""

from typing import Any

def terms(document: dict[str, Any], /) -> bytes: ...
