"""What a server says of the index of a design document: one reading of `_info` for all who ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migrator.couch.responses import Answer, refuse

# No other answer says anything: a 500, as while a node starts again, proves neither that there is no index nor
# that it is built.
ANSWERED = (200, 400, 404)


def index_of(answer: Answer, what: str, url: str) -> Mapping[str, Any] | None:
    """What `_info` tells of an index; None where there is none, empty where the server keeps it to itself.

    Args:
        answer: the answer to `_design/NAME/_info`.
        what: what was asked for, for people.
        url: the server's URL without credentials.

    Raises:
        TransientError: the server is in trouble, and nothing is known.
    """
    if answer.status not in ANSWERED:
        refuse(answer, what, url)
    if answer.status != 200:
        return None
    value = answer.json(what)
    index = value.get("view_index") if isinstance(value, dict) else None
    # The sandbox builds within the query, and has words in the place of numbers.
    return index if isinstance(index, dict) else {}


def left_to_index(index: Mapping[str, Any] | None) -> int:
    """How many changes an index has yet to see; at least 1 while it is being built."""
    pending = (index or {}).get("updates_pending")
    left = int(pending.get("total") or 0) if isinstance(pending, dict) else 0
    return left or int((index or {}).get("updater_running") is True)
