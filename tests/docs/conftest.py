"""A page's player, with a server and a prefix of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.running import play
from tests.docs.scenes import scene_of

Player = Callable[[Path], int]


@pytest.fixture
def player(
    tmp_path: Path, server_url: str, database_prefix: str, is_couchdb: bool, request: pytest.FixtureRequest
) -> Player:
    """Goes through a page in an empty folder; gives how many commands it typed."""

    def played(page: Path) -> int:
        named = scene_of(page).bucket
        swap = {named: request.getfixturevalue("bucket")} if named else {}
        return play(page, tmp_path, server_url, database_prefix, is_couchdb=is_couchdb, swap=swap)

    return played
