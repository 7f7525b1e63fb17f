"""A page's player, with a server and a prefix of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.running import play

Player = Callable[[Path], int]


@pytest.fixture
def player(tmp_path: Path, server_url: str, database_prefix: str, is_couchdb: bool) -> Player:
    """Goes through a page in an empty folder; gives how many commands it typed."""
    return lambda page: play(page, tmp_path, server_url, database_prefix, is_couchdb=is_couchdb)
