"""Functions of the user's own: found, guarded, and told where they fail."""

from __future__ import annotations

import functools
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import ConfigError, TransformError
from migrator.transformers import parse, user_function

CODE = '''
"""What a user may write."""
import json

def upper(document):
    document["name"] = document["name"].upper()
    document["tags"].append("seen")
    return document

def only_adults(document):
    return document if document["age"] >= 18 else None

def broken(document):
    value = document["name"]
    return json.loads(value)

def listed(document):
    return [document]

async def later(document):
    return document

def lazily(document):
    yield document

def two(document, other):
    return document

def refuses(document):
    from migrator.errors import TransformError
    raise TransformError("no country, no document.")

class Rules:
    @staticmethod
    def tag(document):
        return {**document, "tagged": True}

NUMBER = 5
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's own in the working folder, which is not on the path."""
    name = f"own_rules_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in {"", str(tmp_path)}])
    yield name
    sys.modules.pop(name, None)


def test_a_function_of_the_working_folder_is_found(module: str) -> None:
    """It is imported from there, dotted names included."""
    document = {"name": "é", "tags": []}
    assert parse(f"{module}:upper")(document) == {"name": "É", "tags": ["seen"]}
    assert parse(f"{module}:Rules.tag")({"a": 1}) == {"a": 1, "tagged": True}
    assert parse(f"{module}:only_adults")({"age": 17}) is None


def test_the_working_folder_is_searched_only_when_it_may_be(module: str) -> None:
    """Who embeds the library says whether the folder's code is trusted."""
    with pytest.raises(ConfigError, match="There is no module"):
        parse(f"{module}:upper", search_cwd=False)


def test_what_the_function_changes_is_a_copy(module: str) -> None:
    """It may write into what it gets, at every depth, and the caller's document stays as it was."""
    document = {"name": "a", "tags": ["x"], "deep": [{"set": {1}, "bytes": bytearray(b"x"), "tuple": ([1],)}]}

    def spoil(own: dict[str, Any]) -> dict[str, Any]:
        own["deep"][0]["set"].add(2)
        own["deep"][0]["bytes"].append(1)
        own["deep"][0]["tuple"][0].append(2)
        own["deep"].append(3)
        return own

    parse(f"{module}:upper")(document)
    user_function(spoil, name="spoil")(document)
    assert document == {"name": "a", "tags": ["x"], "deep": [{"set": {1}, "bytes": b"x", "tuple": ([1],)}]}


def test_what_cannot_be_copied_is_refused_with_its_reason() -> None:
    """A document that is nested deeper than Python calls functions, or that holds itself."""
    deep: Any = 1
    for _ in range(20_000):
        deep = [deep]
    circle: dict[str, Any] = {}
    circle["back"] = circle
    for value in (deep, circle):
        with pytest.raises(TransformError, match="own: the document cannot be copied: RecursionError"):
            user_function(lambda document: document, name="own")({"v": value})


def test_a_failure_names_the_line_in_the_users_file(module: str) -> None:
    """The line of the user's own function counts, not that of the library that it called."""
    line = CODE.splitlines().index("    return json.loads(value)") + 1
    with pytest.raises(TransformError) as caught:
        parse(f"{module}:broken")({"name": "{"})
    assert caught.value.message.startswith(f"{module}:broken failed at {module}.py:{line}: JSONDecodeError: ")
    line = CODE.splitlines().index('    document["name"] = document["name"].upper()') + 1
    with pytest.raises(TransformError, match=rf"failed at {module}.py:{line}: KeyError: 'name'"):
        parse(f"{module}:upper")({})


def test_a_failure_in_a_function_without_lines_is_told_too() -> None:
    """Functions written in C have no file."""
    with pytest.raises(TransformError, match=r"^own:binary failed: TypeError: "):
        user_function(functools.partial(int, base=2), name="own:binary")({})


@pytest.mark.parametrize(("function", "kind"), [("listed", "list"), ("NUMBER", "int")])
def test_only_mappings_and_none_are_results(module: str, function: str, kind: str) -> None:
    """Anything else is an error of that document, or, where nothing can be called, of the command."""
    with pytest.raises((TransformError, ConfigError), match=kind):
        parse(f"{module}:{function}")({"a": 1})


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("NUMBER", "is of type int, no function"),
        ("later", "async or a generator"),
        ("lazily", "async or a generator"),
        ("two", "does not take just one argument"),
        ("uper", "has no attribute 'uper'"),
        ("Rules.tug", "has no attribute 'tug'"),
    ],
)
def test_what_can_never_work_is_told_at_once(module: str, function: str, words: str) -> None:
    """A function that fits no document is refused before one is read."""
    with pytest.raises(ConfigError) as caught:
        parse(f"{module}:{function}")
    assert words in caught.value.message
    assert caught.value.hint


def test_a_near_name_is_proposed(module: str) -> None:
    """A slip of the finger is answered with the name that was meant."""
    with pytest.raises(ConfigError, match=r"Did you mean upper\?"):
        parse(f"{module}:uper")


def test_the_users_own_transform_error_is_passed_on(module: str) -> None:
    """Who raises a TransformError has said what is wrong."""
    with pytest.raises(TransformError) as caught:
        parse(f"{module}:refuses")({})
    assert str(caught.value) == "no country, no document."


def test_what_cannot_be_copied_is_a_transform_error() -> None:
    """A lock in a document ends that document and not the run."""
    with pytest.raises(TransformError, match=r"own: the document cannot be copied: TypeError"):
        user_function(dict, name="own")({"lock": threading.Lock()})


def test_interrupts_are_not_caught() -> None:
    """Ctrl-C in the user's code is Ctrl-C."""

    def interrupted(document: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        user_function(interrupted, name="own")({})


def test_a_module_that_fails_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors while importing are the user's to fix: type, message, file and line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    cases: list[tuple[str, str, str]] = [
        ("falls", "x = 1\ny = x / 0\n", r"Importing own_falls failed at own_falls.py:2: ZeroDivisionError"),
        ("slips", "def f(:\n", r"Importing own_slips failed at own_slips.py:1: SyntaxError"),
        ("lacks", "import not_there_at_all\n", r"failed at own_lacks.py:1: ModuleNotFoundError"),
        ("leaves", "import sys\nsys.exit(3)\n", r"failed at own_leaves.py:2: SystemExit: 3"),
    ]
    for name, code, words in cases:
        (tmp_path / f"own_{name}.py").write_text(textwrap.dedent(code))
        with pytest.raises(ConfigError, match=words):
            parse(f"own_{name}:f")


def test_functions_of_one_argument_are_taken_in_every_form() -> None:
    """Lambdas, partials, methods, classes and functions with defaults all take one document."""
    forms: list[Callable[..., Any]] = [
        lambda document: document,
        lambda document, other=1: document,
        lambda *documents: documents[0],
        functools.partial(lambda other, document: document, 1),
        dict,
        {"a": {"b": 1}}.__or__,
    ]
    for form in forms:
        assert user_function(form, name="own")({"a": {"b": 1}}) == {"a": {"b": 1}}
