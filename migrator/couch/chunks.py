"""Takes many chunks of an answer at once: CouchDB sends them of about 1 KB, and each alone costs as much as 30."""

from __future__ import annotations

import io
import re

BUFFER_BYTES = 1 << 18
"""How much of an answer is held, in which chunks are looked for."""

# Anything else, such as the last chunk of all, is left to the standard library.
_FIRST = re.compile(rb"([0-9a-fA-F]{1,8})\r\n")
_NEXT = re.compile(rb"\r\n([0-9a-fA-F]{1,8})\r\n")


def whole_chunks(file: io.BufferedReader, *, first: bool) -> bytes:
    """Read what has come of whole chunks, but for the line break that ends the last; b"" if none has come.

    Args:
        file: stands before a chunk.
        first: it is the first one; else the line break that ends the chunk before comes first.
    """
    held = file.peek()
    pieces: list[bytes] = []
    end = 0
    while head := (_FIRST if first else _NEXT).match(held, end):
        size = int(head[1], 16)
        if not size or head.end() + size > len(held):
            break
        end = head.end() + size
        pieces.append(held[head.end() : end])
        first = False
    file.read(end)
    return b"".join(pieces)
