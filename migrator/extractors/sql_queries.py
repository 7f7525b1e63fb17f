"""Divides the URL of a database from the queries that it names: `?query.open_orders=select * from orders …`."""

from __future__ import annotations

import re
from urllib.parse import unquote

from migrator.errors import ConfigError
from migrator.naming import shown

_QUERY = "query."


def divide_queries(url: str) -> tuple[str, dict[str, str]]:
    """The URL that the driver takes, and the named queries.

    Args:
        url: as given; within a query only `&`, `#` and `%` before two hexadecimal digits must be percent-encoded.

    Raises:
        ConfigError: a query has no name, no text, or the name of another.
    """
    base, mark, options = url.partition("?")
    queries: dict[str, str] = {}
    others = []
    for option in options.split("&") if mark else ():
        name, _, text = option.partition("=")
        if not name.startswith(_QUERY):
            others.append(option)
            continue
        collection = unquote(name[len(_QUERY) :])
        query = re.sub(r"[;\s]+\Z", "", unquote(text)).strip()
        if not collection or not query or collection in queries:
            what = "twice" if collection in queries else "without a name" if not collection else "without a text"
            raise ConfigError(
                f"The source has the query {shown(collection)} {what}.",
                hint="Write ?query.NAME=select …, each name once, with & in it written %26.",
            )
        queries[collection] = query
    return base + (f"?{'&'.join(others)}" if others else ""), queries
