"""The tutorials do what they say, from nothing, and print what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import support
from tests.docs.conftest import Player
from tests.docs.pages import PAGES, name_of
from tests.docs.running import play

TUTORIALS = [page for page in PAGES if page.parent.name == "tutorials"]
# As the site has them.
ORDER = ["migrate", "backup", "seed"]


@pytest.mark.parametrize("page", TUTORIALS, ids=name_of)
def test_a_tutorial_can_be_followed(page: Path, player: Player) -> None:
    """Each command ends as it should, and prints what the page shows."""
    assert player(page) > 5


def test_there_is_a_tutorial_for_each_job() -> None:
    """One for each of the three jobs."""
    assert sorted(page.stem for page in TUTORIALS) == sorted(ORDER)


@pytest.mark.couchdb("the sandbox wants no account")
def test_the_tutorials_can_be_followed_one_after_the_other_with_an_account(
    tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """In one folder, on one server that lets in nobody else: each finds all its names free, and leaves nothing."""
    for page in sorted(TUTORIALS, key=lambda page: ORDER.index(page.stem)):
        play(page, tmp_path, server_url, database_prefix, is_couchdb=True, swap={}, with_account=True)
        left = [name for name in support.get(f"{server_url}/_all_dbs") if name.startswith(database_prefix)]
        assert left == [], name_of(page)
