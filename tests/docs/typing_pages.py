"""Every page but the tutorials is typed, by halves: one file of tests for each of two workers."""

from __future__ import annotations

from pathlib import Path

from tests.docs import scenes
from tests.docs.conftest import Player
from tests.docs.pages import PAGES, SHELL, blocks

TYPED = [page for page in PAGES if page.parent.name != "tutorials" and blocks(page, *SHELL, "python", "py")]


def runs_at(page: Path) -> int:
    """How many commands and programs of a page are run."""
    scene = scenes.scene_of(page)
    commands = [command for block in blocks(page, *SHELL) for command in block.commands()]
    programs = [block for block in blocks(page, "python", "py") if not block.title]
    return sum(1 for command in commands if not scene.why_not_run(command)) + len(programs)


# A page with many commands takes long: each other one, by their number, gives both halves about the same time.
_BY_LENGTH = sorted(TYPED, key=runs_at, reverse=True)
ONE_HALF, OTHER_HALF = _BY_LENGTH[::2], _BY_LENGTH[1::2]


def type_page(page: Path, player: Player) -> None:
    """Type all that a page shows, and see that nothing of it was left out."""
    assert player(page) == runs_at(page)
