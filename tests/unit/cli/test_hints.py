"""Every error that a person can meet says what to do next."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import migrator
from migrator import errors
from migrator.cli import cli, main

PACKAGE = Path(migrator.__file__).parent
# Signals between stages, which become a reject with its own reason and never end a run.
SIGNALS = {"BatchRefused", "TransformError", "UnreadableLeaf"}
ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.MigratorError)
}


def made_in(path: Path) -> Iterator[ast.Call]:
    """Where a file makes an error of the hierarchy."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in ERRORS and name not in SIGNALS and not ERRORS[name].usual_hint:
                yield node


def test_an_error_says_what_to_do_next() -> None:
    """Each is made with a hint that is not empty, or its kind has a usual one."""
    wanting, seen = [], 0
    for path in sorted(PACKAGE.rglob("*.py")):
        for call in made_in(path):
            seen += 1
            hint = next((keyword.value for keyword in call.keywords if keyword.arg == "hint"), None)
            if hint is None or (isinstance(hint, ast.Constant) and not hint.value):
                wanting.append(f"{path.relative_to(PACKAGE)}:{call.lineno}: {ast.unparse(call)[:100]}")
    assert wanting == []
    # That would hold for an empty package too.
    assert seen > 150


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            errors.TransientError("No answer."),
            "Error: No answer. Go on later with --resume. Type: migrator run --resume\n",
        ),
        (errors.TransientError("No answer.", hint="Wait."), "Error: No answer. Wait.\n"),
    ],
)
def test_a_passing_fault_has_a_usual_hint(
    error: errors.MigratorError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When trying again is given up, the command says how to go on; a hint of its own wins."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "main", fail)
    monkeypatch.setattr("sys.argv", ["migrator", "run"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == errors.EXIT_UNREACHABLE
    assert capsys.readouterr().err.startswith(said)
