"""Installs the peers from their registry, by the committed lock file, into a folder of the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from migrator.sandbox.install import Node, find_node

FILES = Path(__file__).parent / "peers"
NAMES = ("package.json", "package-lock.json")
PROGRAMS = {
    "couchbackup": "@cloudant/couchbackup/bin/couchbackup.bin.js",
    "couchrestore": "@cloudant/couchbackup/bin/couchrestore.bin.js",
    "couchimport": "couchimport/bin/couchimport.bin.js",
    "couchexport": "couchimport/bin/couchexport.bin.js",
}
INSTALL_TIMEOUT_S = 600


@dataclass(frozen=True)
class Peers:
    """The installed peers, and the Node.js that runs them."""

    folder: Path
    node: Node

    def argv(self, program: str, *arguments: str) -> list[str]:
        """The command line of one of them."""
        return [str(self.node.program), str(self.folder / "node_modules" / PROGRAMS[program]), *arguments]


def install_peers() -> Peers:
    """Install them once; a changed lock file makes a new folder.

    Raises:
        RuntimeError: npm cannot.
    """
    node = find_node()
    digest = hashlib.sha256(b"".join((FILES / name).read_bytes() for name in NAMES)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "migrator"
    folder = cache / f"bench-peers-{digest}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="installing-", dir=cache))
        try:
            for name in NAMES:
                shutil.copy(FILES / name, work)
            _install(node, work)
            work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return Peers(folder, node)


def _install(node: Node, work: Path) -> None:
    command = [str(node.program), str(node.npm_cli), "ci", "--ignore-scripts", "--omit=dev"]
    command += ["--no-audit", "--no-fund", "--no-update-notifier"]
    environ = {**os.environ, "PATH": f"{node.program.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        command, cwd=work, env=environ, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"The peers cannot be installed: {done.stderr[-500:]}")
