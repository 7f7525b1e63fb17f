"""Extractors, transformers and loaders of other distributions: found, used, and blamed by name."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

import migrator
from migrator import plugins
from migrator.errors import ConfigError
from tests.contract.extractor_contract import DOCUMENTS
from tests.support.processes import LIMIT_S

EXAMPLE = Path(__file__).parents[2] / "data" / "plugin"
ROOT = Path(__file__).parents[3]


def install(folder: Path, name: str, points: Mapping[str, Mapping[str, str]], version: str = "1.0") -> None:
    """A distribution's metadata, as an installer leaves it."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.read_dict(points)
    with (info / "entry_points.txt").open("w") as file:
        parser.write(file)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def example(site: Path) -> Path:
    """The example package, installed there."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(site, project["name"], project["entry-points"], project["version"])
    (site / "acme_migrator").symlink_to(EXAMPLE / "src" / "acme_migrator")
    return site


def command(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process that has the folder on its path."""
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "migrator", *words],
        cwd=site,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )


def run_tests(folder: Path, *tests: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """Run tests with nothing but pytest, in a process of their own that has another folder on its path."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, tests)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(path), str(ROOT)]),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )


def test_an_installed_package_is_found(tmp_path: Path) -> None:
    """The package of docs/plugins.md as pip itself installs it: its words are known, and it passes the suites."""
    project, site = tmp_path / "project", tmp_path / "site"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    pip += ["--no-index", "--no-build-isolation", "--target", str(site), str(project)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    listed = command(site, "plugins")
    assert listed.returncode == 0, listed.stderr
    assert {"ini:", "upper:", "box:"} <= set(listed.stdout.split())
    done = run_tests(tmp_path, project / "tests", path=site)
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout
    assert int(done.stdout.rpartition(" passed")[0].split()[-1]) > 40


def test_the_suites_fail_what_breaks_them(example: Path) -> None:
    """An extractor that forgets the position, and a transformer that writes into its input, are found out."""
    (example / "test_bad.py").write_text(
        "import pytest\n"
        "from acme_migrator.extractor import IniExtractor\n"
        "from migrator.testing import *\n"
        f"import sys; sys.path.insert(0, {str(EXAMPLE / 'tests')!r})\n"
        "from test_contracts import IniSource, write_ini\n"
        "class Forgetful(IniExtractor):\n"
        "    def extract(self, collection, *, after=None):\n"
        "        return super().extract(collection)\n"
        "class Source(IniSource):\n"
        "    def open(self, collections=None): return Forgetful(self.folder, collections)\n"
        "class TestForgetful(ExtractorContract):\n"
        "    @pytest.fixture\n"
        "    def source(self, tmp_path):\n"
        "        for name, documents in DOCUMENTS.items(): write_ini(tmp_path, name, documents)\n"
        "        return Source(tmp_path)\n"
        "def spoil(document):\n"
        "    document['a'] = 2\n"
        "    return document\n"
        "class TestSpoil(TransformerContract):\n"
        "    @pytest.fixture\n"
        "    def transform(self): return spoil\n"
    )
    done = run_tests(example, example / "test_bad.py", path=example)
    failed = {
        line.split()[1].rpartition("::")[2] for line in done.stdout.splitlines() if line.startswith("FAILED")
    }
    assert {"test_goes_on_after_every_position[users]", "test_leaves_its_input_as_it_was"} <= failed, done.stdout


def test_a_job_uses_all_three(example: Path, tmp_path: Path) -> None:
    """SOURCE, SPEC and TARGET of a plugin work in a run, with resumption and accounting like any other."""
    sys.modules.pop("acme_migrator", None)
    write_ini = plugins.installed()[0].load().__globals__["write_ini"]
    write_ini(tmp_path, "users", [*DOCUMENTS["users"], {"_id": "low", "n": "abc"}])
    report = migrator.run(
        f"ini:{tmp_path}", f"box:{tmp_path / 'box'}", transform=["upper:n"], checkpoint=str(tmp_path / "cp.json")
    )
    assert report.ok
    assert report.totals.written == 7
    found = [json.loads(path.read_bytes()) for path in (tmp_path / "box" / "users").glob("*.json")]
    assert {"_id": "low", "n": "ABC"} in found
    again = migrator.run(f"ini:{tmp_path}", f"box:{tmp_path / 'box'}", transform=["upper:n"])
    assert again.totals.unchanged == 7


def test_the_command_lists_them(example: Path) -> None:
    """Kind, word, distribution and version; what cannot be imported, or is not used, with the reason."""
    install(example, "broken-one", {"migrator.loaders": {"gone": "no_such_module:make", "http": "json:loads"}})
    install(example, "second", {"migrator.extractors": {"ini": "json:loads"}})
    done = command(example, "plugins")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.split()[:4] == ["extractor", "ini:", "acme-migrator", "1.2.3"] for line in lines)
    assert any("broken-one 1.0" in line and "broken:" in line and "no_such_module" in line for line in lines)
    assert any("http:" in line and "migrator's own" in line for line in lines)
    assert any("second" in line and "acme-migrator registers it too" in line for line in lines)


def test_two_of_one_word_are_an_error_that_names_both(example: Path, tmp_path: Path) -> None:
    """Which of them would run must not depend on the order of installation."""
    install(example, "second", {"migrator.extractors": {"INI": "json:loads"}})
    with pytest.raises(ConfigError, match=r"(?s)acme-migrator.*second.*pip uninstall"):
        migrator.run(f"ini:{tmp_path}", str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise RuntimeError('boom')", "boom"),
        ("import no_such_thing", "no_such_thing"),
        ("make = 5", "not a factory"),
        ("def make(source, config, environ): return object()", "lacks close, collections"),
        ("def make(source, config, environ): raise KeyError('oh')", "KeyError: 'oh'"),
        ("def make(): pass", "TypeError"),
    ],
)
def test_a_broken_plugin_is_blamed_by_name(site: Path, tmp_path: Path, body: str, expected: str) -> None:
    """Whatever goes wrong in it, the error names the distribution and what to do, and shows no traceback."""
    (site / "bad_plugin.py").write_text(f"{body}\n")
    install(site, "acme-bad", {"migrator.extractors": {"bad": "bad_plugin:make"}})
    done = command(site, "run", "--from", "bad:x", "--to", str(tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "acme-bad" in done.stderr
    assert "pip uninstall acme-bad" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_scheme_names_the_nearest_plugin(example: Path, tmp_path: Path) -> None:
    """A mistyped word of a plugin is recognised as one of this package's own is."""
    with pytest.raises(ConfigError, match=r"Did you mean ini:\?.*by plugins: ini"):
        migrator.run(f"inni:{tmp_path}", str(tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"Did you mean box:\?"):
        migrator.run({"a": {"b": {}}}, f"boxx:{tmp_path}")


def test_a_target_that_only_writes_is_not_verified(example: Path, tmp_path: Path) -> None:
    """Verification of a plugin's target says that it cannot, instead of finding a folder of that name empty."""
    with pytest.raises(ConfigError, match="cannot be verified"):
        migrator.verify({"a": {"b": {}}}, f"box:{tmp_path}")


def test_own_words_ask_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For what this package knows itself, no installed distribution is looked through."""

    def fail(**_: object) -> None:
        raise AssertionError("looked")

    monkeypatch.setattr("importlib.metadata.entry_points", fail)
    report = migrator.run(
        {"a": {"b": {}}},
        str(tmp_path / "out"),
        transform=["set:x=1"],
        checkpoint=str(tmp_path / "cp"),
    )
    assert report.ok
