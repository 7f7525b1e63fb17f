"""The size of a document as CouchDB computes it against `max_document_size`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

DEFAULT_MAX_DOCUMENT_BYTES = 8_000_000


def document_size(document: Mapping[str, Any]) -> int:
    """Bytes as `couch_ejson_size` counts them: no field that begins with `_`, strings unescaped, floats rough.

    Above the length of the JSON text only where many integers lie just below a power of ten, so that a text within
    the limit needs no computing.
    """
    body = {key: value for key, value in document.items() if not key.startswith("_")}
    size = 0
    pending: list[Any] = [body]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            size += 2 if not value else 1
            for key, item in value.items():
                size += 4 + len(key.encode())
                pending.append(item)
        elif isinstance(value, list):
            size += 2 if not value else 1 + len(value)
            pending.extend(value)
        else:
            size += _scalar_size(value)
    return size


def _scalar_size(value: Any) -> int:
    if isinstance(value, str):
        return 2 + len(value.encode())
    if value is None or value is True:
        return 4
    if value is False:
        return 5
    if isinstance(value, int):
        # As the server itself computes it, by floats: 999999999999999 has 16 digits for it.
        return 1 + (math.floor(math.log10(abs(value))) if value else 0) + (value < 0)
    return _float_size(float(value))


def _float_size(value: float) -> int:
    if value < 0.0:
        return 1 + _float_size(-value)
    if value in {0.0, 1.0}:
        return 3
    if value < 1.0:
        for bound, size in ((1e-300, 3), (1e-100, 6), (1e-10, 5), (0.01, 4)):
            if value <= bound:
                return size
        return 3
    return 5 if value >= 1e100 else 4 if value >= 1e10 else 3
