"""Every page: a command that is not typed has a reason, and what is named in place of it is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import scenes
from tests.docs.pages import OUTPUT, PAGES, ROOT, SHELL, blocks, name_of

# What is shown and not typed. A block for a shell in another language would be one that is never run.
LANGUAGES = {"", "text", "json", "toml", "yaml", "ini", "csv"}
COMMAND = re.compile(r"^(?:\$ )?(?:migrator (?!->)|export |curl |pip |python ).*", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_command_hides_in_another_block(page: Path) -> None:
    """A block is of a language that is run, or it shows no command."""
    for block in blocks(page):
        if block.language not in {*SHELL, "python", "py"}:
            assert block.language in LANGUAGES, (
                f"{block.where}: {block.language} is neither run nor known to be shown"
            )
            if block.title != "crontab":
                typed = re.findall(
                    r"^(?:\$ )?(?:migrator (?!->)|export |curl |pip |python ).*", block.body, re.MULTILINE
                )
                assert typed == [] or block.title == OUTPUT, f"{block.where}: a command that nothing runs: {typed}"


def test_scenes_are_of_pages_that_are_there() -> None:
    """A page that was renamed takes its scene along, and no reason against running is left without a command."""
    assert scenes.SCENES.keys() <= {name_of(page) for page in PAGES}
    commands = [command for page in PAGES for block in blocks(page, *SHELL) for command in block.commands()]
    unused = [
        pattern for pattern in scenes.NOT_RUN if not any(re.search(pattern, command) for command in commands)
    ]
    assert unused == []


def test_most_commands_are_typed() -> None:
    """The reasons against running are exceptions."""
    commands = [
        (page, command)
        for page in PAGES
        for block in blocks(page, *SHELL)
        for command in block.commands()
        if "migrator " in command
    ]
    typed = [command for page, command in commands if not scenes.scene_of(page).why_not_run(command)]
    assert len(typed) > 80
    assert len(typed) > 0.75 * len(commands)


def test_reasons_name_tests_that_are_there() -> None:
    """Where a test elsewhere runs what a page cannot, it exists."""
    named = {name for reason in scenes.NOT_RUN.values() for name in re.findall(r"tests/[\w/.]+\w", reason)}
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_extras_that_pages_install_exist() -> None:
    """`pip install "couchdb-migrator[x]"` names extras of `setup.cfg`."""
    extras = re.findall(r"^(\w+) =$", (ROOT / "setup.cfg").read_text(encoding="utf-8"), re.MULTILINE)
    named = {
        extra
        for page in PAGES
        for found in re.findall(r"(?:migrator|\.)\[([\w,]+)\]", page.read_text(encoding="utf-8"))
        for extra in found.split(",")
    }
    assert {"sandbox", "sql", "dask"} <= named <= set(extras)
