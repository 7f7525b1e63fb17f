"""The revision of a document that is written over another one, by the rule of `migrator.couch.revision`."""

from __future__ import annotations

import binascii
import re

from migrator.couch import revision

EDGE_INTEGERS = (0, 1, 255, 256, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1)
"""Where Erlang writes integers in another way."""

_REVISION = re.compile(r"([1-9][0-9]*)-(.+)", re.ASCII | re.DOTALL)


def revision_after(body: bytes | str, parent: str) -> str | None:
    """Compute the revision that CouchDB 3.x gives to a document written over the revision `parent`.

    The parent may be a tombstone; then it is the parent too of a document that is written without `_rev`.
    None as for `first_revision`, and when `parent` is no revision.
    """
    match = _REVISION.fullmatch(parent)
    if match is None:
        return None
    digest = match[2].encode()
    try:
        start = int(match[1])
        digest = binascii.unhexlify(digest) if len(digest) == 32 else digest
    except ValueError:
        return None
    return revision._revision(body, start, revision._string_head(digest) + digest)
