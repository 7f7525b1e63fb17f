"""Runs the other tools: couchbackup and pouchdb-dump from npm, couchdb-python, and couchdb-dump.sh."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

# Of couchbackup the newest release, and the newest one whose files have no header. What the old ones depend on is
# held where it was in their time.
PACKAGES: dict[str, dict[str, Any]] = {
    "2.11.12": {"dependencies": {"@cloudant/couchbackup": "2.11.12"}},
    "2.9.2": {
        "dependencies": {"@cloudant/couchbackup": "2.9.2"},
        "overrides": {"axios": "0.26.1", "tough-cookie": "^4"},
    },
    "pouchdb-dump-cli": {"dependencies": {"pouchdb-dump-cli": "2.0.6"}, "overrides": {"leveldown": "^6"}},
}


class ToolFailed(Exception):
    """A tool said that it failed."""


@dataclass(frozen=True)
class Tools:
    """Where the tools are.

    Args:
        folder: packages are installed here.
        server: the URL of a CouchDB, with credentials.
        couchdb_dump: couchdb-dump.sh, which is in no registry; None where there is none.
    """

    folder: Path
    server: str
    couchdb_dump: Path | None = None

    def install(self) -> None:
        """Fetch what is missing from npm."""
        for name, package in PACKAGES.items():
            folder = self.folder / name
            if not (folder / "node_modules" / ".bin").exists():
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "package.json").write_text(json.dumps({"private": True, **package}))
                flags = ["--no-audit", "--no-fund", "--silent", "--ignore-scripts"]
                self._run(["npm", "install", *flags], cwd=folder)

    def couchbackup(self, version: str, database: str, *flags: str) -> bytes:
        """Back up; what it writes."""
        return self._run([self._bin(version, "couchbackup"), *self._where(database), *flags])

    def couchrestore(self, version: str, database: str, file: Path, *flags: str) -> None:
        """Restore a file into an empty database."""
        self._run([self._bin(version, "couchrestore"), *self._where(database), *flags], stdin=file.read_bytes())

    def pouchdb_dump(self, database: str) -> bytes:
        """What pouchdb-dump-cli writes."""
        return self._run(
            [self._bin("pouchdb-dump-cli", "pouchdb-dump"), f"{self.server}/{quote(database, safe='')}"]
        )

    def couchdb_python_dump(self, database: str) -> bytes:
        """What couchdb-python's dump writes."""
        user, password, url = self._parts(database)
        return self._run(
            [sys.executable, "-W", "ignore", "-m", "couchdb.tools.dump", "-u", user, "-p", password, url]
        )

    def couchdb_python_load(self, database: str, file: Path) -> None:
        """Load a dump with couchdb-python."""
        user, password, url = self._parts(database)
        command = [sys.executable, "-W", "ignore", "-m", "couchdb.tools.load", "-u", user, "-p", password]
        self._run([*command, "--input", str(file), url])

    def couchdb_dump_sh(self, flag: str, database: str, file: Path) -> None:
        """`-b` to back up into a file, `-r` to restore it."""
        assert self.couchdb_dump
        parts = urlsplit(self.server)
        command = ["bash", str(self.couchdb_dump), flag, "-H", str(parts.hostname), "-P", str(parts.port)]
        command += ["-d", database, "-f", file.name, "-u", str(parts.username), "-p", str(parts.password)]
        self._run(command, cwd=file.parent)

    def _parts(self, database: str) -> tuple[str, str, str]:
        parts = urlsplit(self.server)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return parts.username or "", parts.password or "", f"{url}/{quote(database, safe='')}"

    def _where(self, database: str) -> list[str]:
        return ["--url", self.server, "--db", database]

    def _bin(self, version: str, name: str) -> str:
        return str(self.folder / version / "node_modules" / ".bin" / name)

    @staticmethod
    def _run(command: list[str], *, stdin: bytes = b"", cwd: Path | None = None) -> bytes:
        done = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, check=False, env=os.environ)
        if done.returncode:
            said = re.sub(rb"//[^@/\s]*@", b"//", done.stderr[-500:] + done.stdout[-200:])
            raise ToolFailed(
                f"{Path(command[0]).name} ended with {done.returncode}: {said.decode(errors='replace')}"
            )
        return done.stdout
