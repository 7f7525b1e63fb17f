"""Backs up and restores one database with migrator and with couchbackup in turn, and prints a table.

COUCHDB_TEST_URL=… python -m tests.benchmark.backups [--documents N] [--size-bytes N] [--rounds N]
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests import support
from tests.benchmark.contenders import migrator
from tests.benchmark.measuring import Command, Measured, measure
from tests.benchmark.peers import Peers, install_peers
from tests.benchmark.server import Server, opened_server

MIB = 1 << 20
CHANGED_SHARE = 100


@dataclass
class Row:
    """What one program did, round after round. `size_bytes` is of what it wrote to disk."""

    documents: int
    runs: list[Measured] = field(default_factory=list)
    size_bytes: int | None = None

    def text(self, name: str) -> str:
        """A line of the table; medians."""
        seconds = statistics.median(run.seconds for run in self.runs)
        cpu = statistics.median(run.cpu_seconds for run in self.runs)
        peak = max(run.peak_bytes for run in self.runs) / MIB
        size = "" if self.size_bytes is None else f"{self.size_bytes / MIB:,.1f} MiB"
        rate = round(self.documents / seconds, -2)
        return f"| {name} | {rate:,.0f} | {seconds:.2f} s | {cpu:.2f} s | {peak:,.0f} MiB | {size} |"


@dataclass
class Bench:
    """One database on one server, and a folder.

    Args:
        server: where.
        folder: for what is written.
        peers: the others.
        documents: how many.
    """

    server: Server
    folder: Path
    peers: Peers
    documents: int

    def __post_init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.source = ""

    def fill(self, size_bytes: int) -> None:
        """Make the source."""
        words = [str(self.folder), "tickets", "--documents", str(self.documents), "--size-bytes", str(size_bytes)]
        make = [sys.executable, "-m", "tests.benchmark.data", *words, "--ids", "sorted"]
        subprocess.run(make, check=True)
        self.source = self.server.create()
        target = f"{self.server.url}/{self.source}"
        measure(self._ours("run", "--from", str(self.folder / "tickets.ndjson"), "--to", target, "--quiet"))

    def round(self) -> None:
        """Everybody once."""
        shutil.rmtree(self.place, ignore_errors=True)
        self._run("migrator backup", self._backup(), lambda: _size(self.place))
        out = self.folder / "out.backup"
        argv = self.peers.argv("couchbackup", "--db", self.source, "--quiet")
        self._run("couchbackup", Command(argv, self.server.environ, stdout=out), lambda: out.stat().st_size)
        self._restores(out)

    def incremental(self) -> None:
        """A hundredth of the documents changes; only one of the programs can do with that."""
        ids = [f"ticket-{number:09}" for number in range(0, self.documents, CHANGED_SHARE)]
        _, found = support.request(
            "POST", f"{self.server.address}/{self.source}/_all_docs?include_docs=true", {"keys": ids}
        )
        docs = [{**row["doc"], "changed": True} for row in found["rows"]]
        support.request("POST", f"{self.server.address}/{self.source}/_bulk_docs", {"docs": docs})
        before = _size(self.place)
        self._run("migrator backup, 1 % changed", self._backup(), lambda: _size(self.place) - before)

    @property
    def place(self) -> Path:
        """Where our backups are."""
        return self.folder / "place"

    def _restores(self, out: Path) -> None:
        names = self.server.new_name(), self.server.create()
        to = f"{self.server.url}/{names[0]}"
        ours = self._ours("restore", "--from", str(self.place), "--to", to, "--database", self.source, "--quiet")
        self._run("migrator restore", ours)
        argv = self.peers.argv("couchrestore", "--db", names[1], "--quiet")
        self._run("couchrestore", Command(argv, self.server.environ, stdin=out))
        for name in names:
            assert self.server.count(name) == self.documents, name
            self.server.drop(name)

    def _backup(self) -> Command:
        source = f"{self.server.url}/{self.source}"
        return self._ours("backup", "--from", source, "--to", str(self.place), "--quiet")

    def _ours(self, *words: str) -> Command:
        return Command([*migrator(), *words], self.server.environ, cwd=self.folder)

    def _run(self, name: str, command: Command, size: Callable[[], int] | None = None) -> None:
        row = self.rows.setdefault(name, Row(self.documents))
        row.runs.append(measure(command))
        if size:
            row.size_bytes = size()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--size-bytes", type=int, default=820)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    peers = install_peers()
    with (
        tempfile.TemporaryDirectory(prefix="migrator-bench-") as name,
        opened_server(Path(name) / "sandbox") as server,
    ):
        bench = Bench(server, Path(name), peers, asked.documents)
        bench.fill(asked.size_bytes)
        for _ in range(asked.rounds):
            bench.round()
        bench.incremental()
        packed = len(gzip.compress((bench.folder / "out.backup").read_bytes(), 6)) / MIB
        print(f"{server.version}, {asked.documents:,} documents of {asked.size_bytes} B, {asked.rounds} rounds\n")
        print("| | documents/s | time | CPU | memory | on disk |\n|---|---|---|---|---|---|")
        for program, row in bench.rows.items():
            print(row.text(program))
        print(f"\ncouchbackup's file through gzip -6: {packed:,.1f} MiB")


if __name__ == "__main__":
    main()
