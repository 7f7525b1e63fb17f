"""The other half of the pages can be typed, in the order in which they show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.conftest import Player
from tests.docs.pages import name_of
from tests.docs.typing_pages import OTHER_HALF, type_page


@pytest.mark.parametrize("page", OTHER_HALF, ids=name_of)
def test_a_page_can_be_typed(page: Path, player: Player) -> None:
    """Each command and each program of a page ends as it should, one after the other, on a server."""
    type_page(page, player)
