"""Brings a cluster's copies of a database together before a list of it is taken for complete.

A cluster answers lists (`_all_docs`, `_changes`, the counts of `GET /{db}`) and `_revs_diff` from one copy of each
shard, while a write counts as stored when most copies have it: right after it, a list can be short, even empty. A
document by its id (`GET`, `_bulk_get`, `_all_docs` with keys) is read from most copies, so that is never behind.

The proof is the servers' own: each copy notes up to which of its changes it has pushed to each other copy, in
`_local/shard-sync-…`. When each has pushed what it held at the beginning to all others, every copy holds whatever
any of them held then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from migrator.couch.client import CouchClient
from migrator.retry.retrier import Retrier


def copies_of(info: Mapping[str, Any] | None) -> int:
    """How many copies of each document `GET /{db}` tells of: 1 on a single node and on PouchDB Server."""
    cluster = (info or {}).get("cluster")
    n = cluster.get("n") if isinstance(cluster, Mapping) else None
    return n if isinstance(n, int) else 1


def is_empty(info: Mapping[str, Any], *, deletions: bool = True) -> bool:
    """True when `GET /{db}` tells of no document, and of no deletion where those count."""
    return not (info.get("doc_count") or (deletions and info.get("doc_del_count")))


def bring_together(
    client: CouchClient,
    database: str,
    info: Mapping[str, Any] | None = None,
    *,
    retrier: Retrier | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Wait until every copy holds what any of them held when this was called; "" when that is sure, else why not.

    Where there is one copy this asks no more than `GET /{db}`.

    Args:
        client: the server.
        database: its name.
        info: its `GET /{db}`, where that was just asked.
        retrier: tries again, and ends a wait with Interrupted when the run is asked to stop.
        sleep: waits.
        clock: seconds.

    Raises:
        TransientError: the server is out of reach.
    """
    if retrier is not None:
        pause = retrier.pause
        return retrier.call(
            f"bring the copies of {database} together",
            lambda number: bring_together(client, database, info if number == 1 else None, sleep=pause),
        )
    if info is None:
        info = client.database_info(database)
    if (n := copies_of(info)) < 2:
        return ""
    from migrator.couch.align import Alignment, Impossible  # one copy needs none

    try:
        Alignment(client, database, sleep, clock).align()
    except Impossible as why:
        return f"{database}: the server lists one of {n} copies of each document, and {why}"
    return ""


def settle(
    client: CouchClient, database: str, retrier: Retrier | None = None, info: Mapping[str, Any] | None = None
) -> bool:
    """`bring_together` before a list is read: True when the list will be whole.

    Else the reason is kept in `client.unconfirmed`, where whoever reports finds it.

    Args:
        client: the server.
        database: its name.
        retrier: tries again, and ends a wait with Interrupted when the run is asked to stop.
        info: its `GET /{db}`, where that was just asked.

    Raises:
        TransientError: the server is out of reach.
    """
    reason = bring_together(client, database, info, retrier=retrier)
    if reason:
        client.unconfirmed[database] = reason
    else:
        client.unconfirmed.pop(database, None)
    return not reason


def settled_info(client: CouchClient, database: str) -> dict[str, Any] | None:
    """`GET /{db}` whose counts hold all that was acknowledged before; None when there is no such database.

    Raises:
        TransientError: the server is out of reach.
    """
    info = client.database_info(database)
    if copies_of(info) > 1:
        settle(client, database, info=info)
        return client.database_info(database)
    return info


def is_surely_empty(
    client: CouchClient,
    database: str,
    info: Mapping[str, Any],
    retrier: Retrier | None = None,
    *,
    deletions: bool = True,
) -> bool:
    """True when a database holds nothing, on any copy: False too where that cannot be made sure of.

    Args:
        client: the server.
        database: its name.
        info: its `GET /{db}`, which was just asked.
        retrier: tries again.
        deletions: what was deleted counts; else a database is empty whose documents are all deleted.

    Raises:
        TransientError: the server is out of reach.
    """
    if copies_of(info) < 2 or not is_empty(info, deletions=deletions):
        return is_empty(info, deletions=deletions)
    whole = not bring_together(client, database, info, retrier=retrier)
    return whole and is_empty(client.database_info(database) or info, deletions=deletions)
