"""Fetching the object that a user names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.errors import ConfigError
from migrator.extractors.importing import load_object

APPLICATION = """
class Service:
    class Inner:
        data = {"users": {}}
    def __init__(self):
        self.made = True
    def __call__(self):
        return "called"

SERVICE = Service()
DATA = {"a": 1}

def factory():
    return DATA

def failing():
    raise ValueError("no\\nserver")

def leaving():
    raise SystemExit(3)

def choosy(argument):
    return argument
"""


@pytest.fixture(autouse=True)
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an application in it, which is the working folder; whatever is imported is forgotten."""
    (tmp_path / "someapp").mkdir()
    (tmp_path / "someapp" / "__init__.py").touch()
    (tmp_path / "someapp" / "db.py").write_text(APPLICATION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_attributes_are_fetched() -> None:
    """A plain attribute, and a dotted one."""
    assert load_object("someapp.db:DATA") == {"a": 1}
    assert load_object("someapp.db:Service.Inner.data") == {"users": {}}


def test_classes_and_functions_are_called() -> None:
    """What they give is what is meant, except for something that is a source itself."""
    assert load_object("someapp.db:factory") is load_object("someapp.db:DATA")
    assert getattr(load_object("someapp.db:Service"), "made", False)
    assert load_object("someapp.db:SERVICE") == "called"
    service = load_object("someapp.db:SERVICE", is_source=lambda found: hasattr(found, "made"))
    assert getattr(service, "made", False)


def test_the_working_folder_is_searched_when_wanted(application: Path) -> None:
    """Without leave, a module that only lies in the working folder is not found."""
    with pytest.raises(ConfigError, match=r"There is no module 'someapp'\. Run the command in the folder"):
        load_object("someapp.db:DATA", search_cwd=False)
    assert load_object("someapp.db:DATA") == {"a": 1}
    assert sys.path[0] == str(application)


@pytest.mark.parametrize("spec", ["", "someapp", "someapp:", ":DATA", "someapp.db:a..b", "some..app:x", ".rel:x"])
def test_a_spec_has_two_parts(spec: str) -> None:
    """Anything else is told how to write it."""
    with pytest.raises(ConfigError, match=r"package\.module:attribute"):
        load_object(spec)


def test_what_is_missing_is_named() -> None:
    """A missing module and a missing attribute, with what there is."""
    with pytest.raises(ConfigError, match=r"There is no module 'someapp\.nodb'"):
        load_object("someapp.nodb:DATA")
    with pytest.raises(ConfigError, match=r"someapp\.db has no attribute 'DATE'\. It has: DATA, SERVICE"):
        load_object("someapp.db:DATE")
    with pytest.raises(ConfigError, match=r"someapp\.db\.DATA has no attribute 'x'\. Look at the spelling"):
        load_object("someapp.db:DATA.x")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("\nraise RuntimeError('boom\\nbang')\n", r"Importing bad failed at bad\.py:2: RuntimeError: boom bang\."),
        (
            "import nowhere_to_be_found\n",
            r"Importing bad failed at bad\.py:1: ModuleNotFoundError: No module named",
        ),
        ("x = 1\ndef f(:\n", r"Importing bad failed at bad\.py:2: SyntaxError"),
        ("import sys\n\n\nsys.exit(2)\n", r"Importing bad failed at bad\.py:4: SystemExit: 2\."),
        ("assert False\n", r"Importing bad failed at bad\.py:1: AssertionError\."),
    ],
)
def test_an_error_in_the_users_module_has_its_place(application: Path, code: str, message: str) -> None:
    """One sentence with file and line of that code, not ours."""
    (application / "bad.py").write_text(code)
    with pytest.raises(ConfigError, match=message) as caught:
        load_object("bad:x")
    assert "\n" not in caught.value.message


def test_an_error_in_the_users_function_has_its_place() -> None:
    """Likewise for what is called; a function that wants arguments is told from one that fails."""
    with pytest.raises(
        ConfigError, match=r"Calling someapp\.db:failing\(\) failed at someapp/db\.py:17: ValueError: no server"
    ):
        load_object("someapp.db:failing")
    with pytest.raises(ConfigError, match="SystemExit: 3"):
        load_object("someapp.db:leaving")
    with pytest.raises(ConfigError, match=r"choosy\(\) failed: TypeError: .*missing 1 required"):
        load_object("someapp.db:choosy")


def test_code_elsewhere_is_named_in_full(application: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file outside the working folder has its whole path."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "faulty.py").write_text("1 / 0\n")
    sys.path.append(str(elsewhere))
    with pytest.raises(ConfigError, match=f"at {elsewhere}/faulty.py:1: ZeroDivisionError"):
        load_object("faulty:x")
