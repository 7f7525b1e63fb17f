"""What the page of the Python reference shows says what it takes, gives and raises: each part has its section."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^(Args|Returns|Yields|Raises):\n((?:[ ]{4}.*\n|\n)+)", re.MULTILINE)
ITEM = re.compile(r"^ {4}(\w+): ", re.MULTILINE)
# The section of a method that another one documents: `See DatabaseService.get; …`.
REFERENCE = re.compile(r"See (\w+)\.(\w+)\b")


def shown() -> dict[str, Any]:
    """The modules, classes and functions that the page shows, by name; members as `Class.method`."""
    found: dict[str, Any] = {}
    for name, options in re.findall(r"^::: (\S+)\n((?: {4}.*\n)*)", PAGE + "\n", re.MULTILINE):
        thing = pkgutil.resolve_name(name)
        if not inspect.ismodule(thing):
            found[thing.__name__] = thing
            continue
        chosen = re.search(r"members: \[(.*)\]", options)
        own = [key for key, value in vars(thing).items() if getattr(value, "__module__", "") == thing.__name__]
        for member in chosen[1].split(", ") if chosen else getattr(thing, "__all__", own):
            if not member.startswith("_"):
                found[member] = getattr(thing, member)
    for name, thing in list(found.items()):
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if member == "__init__" or not member.startswith("_"):
                    found[f"{name}.{member}"] = getattr(value, "__func__", value)
    return found


SHOWN = shown()


def functions() -> Iterator[tuple[str, Callable[..., Any], str]]:
    """Each function and method with its docstring; of a constructor it is the class's, as on the page."""
    for name, thing in SHOWN.items():
        owner, _, member = name.rpartition(".")
        # What only pytest calls has fixtures as its parameters; of older versions a fixture is a function.
        if not inspect.isfunction(thing) or member.startswith("test_") or hasattr(thing, "_pytestfixturefunction"):
            continue
        doc = SHOWN[owner].__doc__ if member == "__init__" else thing.__doc__
        # What `dataclass` and `Protocol` put in has no text of ours.
        if doc and thing.__code__.co_filename.startswith(str(ROOT)):
            yield name, thing, inspect.cleandoc(doc)


def faults(thing: Callable[..., Any], doc: str, *, constructor: bool = False) -> list[str]:
    """What a docstring leaves out of a function: a parameter, what it gives, or an error that it raises."""
    sections = dict(SECTION.findall(doc + "\n"))
    signature = inspect.signature(thing)
    wanted = [name for name in signature.parameters if name not in {"self", "cls"}]
    found = [f"Args: {name}" for name in wanted if name not in ITEM.findall(sections.get("Args", ""))]
    found += [f"no parameter: {name}" for name in ITEM.findall(sections.get("Args", "")) if name not in wanted]
    gives = signature.return_annotation not in {inspect.Signature.empty, None, "None"} and not constructor
    if gives and not {"Returns", "Yields"} & sections.keys():
        found.append("Returns")
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    raised = {error for step in tree.body for error in _raised(step)}
    return found + [f"Raises: {name}" for name in raised if name not in ITEM.findall(sections.get("Raises", ""))]


def _raised(node: ast.AST) -> Iterator[str]:
    # An inner function is a transformer or the like, which raises later.
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        return
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
        # A small letter begins a function that makes the error.
        yield from [node.exc.func.id] if node.exc.func.id[0].isupper() else []
    for child in ast.iter_child_nodes(node):
        yield from _raised(child)


@pytest.mark.parametrize(("name", "thing", "doc"), list(functions()), ids=[name for name, *_ in functions()])
def test_a_function_says_what_it_takes_gives_and_raises(name: str, thing: Callable[..., Any], doc: str) -> None:
    """Itself, or by naming the method whose words hold for it too, with the same parameters."""
    if refers := REFERENCE.match(doc):
        original = SHOWN[f"{refers[1]}.{refers[2]}"]
        assert list(inspect.signature(thing).parameters) == list(inspect.signature(original).parameters)
        thing, doc = original, inspect.cleandoc(original.__doc__ or "")
    assert faults(thing, doc, constructor=name.endswith("__init__")) == []


def test_the_page_is_read_as_it_is_shown() -> None:
    """Whole jobs, protocols, services, factories and contracts are all among what is checked."""
    checked = {name for name, *_ in functions()}
    assert {
        "run",
        "apply",
        "Loader.load",
        "CouchDatabase.find",
        "Documents.__init__",
        "where",
        "encode",
    } <= checked
    assert {"MemoryLoader.keep", "Target.open", "couchdb", "Settings.from_environment", "Counts.sum"} <= checked
    assert len(checked) > 100


def test_what_is_left_out_is_found() -> None:
    """A parameter, a section and an error that are not described are named, and so is a parameter that is gone."""

    def given(one: int, other: int) -> int:
        if one > other:
            raise ValueError(one)
        return other

    doc = "Give one.\n\nArgs:\n    one: a number.\n    another: a number."
    assert faults(given, doc) == ["Args: other", "no parameter: another", "Returns", "Raises: ValueError"]
