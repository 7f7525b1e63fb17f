"""Every page but the tutorials can be typed, in the order in which it shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import scenes
from tests.docs.conftest import Player
from tests.docs.pages import PAGES, SHELL, blocks, name_of

TYPED = [page for page in PAGES if page.parent.name != "tutorials" and blocks(page, *SHELL, "python", "py")]


def runs_at(page: Path) -> int:
    """How many commands and programs of a page are run."""
    scene = scenes.scene_of(page)
    commands = [command for block in blocks(page, *SHELL) for command in block.commands()]
    programs = [block for block in blocks(page, "python", "py") if not block.title]
    return sum(1 for command in commands if not scene.why_not_run(command)) + len(programs)


@pytest.mark.parametrize("page", TYPED, ids=name_of)
def test_a_page_can_be_typed(page: Path, player: Player) -> None:
    """Each command and each program of a page ends as it should, one after the other, and none was left out."""
    assert player(page) == runs_at(page)
