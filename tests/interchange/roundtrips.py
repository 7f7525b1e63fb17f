"""Tries the other tools both ways on a real server: what they wrote loads, and what we write they load.

    scripts/interchange http://user:password@host:5984 [--couchdb-dump couchdb-dump.sh]

Each line says what was compared and with what result; the end says how many failed, which is the exit code's.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from tests.interchange.sample import fill, leaves
from tests.interchange.tools import ToolFailed, Tools
from tests.support import request

Leaves: TypeAlias = dict[tuple[str, str], dict[str, Any]]


def in_node(found: Leaves) -> Leaves:
    """What JavaScript makes of numbers, under the same revisions."""
    lossy = copy.deepcopy(found)
    for document in lossy.values():
        if document["_id"] == "numbers":
            document.update(big=12345678901234567000, neg=-98765432109876540000)
    return lossy


def winners(found: Leaves) -> Leaves:
    """What a shallow copy holds: the documents as an application sees them, with no more than their revision."""
    kept = {}
    for key, document in found.items():
        if not document.get("_deleted") and document.get("side") != "right 線":
            start, _, digest = key[1].partition("-")
            kept[key] = {**document, "_revisions": {"start": int(start), "ids": [digest]}}
    return kept


def contents(found: Leaves) -> dict[str, dict[str, Any]]:
    """Documents without their revisions, for tools that give new ones."""
    return {
        id: {name: value for name, value in document.items() if name not in {"_rev", "_revisions"}}
        for (id, _), document in found.items()
    }


class Trial:
    """The round trips on one server.

    Args:
        tools: the tools.
        folder: for files.
    """

    def __init__(self, tools: Tools, folder: Path) -> None:
        self.tools = tools
        self.server = tools.server
        self.folder = folder
        self.failed = 0
        self.databases: list[str] = []

    def database(self, *, create: bool = True) -> str:
        """A new database, empty."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.databases.append(name)
        if create:
            assert request("PUT", f"{self.server}/{name}")[0] in {201, 202}
        return name

    def convert(self, source: str | Path, target: str | Path, *flags: str) -> None:
        """`migrator convert`, which must end with 0."""
        command = [sys.executable, "-m", "migrator", "convert", "--from", str(source), "--to", str(target), *flags]
        done = subprocess.run(command, capture_output=True, cwd=self.folder, check=False)
        if done.returncode:
            raise ToolFailed(f"migrator convert ended with {done.returncode}: {done.stderr.decode()}")

    def url(self, database: str) -> str:
        """Where a database is."""
        return f"{self.server}/{database}"

    def check(self, what: str, expected: Any, trip: Callable[[str], str | None]) -> None:
        """Make one trip into a new database and compare what is in it then."""
        target = self.database()
        try:
            target = trip(target) or target
            found = leaves(self.server, target)
            compared = contents(found) if isinstance(next(iter(expected)), str) else found
            difference = {key for key in {*expected, *compared} if expected.get(key) != compared.get(key)}
            result = (
                f"DIFFERENT: {sorted(map(str, difference))}" if difference else f"equal, {len(expected)} leaves"
            )
        except ToolFailed as error:
            difference, result = {"failed"}, f"FAILED: {error}"
        self.failed += bool(difference)
        print(f"{what:<78} {result}", flush=True)

    def from_tool(self, what: str, content: bytes, expected: Any) -> None:
        """What a tool wrote, loaded by us."""
        path = self.folder / f"{uuid.uuid4().hex[:8]}.dump"
        path.write_bytes(content)
        self.check(f"{what} -> migrator", expected, lambda target: self.convert(path, self.url(target)))

    def to_tool(
        self, what: str, source: str, format: str, expected: Any, load: Callable[[str, Path], None]
    ) -> None:
        """What we write, loaded by a tool."""
        path = self.folder / f"{uuid.uuid4().hex[:8]}.out"

        def trip(target: str) -> None:
            self.convert(self.url(source), path, "--format", format)
            load(target, path)

        self.check(f"migrator -> {what}", expected, trip)

    def run(self) -> None:
        """All trips."""
        full, bare, filled = self.database(create=False), self.database(create=False), self.database(create=False)
        fill(self.server, full)
        fill(self.server, bare, attachments=False)
        fill(self.server, filled, empty=False)
        all_leaves, bare_leaves = leaves(self.server, full), leaves(self.server, bare)
        filled_leaves = leaves(self.server, filled)
        tools = self.tools
        new, old = "2.11.12", "2.9.2"
        for version in (new, old):
            text = tools.couchbackup(version, bare, "--buffer-size", "3")
            self.from_tool(f"couchbackup {version}", text, in_node(bare_leaves))
            text = tools.couchbackup(version, bare, "--mode", "shallow")
            self.from_tool(f"couchbackup {version} --mode shallow", text, in_node(winners(bare_leaves)))
        text = tools.couchbackup(new, full, "--attachments")
        self.from_tool(f"couchbackup {new} --attachments", text, in_node(all_leaves))
        text = tools.couchdb_python_dump(filled)
        self.from_tool("couchdb-python 1.2 couchdb-dump", text, winners(filled_leaves))
        self.from_tool("pouchdb-dump-cli 2.0.6", tools.pouchdb_dump(bare), in_node(bare_leaves))
        for version in (new, old):
            restore = _restorer(tools, version)
            self.to_tool(f"couchrestore {version}", bare, "couchbackup", in_node(bare_leaves), restore)
            expected = in_node(winners(bare_leaves))
            self.to_tool(f"couchrestore {version}, shallow", bare, "couchbackup-shallow", expected, restore)
        restore = _restorer(tools, new, "--attachments")
        self.to_tool(f"couchrestore {new} --attachments", full, "couchbackup", in_node(all_leaves), restore)
        expected_contents = contents(winners(all_leaves))
        self.to_tool(
            "couchdb-python 1.2 couchdb-load", full, "couchdb-python", expected_contents, tools.couchdb_python_load
        )
        self.to_tool("POST _bulk_docs", full, "bulk-docs", all_leaves, self._post)
        if tools.couchdb_dump:
            load = _couchdb_dump_loader(tools)
            self.to_tool("couchdb-dump.sh -r", full, "bulk-docs", all_leaves, load)
        else:
            print(f"{'couchdb-dump.sh':<78} not tried: name it with --couchdb-dump FILE")
        for format in ("couchbackup", "bulk-docs", "pouchdb", "ndjson"):
            self.check(f"migrator -> {format} -> migrator", all_leaves, self._there_and_back(full, format))
        for format in ("all-docs", "couchdb-python"):
            self.check(
                f"migrator -> {format} -> migrator", winners(all_leaves), self._there_and_back(full, format)
            )

    def _there_and_back(self, source: str, format: str) -> Callable[[str], None]:
        path = self.folder / f"{uuid.uuid4().hex[:8]}.zst"

        def trip(target: str) -> None:
            self.convert(self.url(source), path, "--format", format)
            self.convert(path, self.url(target))

        return trip

    def _post(self, target: str, path: Path) -> None:
        status, answer = request("POST", f"{self.url(target)}/_bulk_docs", json.loads(path.read_bytes()))
        if (status, answer) != (201, []):
            raise ToolFailed(f"_bulk_docs answered {status}: {answer}")


def _restorer(tools: Tools, version: str, *flags: str) -> Callable[[str, Path], None]:
    return lambda target, path: tools.couchrestore(version, target, path, *flags)


def _couchdb_dump_loader(tools: Tools) -> Callable[[str, Path], None]:
    return lambda target, path: tools.couchdb_dump_sh("-r", target, path)


def main() -> int:
    """Run all trips and remove what was made."""
    parser = argparse.ArgumentParser(prog="scripts/interchange", description=__doc__.splitlines()[0])
    parser.add_argument("server", nargs="?", default=os.environ.get("COUCHDB_TEST_URL"))
    parser.add_argument("--couchdb-dump", type=Path, help="couchdb-dump.sh, which is in no registry")
    parser.add_argument("--peers", type=Path, help="where the tools are installed; a temporary folder by default")
    given = parser.parse_args()
    if not given.server:
        parser.error("name the server, or set COUCHDB_TEST_URL")
    with tempfile.TemporaryDirectory() as scratch:
        script = given.couchdb_dump.resolve() if given.couchdb_dump else None
        tools = Tools((given.peers or Path(scratch) / "peers").resolve(), given.server, script)
        tools.install()
        trial = Trial(tools, Path(scratch))
        try:
            trial.run()
        finally:
            for name in trial.databases:
                request("DELETE", trial.url(name))
    print(f"{trial.failed} failed")
    return min(trial.failed, 1)


if __name__ == "__main__":
    sys.exit(main())
