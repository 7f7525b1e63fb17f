"""No test waits for ever: what waits has a limit, and a test that hangs all the same is ended, with its place."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import LIMIT_S

ROOT = Path(__file__).parents[1]
# Run by hand, for as long as whoever runs them likes.
BY_HAND = ("benchmark", "data", "interchange", "reliability", "sources/record.py")
RUNS = {"run", "call", "check_call", "check_output"}
WAITS = {"wait", "join", "communicate"}


def waits_without_limit(code: str) -> Iterator[str]:
    """What a module's code waits for as long as it takes."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.With):
            opened = [ast.unparse(item.context_expr) for item in node.items]
            yield from (f"with {each}: use ended()" for each in opened if each.startswith("subprocess.Popen("))
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name = node.func.attr
        given = {keyword.arg for keyword in node.keywords}
        if ast.unparse(node.func.value) == "subprocess" and name in RUNS and not given & {"timeout", None}:
            yield f"{ast.unparse(node)}: give it timeout=LIMIT_S"
        if name in WAITS and not node.args and "timeout" not in given:
            yield f"{ast.unparse(node)}: give it a limit"
        if ast.unparse(node.func) == "threading.Thread" and "daemon" not in given:
            yield f"{ast.unparse(node)}: use started(), or daemon=True"


@pytest.mark.parametrize(
    "code",
    [
        "with subprocess.Popen(['a']) as process: pass",
        "subprocess.run(['a'], check=True)",
        "process.communicate()",
        "process.wait()",
        "thread.join()",
        "threading.Thread(target=work)",
    ],
)
def test_what_waits_for_ever_is_found(code: str) -> None:
    """Each way to wait without a limit."""
    assert len(list(waits_without_limit(code))) == 1


@pytest.mark.parametrize("code", ["''.join(words)", "process.wait(5)", "subprocess.run(['a'], timeout=LIMIT_S)"])
def test_what_has_a_limit_is_not_found(code: str) -> None:
    """Nor what does not wait."""
    assert list(waits_without_limit(code)) == []


def test_no_test_waits_without_a_limit() -> None:
    """The tests and all that they share."""
    tests = ROOT / "tests"
    found = {
        f"{path.relative_to(ROOT)}: {wait}"
        for path in tests.rglob("*.py")
        if not path.relative_to(tests).as_posix().startswith(BY_HAND)
        for wait in waits_without_limit(path.read_text(encoding="utf-8"))
    }
    assert found == set()


HANGS = """
import threading
import pytest

@pytest.fixture
def never_closed():
    yield
    threading.Event().wait(SECONDS)

def test_hangs_and_hangs_at_its_end(never_closed):
    threading.Event().wait(SECONDS)

def test_comes_after_it():
    pass
"""


def test_a_hang_ends_even_where_its_end_hangs_too(tmp_path: Path) -> None:
    """The first limit fails the test, the second one ends the process; another one runs the tests after it."""
    (tmp_path / "test_hang.py").write_text(HANGS.replace("SECONDS", "600"))
    (tmp_path / "setup.cfg").write_text((ROOT / "setup.cfg").read_text())
    how = ["-p", "tests.support.last_limit", "--numprocesses", "1", "--dist", "worksteal"]
    how += ["--override-ini", "timeout=1", "--override-ini", "faulthandler_timeout=3"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *how, "test_hang.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 1, done.stdout
    assert "test_hang.py::test_hangs_and_hangs_at_its_end" in done.stdout
    assert "2 failed, 1 passed" in done.stdout
    # Where it stood.
    assert "in never_closed" in done.stderr
