"""Fetching what a user names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.errors import ConfigError
from migrator.plugins import is_spec, load_attribute

APPLICATION = """
class Service:
    class Inner:
        data = {"users": {}}

DATA = {"a": 1}
_hidden = 1
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
    assert load_attribute("someapp.db:DATA") == {"a": 1}
    assert load_attribute("someapp.db:Service.Inner.data") == {"users": {}}


def test_the_working_folder_is_searched_when_wanted(application: Path) -> None:
    """Without leave, a module that only lies in the working folder is not found."""
    with pytest.raises(ConfigError, match=r"There is no module 'someapp'\. Run the command in the folder"):
        load_attribute("someapp.db:DATA", search_cwd=False)
    assert load_attribute("someapp.db:DATA") == {"a": 1}
    assert sys.path[0] == str(application)


@pytest.mark.parametrize("spec", ["", "someapp", "someapp:", ":DATA", "someapp.db:a..b", "some..app:x", ".rel:x"])
def test_a_spec_has_two_parts(spec: str) -> None:
    """Anything else is told how to write it."""
    with pytest.raises(ConfigError, match=r"package\.module:attribute"):
        load_attribute(spec)
    assert not is_spec(spec)
    assert is_spec("someapp.db:Service.Inner")


def test_what_is_missing_is_named() -> None:
    """A missing module and a missing attribute, with what there is."""
    with pytest.raises(ConfigError, match=r"There is no module 'someapp\.nodb'"):
        load_attribute("someapp.nodb:DATA")
    with pytest.raises(ConfigError, match=r"someapp\.db has no attribute 'DATE'\. Did you mean DATA\?"):
        load_attribute("someapp.db:DATE")
    with pytest.raises(ConfigError, match=r"no attribute 'zzz'\. It has: DATA, Service\."):
        load_attribute("someapp.db:zzz")
    with pytest.raises(ConfigError, match=r"someapp\.db\.DATA has no attribute 'x'\. Look at the spelling"):
        load_attribute("someapp.db:DATA.x")


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
        load_attribute("bad:x")
    assert "\n" not in caught.value.message


def test_code_elsewhere_is_named_in_full(application: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file outside the working folder has its whole path."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "faulty.py").write_text("1 / 0\n")
    sys.path.append(str(elsewhere))
    with pytest.raises(ConfigError, match=f"at {elsewhere}/faulty.py:1: ZeroDivisionError"):
        load_attribute("faulty:x")
