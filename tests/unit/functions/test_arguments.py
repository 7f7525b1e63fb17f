"""What a function takes by keyword is what its command takes by flags, with the types and help of the rows."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import pytest

import migrator
from migrator import functions
from migrator.cli import cli
from migrator.config import LogOptions
from migrator.config.option import Described, options_of
from migrator.config.pace import NUMBERS
from migrator.functions import arguments
from migrator.functions.arguments import Surroundings
from migrator.functions.reading import KINDS, rows_of
from tests.docs.pages import ROOT

TAKES = {name: getattr(arguments, f"{name.title().replace('_', '')}Arguments") for name in functions.__all__}
ROWS = {name: rows_of(kind, *KINDS.get(name, (migrator.config.JobConfig,))) for name, kind in TAKES.items()}
# How people watch and print, which a program does by the result, and what stands before the keywords.
OF_COMMANDS = {each.name for each in options_of(LogOptions)} | {"job_file", "as_json", "json", "fixtures"}
OF_COMMANDS |= {"rejects_file", "plan_file", "place", "help"}
TEXTS = str | Sequence[str]
PATH = str | PathLike[str]


def expected(row: Described) -> Any:
    """The type of an argument, by its row."""
    kind, _, optional = row.kind.partition(" | ")
    if row.option.choices and not kind.startswith("tuple"):
        return frozenset(row.option.choices)
    if row.name in NUMBERS:
        return str | int
    is_path = kind == "Path" or row.option.unit == "FILE" or row.name == "identity"
    types: dict[str, Any] = {
        "str": PATH if is_path else str,
        "int": int,
        "float": float,
        "bool": bool,
        "Path": PATH,
    }
    types |= {"tuple[str, ...]": TEXTS, "Mapping[str, str]": Mapping[str, str]}
    return types[kind] | None if optional else types[kind]


@pytest.mark.parametrize("name", TAKES)
def test_each_argument_has_the_type_of_its_row(name: str) -> None:
    """A row that changes its kind, and a type that is not changed with it, do not go together."""
    hints = get_type_hints(TAKES[name])
    assert set(hints) - set(ROWS[name]) - {"keep_checkpoint"} == set(Surroundings.__annotations__)
    for argument, row in ROWS[name].items():
        found: Any = hints[argument]
        if get_origin(found) is Literal:
            found = frozenset(get_args(found)) - {""}
        assert found == expected(row), argument


@pytest.mark.parametrize("name", TAKES)
def test_a_function_takes_what_its_command_takes(name: str) -> None:
    """Each flag that the command shows, and nothing else."""
    command = cli.get_command(click.Context(cli), name.replace("_", "-"))
    assert command is not None
    shown = {str(param.name) for param in command.params if not getattr(param, "hidden", False)}
    own = {"keep_checkpoint", *Surroundings.__annotations__}
    sides = set() if name == "apply" else {"source", "target"}
    assert set(get_type_hints(TAKES[name])) - own == shown - OF_COMMANDS - sides - {"help_all"}


@pytest.mark.parametrize("name", TAKES)
def test_help_lists_each_argument_with_type_default_and_help(name: str) -> None:
    """In the signature and in the docstring, in one order."""
    function = getattr(functions, name)
    keywords = [each for each in inspect.signature(function).parameters.values() if each.kind is each.KEYWORD_ONLY]
    assert {each.name for each in keywords} == set(get_type_hints(TAKES[name]))
    for each in keywords:
        if each.name in ROWS[name]:
            assert (each.default, each.annotation) == (
                ROWS[name][each.name].value,
                get_type_hints(TAKES[name])[each.name],
            )
            assert f"    {each.name}: {ROWS[name][each.name].option.help}" in function.__doc__
    text = pydoc.plain(pydoc.render_doc(function))
    assert all(f"{each.name}: " in text for each in keywords)
    assert inspect.signature(getattr(migrator, name)) == inspect.signature(function)


def test_importing_the_package_imports_nothing_else() -> None:
    """What a function needs is imported when it is asked for."""
    code = "import sys, migrator; print(sorted(name for name in sys.modules if name.startswith('migrator')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "['migrator', 'migrator.version']\n"


SCRIPT = """
from pathlib import Path
from threading import Event
import migrator

service = {"a": {"x": {"n": 1}}}
moved = migrator.run(service, Path("out"), transform=["set:b=1"], on_conflict="skip", verify=True)
ok: bool = moved.ok and moved.totals.written == 1 and moved.verification is not None and moved.verification.ok
rejects: Path | None = moved.rejects
compared = migrator.verify(service, "out", differences=Path("d"), report="r.json", transform="set:b=1")
named: list[str] = [each.id for each in compared.differences]
text: str = repr(migrator.plan(service, "out", codec="strict", stopping=Event()))
again = migrator.retry(rejects or "r.ndjson", "out", stages=["load"])
kept = migrator.backup("http://h:5984", "place", databases="a", full_every=7, metrics="m.prom")
back = migrator.restore("place", "http://h:5984", map={"a": "b"}, security=False)
code: int = kept.exit_code + back.exit_code + again.exit_code
made = migrator.seed("fixtures", "http://h:5984", exact=True, wait_s=3, progress=True)
value: dict[str, object] = made.to_dict()
move = migrator.plan_server("http://a:5984", "http://b:5984", patterns=("x",), output="p.json")
applied = migrator.apply(move, checkpoint=Path("c"), verify="contents").totals.written
"""
WRONG = """
import migrator

migrator.run({}, "out", on_conflct="skip")
migrator.run({}, "out", on_conflict="skipp")
migrator.backup("http://h:5984", "place", full_every="7")
migrator.retry("r", "out", checkpoint="c")
"""


def test_a_program_passes_strict_type_checks_and_a_mistake_does_not(tmp_path: Path) -> None:
    """Each function with its arguments and result, as a user's type checker sees the package."""
    (tmp_path / "right.py").write_text(SCRIPT)
    (tmp_path / "wrong.py").write_text(WRONG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary", "."],
        cwd=tmp_path,
        env={"PATH": "", "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert [line.split(":")[:2] for line in done.stdout.splitlines() if ": error: " in line] == [
        ["wrong.py", str(number)] for number in (4, 5, 6, 7)
    ], done.stdout + done.stderr
