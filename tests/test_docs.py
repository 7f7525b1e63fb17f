"""The documentation is true: commands shown exist with their flags, examples run, links lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

from migrator.cli import COMMANDS, cli
from migrator.config import JobConfig, load_job_file
from tests.docs.pages import PAGES, ROOT, SHELL, blocks


def shown_commands() -> list[tuple[str, str]]:
    """Every `migrator …` line of the pages and of the commands' own help, with where it stands."""
    texts = [(page.name, block.body) for page in PAGES for block in blocks(page, *SHELL)]
    # Lines of a crontab and steps of a workflow.
    typed = re.compile(r"^(?:[-\d*/ ]+ |\s*- run: )(migrator .*)$", re.MULTILINE)
    texts += [
        (page.name, "\n".join(typed.findall(block.body)))
        for page in PAGES
        for block in blocks(page, "text", "yaml")
    ]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        group = command.commands.values() if isinstance(command, click.Group) else ()
        texts += [(f"{name} --help", each.help or "") for each in (command, *group)]
    texts.append(("--help", cli.help or ""))
    found = []
    for where, body in texts:
        for line in body.replace("\\\n", " ").splitlines():
            found += [
                (where, re.split(r" (?:>>?|<) ", part)[0].strip())
                for part in re.split(r"&& | \|\|? ", line.partition(" #")[0])
                if "migrator " in part
            ]
    return [(where, line) for where, line in found if line.startswith("migrator ")]


@pytest.mark.parametrize(("where", "line"), shown_commands())
def test_every_command_shown_can_be_typed(where: str, line: str) -> None:
    """Commands and flags that a page shows exist."""
    words = shlex.split(line.replace("…", ""))[1:]
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None, f"{where}: {line}"
    rest = words[1:]
    if isinstance(command, click.Group) and rest[:1] and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    with click.Context(command) as context:
        command.parse_args(context, rest)


def test_the_readme_is_short() -> None:
    """It is read to its end; whatever is more belongs on a page of docs, to which it leads."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert {"scripts/demo", "scripts/test", "docs/index.md", "docs/guarantees.md", "docs/troubleshooting.md"} <= {
        *re.findall(r"(?:scripts|docs)/[\w./-]+", text)
    }


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_documented(name: str) -> None:
    """A command has help with an example, and the README or a page of docs shows it."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert f"migrator {name}" in (command.help or "")
    assert any(f"migrator {name}" in page.read_text(encoding="utf-8") for page in PAGES)
    for each in [command, *(command.commands.values() if isinstance(command, click.Group) else ())]:
        for option in each.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, f"{name} {option.opts}"


def test_every_field_of_a_job_is_a_flag_of_run() -> None:
    """What a job file can say, the command line can say too, by the same word."""
    command = cli.get_command(click.Context(cli), "run")
    assert command is not None
    flags = {param.name for param in command.params}
    assert set() == set(JobConfig.__dataclass_fields__) - flags


def test_the_doctests_pass() -> None:
    """Examples in docstrings are true."""
    failed = 0
    for path in sorted((ROOT / "migrator").rglob("*.py")):
        if ">>>" in path.read_text(encoding="utf-8"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            failed += doctest.testmod(importlib.import_module(name)).failed
    assert 0 == failed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of this repository names one that exists."""
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_page_is_found() -> None:
    """The navigation names each page of docs once, and no other; seen here without building the site."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r": (\S+\.md)$", text, re.MULTILINE)
    made = {"architecture.md", "contributing.md", "changelog.md"}
    there = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    # Pages of commands are put in by scripts/docs_site.py.
    assert sorted([*named, "reference/command/index.md"]) == sorted(there | made)


def test_every_variable_is_documented() -> None:
    """What the code reads from the environment under names of its own stands on the page of configuration."""
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "migrator").rglob("*.py"))
    named = set(re.findall(r"\b(?:COUCHDB|MIGRATOR|REDIS|DATABASE)_[A-Z_]+[A-Z]\b", text))
    # Constants of the code, and what one of its processes tells another.
    named -= {"COUCHDB_RANGES", "MIGRATOR_SANDBOX_WORK"}
    assert {name for name in named if f"`{name}`" not in page} == set()
    assert {"COUCHDB_URL", "COUCHDB_PASSWORD_FILE", "MIGRATOR_MASK_KEY"} <= named


def test_every_promise_names_its_evidence() -> None:
    """Each section of the guarantees ends with the tests and scripts that show it, and they are there."""
    page = ROOT / "docs" / "guarantees.md"
    sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(sections) >= 9
    for section in sections:
        last = section.strip().splitlines()[-1]
        named = re.findall(r"\[([^\]]+)\]\(\.\./([^)]+)\)", last)
        assert last.startswith("Shown by: "), section.partition("\n")[0]
        assert named
        for name, target in named:
            assert name == target
            path = ROOT / target
            assert path.is_file()
            assert target.startswith(("tests/", "scripts/"))
            if path.name.startswith("test_"):
                text = path.read_text(encoding="utf-8")
                assert "def test_" in text or "Contract)" in text, target


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.toml")), ids=lambda path: path.name)
def test_job_files_load(path: Path) -> None:
    """The job files that are shipped are valid, commented, and named for the three jobs."""
    config = JobConfig(
        **load_job_file(
            str(path), {"COUCHDB_URL": "http://localhost:5984", "COUCHDB_SOURCE_URL": "http://other:5984"}
        )
    )
    assert config.source
    assert config.target
    assert path.read_text().count("#") >= 5


def test_there_is_a_job_file_for_each_job() -> None:
    """One file for each of the three jobs."""
    expected = {"one-shot-migration.toml", "scheduled-backup-sync.toml", "ci-data-seeding.toml"}
    assert expected <= {path.name for path in ROOT.glob("configs/*.toml")}
