"""The tables of sources, targets, transformers and arguments in the documentation are those of the code.

`UPDATE_DOCS=1` writes them; read the difference before you commit it.
"""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from migrator import functions
from migrator.config.kinds import KINDS, SOURCES, TARGETS
from migrator.functions.arguments import Servers
from migrator.plugins import DISTRIBUTION
from tests.benchmark.results import Results
from tests.benchmark.table import filled
from tests.docs.pages import ROOT


def sources() -> Iterator[str]:
    """The rows of SOURCES."""
    yield "| SOURCE | what it is |"
    for source in SOURCES:
        forms = ", ".join(f"`{form}`" for form in source.forms)
        needed = f'; `pip install "{DISTRIBUTION}[{source.extra}]"`' if source.extra else ""
        yield f"| {forms} | {source.help}{needed} |"
    yield "| `-`, `csv:-`, `mongo:-` … | NDJSON, or another kind, on standard input; pipes and FIFOs likewise |"


def short_sources() -> Iterator[str]:
    """The rows of SOURCES without what the page of sources says in addition."""
    yield "| `--from` | what it is | extra |"
    for source in SOURCES:
        forms = ", ".join(f"`{form}`" for form in source.forms)
        extra = f"`[{source.extra}]`" if source.extra else ""
        yield f"| {forms} | {source.help.partition('; ')[0]} | {extra} |"
    yield "| `-`, `csv:-`, `mongo:-` … | NDJSON, or another kind, on standard input | |"


def targets() -> Iterator[str]:
    """The rows of TARGETS."""
    yield "| TARGET | what it is |"
    for target in TARGETS:
        for form, what in target.forms.items():
            yield f"| `{form}` | {what} |"


def transformers() -> Iterator[str]:
    """The rows of KINDS."""
    yield "| SPEC | what it does | example |"
    for kind in KINDS:
        for (form, what), example in zip(kind.forms.items(), kind.examples, strict=True):
            needed = f'; some need `pip install "{DISTRIBUTION}[{kind.extra}]"`' if kind.extra else ""
            yield f"| `{form}` | {what}{needed} | `{example}` |"


def arguments_of(name: str) -> Iterator[str]:
    """What a function takes by keyword, but for what all of them take; "all" for that."""
    yield f"| argument of {f'`{name}`' if name != 'all' else 'every function'} | type | default | what it does |"
    shared = list(get_type_hints(Servers))
    function = getattr(functions, "run" if name == "all" else name)
    for each in inspect.signature(function).parameters.values():
        if each.kind is each.KEYWORD_ONLY and (each.name in shared) == (name == "all"):
            text = re.search(rf"^    {each.name}: (.*)$", function.__doc__, re.MULTILINE)
            assert text is not None
            what = text[1].replace("|", "\\|")
            yield f"| `{each.name}` | {shown_type(each.annotation)} | {shown_default(each.default)} | {what} |"


def shown_type(hint: Any) -> str:
    """A type as people say it."""
    if get_origin(hint) is Literal:
        return ", ".join(f'`"{value}"`' for value in get_args(hint) if value)
    words: dict[Any, str] = {
        str | PathLike[str]: "text or path",
        str | Sequence[str]: "texts",
        Mapping[str, str]: "texts by name",
    }
    words |= {str: "text", str | int: "text or number", int: "number", float: "number", bool: "true or false"}
    for kind, word in words.items():
        if hint in (kind, kind | None):
            return word
    return str(getattr(hint, "__forward_arg__", hint)).replace("|", "or").split("[")[0].rpartition(".")[2].lower()


def shown_default(value: Any) -> str:
    """A default, "" for nothing."""
    return "" if value in (None, "", (), {}) or callable(value) else f"`{value}`"


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "short sources": short_sources,
    "sources": sources,
    "targets": targets,
    "transformers": transformers,
    **{name: partial(arguments_of, name) for name in ("all", *functions.__all__)},
}
WHERE = [
    ("README.md", "short sources"),
    ("docs/sources.md", "sources"),
    ("docs/places.md", "targets"),
    ("docs/transformers.md", "transformers"),
    *(("docs/reference/python.md", name) for name in ("all", *functions.__all__)),
]


@pytest.mark.parametrize(("page", "name"), WHERE)
def test_the_documentation_has_the_table(page: str, name: str) -> None:
    """A row of the code is a row of the page, in the same words."""
    head, *rows = TABLES[name]()
    table = "\n".join([head, re.sub(r"[^|]+", "---", head), *rows])
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    written = re.sub(rf"{re.escape(head)}\n(\|.*\n)+", lambda _: table + "\n", text)
    if os.environ.get("UPDATE_DOCS"):
        path.write_text(written, encoding="utf-8")
        return
    assert table in text
    assert written == text


@pytest.mark.parametrize(
    "row", [*SOURCES, *TARGETS, *(kind for kind in KINDS if kind.factory)], ids=lambda row: row.factory
)
def test_every_factory_has_the_signature_of_a_plug_ins(row: object) -> None:
    """A source, a target and a transformer of this package are opened as those of other packages are."""
    factory = pkgutil.resolve_name(row.factory)  # type: ignore[attr-defined] # all rows have it
    wanted = {"Source": ("source", "config", "environ"), "Target": ("target", "config", "names", "environ")}
    names = [name.lstrip("_") for name in inspect.signature(factory).parameters]
    assert names == list(wanted[type(row).__name__]) if type(row).__name__ in wanted else len(names) == 1


def test_every_source_has_a_paragraph() -> None:
    """docs/sources.md tells of each."""
    text = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    named = [source.schemes or [Path(form).suffix for form in source.forms] for source in SOURCES]
    assert [words for words in named if not any(word in text for word in words)] == []


def test_no_word_stands_twice() -> None:
    """A scheme or kind belongs to one row."""
    for words in (
        [scheme for source in SOURCES for scheme in source.schemes],
        [scheme for target in TARGETS for scheme in target.schemes],
        [kind.word for kind in KINDS],
    ):
        assert len(set(words)) == len(words)


def test_performance_is_what_was_measured() -> None:
    """The tables are those of the numbers beside the page: scripts/bench --from-json … --page … makes them."""
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    measured = Results.from_json(json.loads((ROOT / "docs" / "performance.json").read_text(encoding="utf-8")))
    assert page.count("<!-- bench ") > 8
    assert filled(page, measured) == page
