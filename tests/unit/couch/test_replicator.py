"""The document of a replication is removed for good, whatever a cluster's copies know of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from migrator.couch.replicator import Replicator
from migrator.errors import TransientError


class Server:
    """Gives the revisions of the document, one after the other, and notes what was deleted."""

    url = "http://host"
    endpoint = SimpleNamespace(url="http://host")

    def __init__(self, *revs: str | None, refuse: bool = False) -> None:
        self.revs = list(revs)
        self.refuse = refuse
        self.deleted: list[str] = []

    def found(self, *_: str) -> dict[str, Any] | None:
        """The document as it is now; the last state stays."""
        rev = self.revs.pop(0) if len(self.revs) > 1 else self.revs[0]
        return None if rev is None else {"_id": "job", "_rev": rev}

    def ask(self, _what: str, _method: str, *_: str, params: dict[str, str], **_more: Any) -> Any:
        """Delete a revision."""
        self.deleted.append(params["rev"])
        return SimpleNamespace(status=409 if self.refuse else 200)

    def database_info(self, _: str) -> dict[str, Any]:
        """One copy."""
        return {"cluster": {"n": 1}}


def test_what_another_copy_held_is_removed_too() -> None:
    """After a deletion the document is looked for again: what the replicator wrote beside it would win."""
    server = Server("1-a", "2-b", None)
    Replicator(server).remove("job")  # type: ignore[arg-type]
    assert server.deleted == ["1-a", "2-b"]


def test_nothing_is_removed_where_there_is_none() -> None:
    """The usual start."""
    server = Server(None)
    Replicator(server).remove("job")  # type: ignore[arg-type]
    assert server.deleted == []


def test_one_that_changes_all_the_time_is_said() -> None:
    """With the document to remove by hand."""
    server = Server("1-a", refuse=True)
    with pytest.raises(TransientError, match="faster than it can be removed"):
        Replicator(server).remove("job")  # type: ignore[arg-type]
