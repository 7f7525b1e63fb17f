"""The pages of the documentation, and the fenced blocks in them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")] + [*ROOT.glob("docs/**/*.md")]
)
_FENCE = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
# Commands in these languages are typed; a `text` block of the title below is what the block before prints.
SHELL = ("sh", "bash", "console")
OUTPUT = "Output"


@dataclass(frozen=True)
class Block:
    """A fenced block: `title` is a file to save it as, or `Output`."""

    page: Path
    line: int
    language: str
    title: str
    body: str

    @property
    def where(self) -> str:
        """Page and line, for messages."""
        return f"{name_of(self.page)}:{self.line}"

    def commands(self) -> Iterator[str]:
        """The commands of a block for a shell, each with what goes on in the next line or a here-document."""
        command, end = "", ""
        for line in self.body.splitlines():
            command += line + "\n"
            if end:
                end = "" if line == end else end
            elif found := re.search(r"<<\s*'?(\w+)'?", line):
                end = found[1]
            if end or line.endswith("\\"):
                continue
            if command.strip() and not command.startswith("#"):
                yield command.rstrip("\n")
            command = ""
        assert not command, f"{self.where}: a command has no end: {command}"


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page, all or in some languages."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        title = _TITLE.search(match[3])
        line = text.count("\n", 0, match.start()) + 1
        block = Block(page, line, match[2], title[1] if title else "", textwrap.dedent(match[4]))
        if not languages or block.language in languages:
            found.append(block)
    return found
