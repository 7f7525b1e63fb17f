"""Where a document lies below its database's URL, and what fits into a request line."""

from __future__ import annotations

from urllib.parse import quote

# Servers and proxies take request lines of 8 kB.
MAX_QUERY_BYTES = 6_000


def id_path(id: str) -> list[str]:
    """The segments of a document's path, unquoted.

    `_design/x` and `_local/x` keep their slash: an escaped one is answered with a redirect.
    """
    head, slash, tail = id.partition("/")
    return [head, tail] if slash and head in {"_design", "_local"} else [id]


def has_path(*segments: str) -> bool:
    """False when no request line can name them: too long, or dots, which name another place."""
    return sum(len(quote(segment, safe="")) for segment in segments) <= MAX_QUERY_BYTES and not {".", ".."} & {
        *segments
    }
