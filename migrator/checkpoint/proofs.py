"""One number for all documents that were proven, in any order: it tells whether a target holds exactly these."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_BYTES = 32


def with_proofs(number: str, documents: Iterable[tuple[str, str]]) -> str:
    """Add documents to the number of others; it is the sum of their digests, so their order does not count.

    Args:
        number: that of the others; "" for none.
        documents: ids and revisions.
    """
    total = int(number or "0", 16)
    for id, rev in documents:
        text = f"{rev} {id}".encode("utf-8", "surrogatepass")
        total += int.from_bytes(hashlib.blake2b(text, digest_size=_BYTES).digest())
    return f"{total % 256**_BYTES:0{2 * _BYTES}x}"
