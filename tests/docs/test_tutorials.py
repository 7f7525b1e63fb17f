"""The tutorials do what they say, from nothing, and print what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.conftest import Player
from tests.docs.pages import PAGES, name_of

TUTORIALS = [page for page in PAGES if page.parent.name == "tutorials"]


@pytest.mark.parametrize("page", TUTORIALS, ids=name_of)
def test_a_tutorial_can_be_followed(page: Path, player: Player) -> None:
    """Each command ends as it should, and prints what the page shows."""
    assert player(page) > 5


def test_there_is_a_tutorial_for_each_job() -> None:
    """One for each of the three jobs."""
    assert [page.stem for page in TUTORIALS] == ["backup", "migrate", "seed"]
