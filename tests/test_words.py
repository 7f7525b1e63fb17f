"""The words that CONTRIBUTING.md keeps out: in names, docstrings, comments, messages and documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OUT = ["anew", "mend", "mends", "mended", "mending", "reckon", "reckons", "reckoned", "reckoning", "besides"]
OUT += (
    "hears of",
    "held against",
    "hold against",
    "holds against",
    "knee",
    "teller",
    "ledger",
    "graves",
    "foretell",
)
OUT += ["chapter", "chapters", "least level", "lay it down", "one known end"]
# A word of its own, or a part of a name.
FOUND = re.compile(rf"(?i)(?<![a-z])(?:{'|'.join(OUT)})(?![a-z])")
# The history says what was said then; the glossary names what it keeps out.
SPARED = {"CHANGELOG.md", "CONTRIBUTING.md"}


def words_out(text: str) -> list[str]:
    """The words of a text that are kept out."""
    return [found.lower() for found in FOUND.findall(text)]


@pytest.mark.parametrize(
    "text", ["Start anew", "def _mend(self):", "self._ledger", "held against its digest", "KNEE = 3"]
)
def test_a_word_is_found(text: str) -> None:
    """As a word, and as a part of a name."""
    assert len(words_out(text)) == 1


@pytest.mark.parametrize("text", ["renewed", "kneel", "amendment", "recommended", "a chapterhouse", "start over"])
def test_another_word_is_not(text: str) -> None:
    """Letters within another word are not such word."""
    assert words_out(text) == []


def test_none_stands_anywhere() -> None:
    """Code, help, scripts, tests and documents."""
    texts = [path for name in ("migrator", "docs", "configs", "scripts") for path in (ROOT / name).rglob("*")]
    texts += [*(ROOT / "tests").rglob("*.py"), *ROOT.glob("*.md"), ROOT / "setup.cfg"]
    kinds = {".py", ".md", ".cfg", ".toml", ".yml", ".j2", ".html", ".service", ".timer", ""}
    read = [
        path
        for path in texts
        if path.is_file() and path.suffix in kinds and path.name not in SPARED and path != Path(__file__)
    ]
    assert len(read) > 500
    found = {str(path.relative_to(ROOT)): words_out(path.read_text(encoding="utf-8")) for path in read}
    assert {path: words for path, words in found.items() if words} == {}
