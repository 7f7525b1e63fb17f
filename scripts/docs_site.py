"""Hooks of mkdocs: pages made from the code, and a page for each file of the repository that a page links to.

- `reference/command/NAME`: a page for each command, from what click knows of it.
- A line `<!-- made: NAME -->` in a page is replaced by what the function of that name in MADE gives.
- Links that lead out of `docs/` lead to a page that shows the file, so that the site is whole by itself.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files, InclusionLevel

from migrator import errors
from migrator.cli import COMMANDS, cli
from migrator.config import JobConfig
from migrator.config.job import ALIASES
from migrator.config.option import options_of

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
COMMAND_FOLDER = "reference/command"
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#\s]+)(#[^)\s]*)?\)")
# Pages of the repository itself that have a place of their own in the site.
HOMES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".md": "markdown"}


# --- Hooks


def on_config(config: Any) -> Any:
    """Put a line for each command into the navigation."""
    _name_commands(config.nav)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    for uri, text in [*command_pages(), *root_pages()]:
        files.append(File.generated(config, uri, content=text))
    for path in sorted(linked_files()):
        page = File.generated(config, uri_of(path), content=source_page(path), inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what is made from the code, and keep links inside the site."""
    for name, make in MADE.items():
        markdown = markdown.replace(f"<!-- made: {name} -->", make())
    path = DOCS / page.file.src_uri
    return relinked(markdown, path, page.file.src_uri) if path.is_file() else markdown


def _name_commands(nav: list[Any]) -> None:
    for entry in nav:
        for title, target in entry.items():
            if target == COMMAND_FOLDER:
                pages = [f"{COMMAND_FOLDER}/index.md", *(f"{COMMAND_FOLDER}/{name}.md" for name in COMMANDS)]
                entry[title] = pages
            elif isinstance(target, list):
                _name_commands([each for each in target if isinstance(each, dict)])


# --- Links out of docs/


def uri_of(path: Path) -> str | None:
    """Where the site has a file of the repository; None for what is not a file of it."""
    if not path.exists() or not path.is_relative_to(ROOT):
        return None
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    inside = path.relative_to(ROOT).as_posix()
    return HOMES.get(inside) or f"source/{inside}.md"


def links(text: str, path: Path) -> Iterator[Path]:
    """The files of the repository that a page links to."""
    for _, target, _ in LINK.findall(text):
        if "://" not in target:
            yield (path.parent / target).resolve()


def linked_files() -> set[Path]:
    """Files and folders outside of `docs/` that some page links to."""
    pages = [*DOCS.rglob("*.md"), *(ROOT / name for name in HOMES)]
    found = {each for page in pages for each in links(page.read_text(encoding="utf-8"), page)}
    homes = {ROOT / name for name in HOMES}
    return {path for path in found - homes if (uri_of(path) or "").startswith("source/")}


def relinked(text: str, path: Path, uri: str) -> str:
    """A page's text for its place in the site: links lead to pages of the site."""

    def replaced(match: re.Match[str]) -> str:
        start, target, anchor = match[1], match[2], match[3] or ""
        there = None if "://" in target else uri_of((path.parent / target).resolve())
        return f"{start}{os.path.relpath(there, Path(uri).parent) if there else target}{anchor})"

    return LINK.sub(replaced, text)


def root_pages() -> Iterator[tuple[str, str]]:
    """The pages of the repository's top, but for the README, whose place is the home page."""
    for name, uri in HOMES.items():
        if name != "README.md":
            yield uri, relinked((ROOT / name).read_text(encoding="utf-8"), ROOT / name, uri)


def source_page(path: Path) -> str:
    """A page that shows a file, or all files of a folder; the search passes it by."""
    inside = path.relative_to(ROOT).as_posix()
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    body = "\n\n".join(_shown(each, heading=path.is_dir()) for each in files if "__pycache__" not in each.parts)
    return f"---\nsearch:\n  exclude: true\n---\n\n# {inside}\n\n{body}\n"


def _shown(path: Path, *, heading: bool) -> str:
    title = f"## {path.relative_to(ROOT).as_posix()}\n\n" if heading else ""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return f"{title}({path.stat().st_size:,} bytes)"
    return (
        f"{title}````{LANGUAGES.get(path.suffix, 'sh' if text.startswith('#!/bin/sh') else 'text')}\n{text}\n````"
    )


# --- The command


def command_pages() -> Iterator[tuple[str, str]]:
    """A page for each command."""
    context = click.Context(cli, info_name="migrator")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        parts = [_command(command, inner, 1)]
        if isinstance(command, click.Group):
            for each, below in command.commands.items():
                parts.append(_command(below, click.Context(below, info_name=each, parent=inner), 2))
        yield f"{COMMAND_FOLDER}/{name}.md", "\n\n".join(parts) + "\n"


def _command(command: click.Command, context: click.Context, level: int) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"{'#' * level} {context.command_path}", f"```text\n{usage}\n```", *_help(command.help or "")]
    if level == 1:
        parts[0] = f"---\ntitle: {context.info_name}\n---\n\n{parts[0]}"
    records = [param.get_help_record(context) for param in command.params if isinstance(param, click.Option)]
    rows = [f"| `{_cell(left)}` | {_cell(_markdown(right))} |" for left, right in filter(None, records)]
    if rows:
        parts.append("\n".join(["**Options**\n", "| flag | meaning |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _help(text: str) -> Iterator[str]:
    """Paragraphs; what click keeps as it is laid out becomes a block, `Examples:` a heading."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = [line for line in paragraph.splitlines() if line.strip() != "\b"]
        if len(lines) == len(paragraph.splitlines()):
            yield _markdown(" ".join(lines)) if paragraph.strip() != "Examples:" else "**Examples**"
            continue
        if lines and lines[0].strip() == "Examples:":
            yield "**Examples**"
            lines = lines[1:]
        body = inspect.cleandoc("\n".join(lines))
        yield f"```{'sh' if body.startswith('migrator ') else 'text'}\n{body}\n```"


def _markdown(text: str) -> str:
    """Help is plain text: flags and words in capitals become code, and nothing is markup."""
    text = re.sub(r"([\\*_<>\[\]{}])", r"\\\1", text)
    code = re.compile(r"(?<![\w/-])(--[a-z][\w\\-]*|[A-Z]{2,}(?:\\_[A-Z0-9]+)+|https?://[\w.:/-]+)")
    return code.sub(lambda match: f"`{match[1].replace(chr(92), '')}`", text)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


# --- Pieces of pages


def job_keys() -> str:
    """What a job file may say: each option of a job with its unit, default and help, by group."""
    short = {field: alias for alias, field in ALIASES.items()}
    groups: dict[str, list[str]] = {}
    for each in options_of(JobConfig):
        key = f"`{short[each.name]}`, `{each.name}`" if each.name in short else f"`{each.name}`"
        words = [*each.option.choices] or [_cell(each.option.unit)]
        default = f"`{each.default}`" if each.default else ""
        row = f"| {key} | {', '.join(words)} | {default} | {_cell(_markdown(each.option.help))} |"
        groups.setdefault(each.option.group, []).append(row)
    head = ["| key | value | default | meaning |", "|---|---|---|---|"]
    return "\n\n".join("\n".join([f"**{group}**\n", *head, *rows]) for group, rows in groups.items())


def command_table() -> str:
    """What the command says of itself, and a table of all commands."""
    rows = "\n".join(f"| [`migrator {name}`]({name}.md) | {line} |" for name, (_, line) in COMMANDS.items())
    return "\n\n".join([*_help(cli.help or ""), f"| command | what it does |\n|---|---|\n{rows}"])


def error_tree() -> str:
    """The hierarchy of errors as `migrator.errors` draws it."""
    _, _, tree = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")
    return f"```text\n{tree}\n```"


def golden(name: str) -> str:
    """A file that a test keeps as the command writes it."""
    text = (ROOT / "tests" / "golden" / name).read_text(encoding="utf-8").strip()
    return f"```json\n{text}\n```"


MADE: dict[str, Callable[[], str]] = {
    "commands": command_table,
    "job keys": job_keys,
    "errors": error_tree,
    "report example": lambda: golden("report.json"),
    "rejects example": lambda: golden("rejects.ndjson"),
    "checkpoint example": lambda: golden("checkpoint.json"),
}
