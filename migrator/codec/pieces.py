"""Base64 of what is never held whole."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator

# Divided by three, so that pieces of base64 fit together.
PIECE_BYTES = 3 << 16


def base64_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Base64 of bytes that come in pieces of any size."""
    rest = b""
    for piece in pieces:
        data = rest + piece
        whole = len(data) - len(data) % 3
        for begin in range(0, whole, PIECE_BYTES):
            yield base64.b64encode(data[begin : min(begin + PIECE_BYTES, whole)])
        rest = data[whole:]
    if rest:
        yield base64.b64encode(rest)
