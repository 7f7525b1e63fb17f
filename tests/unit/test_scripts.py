"""The scripts for developers and CI, with recorders in the place of Python, ruff and mypy."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import LIMIT_S

ROOT = Path(__file__).parents[2]
RECORDER = """#!/bin/sh
IFS='|'
echo "$PWD|$(basename "$0")${*:+|$*}" >> "$CALLS"
"""
TOOLS = ("sh", "dirname", "basename", "tr", "cmp", "cp", "cat", "sed", "tail")


class Checkout:
    """A copy of the scripts with a virtual environment of recorders, and nothing of the machine but the shell."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.root = folder / "a checkout"
        self.venv = self.root / ".venv"
        self.calls = folder / "calls"
        self.tools = tools
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / ".ci", self.root / ".ci")
        (self.root / "setup.cfg").write_text("[metadata]\n")
        self.folders: list[str] = []
        self.shown = ""
        self.install = [
            "python",
            *["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable"],
        ]
        self.install += [f"{self.root}[dev]"]

    def record(self, *names: str, folder: Path | None = None, text: str = RECORDER) -> None:
        """Put recorders of these names into the virtual environment, or elsewhere."""
        (folder or self.venv / "bin").mkdir(parents=True, exist_ok=True)
        for name in names:
            path = (folder or self.venv / "bin") / name
            path.write_text(text)
            path.chmod(0o755)

    def run(self, *command: str, **environ: str) -> tuple[int, list[list[str]], str]:
        """Run a script from elsewhere: its exit code, what was called with what, and what it said."""
        self.calls.write_text("")
        done = subprocess.run(
            [str(self.root / command[0]), *command[1:]],
            cwd="/",
            env={"PATH": str(self.tools), "CALLS": str(self.calls), **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        calls = [line.split("|") for line in self.calls.read_text().splitlines()]
        self.folders = [folder for folder, *_ in calls]
        self.shown = done.stdout
        return done.returncode, [words for _, *words in calls], done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout on a machine that has a shell and little else."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name) or name)
    return Checkout(tmp_path, tools)


@pytest.fixture
def ready(checkout: Checkout) -> Checkout:
    """A checkout whose virtual environment is there."""
    checkout.record("python", "pip", "ruff", "mypy")
    return checkout


LINT = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]]
PYTEST = ["python", "-m", "pytest", "--numprocesses", "4", "--dist", "worksteal"]
# All of them: those of single modules, watched for the lines that they run, and then the others.
TESTS = [
    ["python", "-c", "import sys; sys.exit(sys.version_info < (3, 12))"],
    [*PYTEST, "tests/unit", "--cov", "migrator", "--cov-report="],
    [*PYTEST, "--ignore", "tests/unit"],
]


def test_installs_checks_and_tests(ready: Checkout) -> None:
    """The first run installs, any run checks the style and then tests, from whatever folder it is called."""
    assert ready.run("scripts/test")[:2] == (0, [ready.install, *LINT, *TESTS])
    assert ready.run("scripts/test")[:2] == (0, [*LINT, *TESTS])
    assert set(ready.folders) == {str(ready.root)}


def test_installs_again_when_the_metadata_changed(ready: Checkout) -> None:
    """A new dependency is there without anyone thinking of it."""
    ready.run("scripts/test")
    (ready.root / "setup.cfg").write_text("[metadata]\nname = other\n")
    assert ready.run("scripts/test")[1][0] == ready.install


def test_a_failed_installation_is_repeated(ready: Checkout) -> None:
    """Nothing is tested with half of the packages, and the next run tries again."""
    ready.record("python", text=f"{RECORDER}exit 3\n")
    assert ready.run("scripts/test")[:2] == (3, [ready.install])
    ready.record("python")
    assert ready.run("scripts/test")[:2] == (0, [ready.install, *LINT, *TESTS])


def test_arguments_go_to_pytest(ready: Checkout) -> None:
    """Whoever names a test waits for that test alone; with CI set, the style counts all the same."""
    ready.run("scripts/lint")
    assert ready.run("scripts/test", "tests/unit", "-k", "a b")[:2] == (0, [[*PYTEST, "tests/unit", "-k", "a b"]])
    assert ready.run("scripts/test", "-x", CI="1")[:2] == (0, [*LINT, [*PYTEST, "-x"]])


@pytest.mark.parametrize(("unit", "others", "expected"), [(1, 0, 1), (0, 1, 1), (1, 3, 3), (0, 0, 0), (2, 0, 2)])
def test_all_tests_are_run_and_no_failure_is_forgotten(
    ready: Checkout, unit: int, others: int, expected: int
) -> None:
    """Those after a failed one too, but not after Ctrl-C, which is pytest's exit code 2."""
    ends = f'case "$*" in *--cov*) exit {unit} ;; *--ignore*) exit {others} ;; esac\n'
    ready.run("scripts/lint")
    ready.record("python", text=f"{RECORDER}{ends}")
    code, calls, _ = ready.run("scripts/test")
    assert (code, calls) == (expected, [*LINT, *(TESTS[:2] if unit == 2 else TESTS)])


def test_there_is_a_floor() -> None:
    """The tests fail where the unit tests leave more lines out than that."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config.getint("coverage:report", "fail_under") >= 75


def test_what_is_imported_is_compiled_once(ready: Checkout) -> None:
    """Also on a machine whose processes keep no compiled files, where each of hundreds would compile all again."""
    ready.record("python", text='#!/bin/sh\necho "$PYTHONDONTWRITEBYTECODE."')
    ready.run("scripts/test", PYTHONDONTWRITEBYTECODE="1")
    assert ready.shown.splitlines()[-2:] == [".", "."]


def test_bad_style_is_a_failure(ready: Checkout) -> None:
    """No test is run on code that the style check refuses."""
    ready.run("scripts/lint")
    ready.record("ruff", text=f"{RECORDER}exit 1\n")
    assert ready.run("scripts/test")[:2] == (1, LINT[:1])


def test_ci_calls_the_same_script(checkout: Checkout) -> None:
    """`.ci/run` is `scripts/test` with CI set, and nothing more."""
    checkout.record(
        "test", folder=checkout.root / "scripts", text=f'{RECORDER}echo "|CI=$CI" >> "$CALLS"\nexit 5\n'
    )
    assert checkout.run(".ci/run")[:2] == (5, [["test"], ["CI=1"]])


def test_an_old_python_is_refused_in_one_sentence(checkout: Checkout) -> None:
    """Where there is none that is new enough, what is needed and how to name it is said."""
    checkout.record("python3", folder=checkout.tools, text=f"{RECORDER}exit 1\n")
    code, calls, said = checkout.run("scripts/test")
    assert code == 2
    assert calls == [["python3", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]]
    assert said.startswith("migrator needs Python 3.11 or later; install it, or name it: PYTHON=")


def test_the_first_python_that_is_new_enough_is_taken(checkout: Checkout) -> None:
    """An old `python3` does not hide a newer one of another name."""
    make = f'{RECORDER}[ "$2" != venv ] || cp -R "$MADE" "$3"\n'
    checkout.record("python", "pip", "ruff", "mypy", folder=checkout.root / "made" / "bin")
    checkout.record("python3", folder=checkout.tools, text=f"{RECORDER}exit 1\n")
    checkout.record("python3.12", folder=checkout.tools, text=make)
    code, calls, _ = checkout.run("scripts/lint", MADE=str(checkout.root / "made"))
    assert code == 0
    assert ["python3.12", "-m", "venv", str(checkout.venv)] in calls
    assert calls[-3:] == LINT


def test_a_python_without_venv_is_named(checkout: Checkout) -> None:
    """Some systems ship it apart; half an environment that is left over does not pass for a whole one."""
    broken = f'{RECORDER}[ "$2" != venv ] || exit 1\n'
    checkout.record("python3", folder=checkout.tools, text=broken)
    checkout.record("python")
    code, _, said = checkout.run("scripts/test")
    assert code == 2
    assert "apt install python3-venv" in said


SCRIPTS = [ROOT / ".ci" / "run", *(path for path in (ROOT / "scripts").iterdir() if path.is_file())]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.name))
def test_scripts_are_plain(path: Path) -> None:
    """Each that is called can be run, by any POSIX shell, and none names a package registry."""
    text = path.read_text(encoding="utf-8")
    assert "index-url" not in text
    assert "--registry" not in text
    if text.startswith("#!"):
        assert text.startswith("#!/bin/sh\n")
        assert os.access(path, os.X_OK)


NAMED = "".join(f"    Programming Language :: Python :: {version}\n" for version in ("3.11", "3.12"))


def pythons(checkout: Checkout, *versions: str) -> str:
    """Make these interpreters, the first on the path and the others where a version manager has them; its HOME."""
    (checkout.root / "setup.cfg").write_text(f"[metadata]\nclassifiers =\n    Topic :: Database\n{NAMED}")
    home = checkout.root.parent / "home"
    for version in versions:
        managed = home / ".pyenv" / "versions" / f"{version}.1" / "bin"
        checkout.record("python3", folder=managed, text="#!/bin/sh\nexit 0\n")
        checkout.record("python", "pip", "ruff", "mypy", folder=checkout.root / f".venv-{version}" / "bin")
    # A version manager's stand-in that leads nowhere.
    checkout.record("python3.12", folder=checkout.tools, text="#!/bin/sh\nexit 127\n")
    return str(home)


def test_each_python_that_is_named_runs_the_tests(checkout: Checkout) -> None:
    """In an environment of its own each, with the same arguments; a newer one is tried where it is."""
    code, calls, _ = checkout.run("scripts/test", "--pythons", "-x", HOME=pythons(checkout, "3.11", "3.12"))
    assert code == 0
    assert calls == [checkout.install, [*PYTEST, "-x"]] * 2
    assert checkout.shown.split("\n")[-4:-1] == [
        "Python 3.11: passed",
        "Python 3.12: passed",
        "Python 3.13: NOT RUN, not on this machine",
    ]


def test_a_python_that_is_named_and_missing_is_a_failure(checkout: Checkout) -> None:
    """What was not run is said, and is not taken for passed."""
    code, calls, _ = checkout.run("scripts/test", "--pythons", "-x", HOME=pythons(checkout, "3.11"))
    assert code == 2
    assert len(calls) == 2
    assert "Python 3.12: NOT RUN" in checkout.shown


def test_all_pythons_are_run_when_the_first_one_fails(checkout: Checkout) -> None:
    """The end of the first is not the end of all, and its failure is not forgotten."""
    home = pythons(checkout, "3.11", "3.12", "3.13")
    failing = f'{RECORDER}[ "$2" != pytest ] || exit 1\n'
    checkout.record("python", folder=checkout.root / ".venv-3.11" / "bin", text=failing)
    code, calls, _ = checkout.run("scripts/test", "--pythons", "-x", HOME=home)
    assert code == 1
    assert calls == [checkout.install, [*PYTEST, "-x"]] * 3
    assert checkout.shown.split("\n")[-4:-1] == [
        "Python 3.11: FAILED",
        "Python 3.12: passed",
        "Python 3.13: passed",
    ]
