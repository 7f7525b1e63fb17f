"""What changed in a database since a sequence, a page at a time, or as soon as something does."""

from __future__ import annotations

from typing import Any, NamedTuple

from migrator.couch.answers import refuse
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import database_url
from migrator.errors import ConfigError, TransientError


class ChangedPage(NamedTuple):
    """Ids of documents that changed, each at its latest change, and the sequence behind them.

    The server may name some again, and may rewind. `pending` says how many changes are left, where it says so.
    """

    ids: tuple[str, ...]
    last_seq: str
    pending: int | None


def changed_page(
    client: CouchClient, database: str, since: str, *, rows: int = 1_000, wait_s: float = 0.0
) -> ChangedPage:
    """Read one page of `_changes`.

    Args:
        client: the server.
        database: its name.
        since: begin behind this sequence.
        rows: at most so many.
        wait_s: where there is nothing new, wait so long for the first.

    Raises:
        TransientError: no whole answer.
        ConfigError: the sequence is none of this server's.
    """
    where = f"Reading the changes of {database_url(client.endpoint, database)}"
    # One sequence a page: making one for each row costs the server half its time.
    params: dict[str, Any] = {"since": since, "limit": rows, "seq_interval": rows}
    if wait_s:
        params |= {"feed": "longpoll", "timeout": int(wait_s * 1000)}
    answer = client.call("GET", database, "_changes", params={key: str(value) for key, value in params.items()})
    if answer.status == 400:
        raise ConfigError(
            f"{where}: {' '.join(answer.error())}.",
            hint="Copy all once more with --restart; nothing is written twice.",
        )
    if answer.status != 200:
        refuse(answer, where, client.url)
    value = answer.json(where)
    try:
        ids = tuple(dict.fromkeys(str(row["id"]) for row in value["results"]))
        last_seq, pending = value["last_seq"], value.get("pending")
    except (KeyError, TypeError):
        raise TransientError(f"{where}: the answer broke off.", signature="torn answer") from None
    return ChangedPage(ids, str(last_seq), pending if isinstance(pending, int) else None)


def sequence(info: dict[str, Any]) -> str:
    """Where a database stands by its own information."""
    return str(info.get("update_seq", "0"))
