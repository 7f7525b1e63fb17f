"""What is done with backups: all of a database, what changed of it, and back again, beside couchbackup.

Run as a program it changes a database, so that what that needs in memory is not the measuring process's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests import support
from tests.benchmark.cases import Bench, Plan
from tests.benchmark.contenders import OURS, Work, loaders, migrator
from tests.benchmark.measuring import Command, Failed, measure
from tests.benchmark.peers import Peers
from tests.benchmark.results import Case, Sample

KINDS = ("backup", "increment", "restore")
CHANGED = 1_000
ATTACHMENT_BYTES = 64_000_000

Step = Callable[[Path], Sample]
"""One contender in one round, given an empty folder."""


def plans(documents: int) -> list[Plan]:
    """All cases, for so many documents at most; the last is of documents that have an attachment of 64 MB each."""
    return [
        Plan("backup-820B", "Back up 820 B", "backup", documents, 820),
        Plan("increment-820B", f"Back up again after {CHANGED:,} changes", "increment", documents, 820),
        Plan("restore-820B", "Restore 820 B", "restore", documents, 820),
        Plan("backup-64MB", "Back up attachments of 64 MB", "backup", 4, ATTACHMENT_BYTES),
        Plan("restore-64MB", "Restore attachments of 64 MB", "restore", 4, ATTACHMENT_BYTES),
    ]


def run(bench: Bench, plan: Plan, peers: Peers | None, rounds: int) -> Case:
    """Measure in turn, round after round, beginning with another one each time."""
    case = Case(plan.name, plan.what, plan.documents, plan.documents * plan.size_bytes)
    with bench.scratch() as folder, _filled(bench, plan, folder) as database:
        backups = Backups(bench, plan, peers, folder, database)
        steps = backups.steps()
        case.samples = {name: [] for name in steps}
        names = list(steps)
        for number in range(rounds):
            if plan.kind == "increment":
                _apart(bench, "change", database, number)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                with bench.scratch() as empty:
                    sample = steps[name](empty)
                case.samples[name].append(sample)
                bench.say(f"{plan.name}, round {number + 1}: {name} {sample.seconds:.3f} s")
    return case


class Backups:
    """One database, and what each of the programs does with it.

    Args:
        bench: the server.
        plan: what is measured.
        peers: the others; None to leave them out.
        folder: for what is there before the rounds.
        database: its name.
    """

    def __init__(self, bench: Bench, plan: Plan, peers: Peers | None, folder: Path, database: str) -> None:
        self.bench = bench
        self.plan = plan
        self.peers = peers
        self.folder = folder
        self.database = database
        # A larger answer than one attachment's is more than it can hold.
        self.flags = ("--attachments", "--buffer-size", "1") if plan.size_bytes == ATTACHMENT_BYTES else ()

    def steps(self) -> Mapping[str, Step]:
        """Each program's, ours first."""
        place, out = self.folder / "place", self.folder / "out.backup"
        if self.plan.kind != "backup":
            self._backup(place)
        if self.plan.kind == "restore":
            found: dict[str, Step] = {OURS: lambda empty: self._restore(place, empty)}
            if self.peers:
                self._couchbackup(out)
                found["couchrestore"] = lambda _: self._couchrestore(out)
            return found
        found = {OURS: lambda empty: self._backup(empty if self.plan.kind == "backup" else place)}
        if self.peers:
            found["couchbackup"] = lambda empty: self._couchbackup(empty / "out.backup")
        return found

    def _backup(self, place: Path) -> Sample:
        before = _size(place)
        source = f"{self.bench.server.url}/{self.database}"
        said = self.folder / "said.json"
        command = self._ours("backup", "--from", source, "--to", str(place), "--json", "--quiet", stdout=said)
        measured = measure(command)
        (result,) = json.loads(said.read_text(encoding="utf-8"))["databases"].values()
        wanted = self.plan.documents
        if result["kind"] == "incremental":
            wanted = min(CHANGED, self.plan.documents)
        if result["documents"] != wanted:
            raise Failed(f"{result['documents']} of {wanted} documents were backed up.")
        return Sample(measured.seconds, measured.cpu_seconds, measured.peak_bytes, _size(place) - before)

    def _couchbackup(self, out: Path) -> Sample:
        assert self.peers
        argv = self.peers.argv("couchbackup", "--db", self.database, "--quiet", *self.flags)
        measured = measure(Command(argv, self.bench.server.environ, stdout=out))
        return Sample(measured.seconds, measured.cpu_seconds, measured.peak_bytes, out.stat().st_size)

    def _restore(self, place: Path, _empty: Path) -> Sample:
        name = self.bench.server.new_name()
        to = f"{self.bench.server.url}/{name}"
        return self._restored(
            name, self._ours("restore", "--from", str(place), "--to", to, "--database", self.database, "--quiet")
        )

    def _couchrestore(self, out: Path) -> Sample:
        assert self.peers
        name = self.bench.server.create()
        flags = self.flags[:1] and (*self.flags[:1], "--buffer-size", "1", "--parallelism", "1")
        argv = self.peers.argv("couchrestore", "--db", name, "--quiet", *flags)
        return self._restored(name, Command(argv, self.bench.server.environ, stdin=out))

    def _restored(self, name: str, command: Command) -> Sample:
        measured = measure(command)
        arrived = self.bench.server.count(name)
        if arrived != self.plan.documents:
            raise Failed(f"{arrived} of {self.plan.documents} documents arrived.")
        size = self.bench.server.file_bytes(name)
        self.bench.server.drop(name)
        return Sample(measured.seconds, measured.cpu_seconds, measured.peak_bytes, size)

    def _ours(self, *words: str, stdout: Path | None = None) -> Command:
        return Command([*migrator(), *words], self.bench.server.environ, cwd=self.folder, stdout=stdout)


@contextmanager
def _filled(bench: Bench, plan: Plan, folder: Path) -> Iterator[str]:
    """The database that is backed up."""
    database = bench.server.create()
    try:
        if plan.size_bytes == ATTACHMENT_BYTES:
            _apart(bench, "attach", database, plan.documents)
        else:
            file = bench.make(plan)
            measure(loaders(None)[OURS](Work(bench.server, database, file, folder)))
            file.unlink()
        yield database
    finally:
        bench.server.drop(database)


def _apart(bench: Bench, what: str, database: str, number: int) -> None:
    argv = [sys.executable, "-m", "tests.benchmark.backups", what, database, str(number)]
    subprocess.run(argv, env={**os.environ, **bench.server.environ}, check=True)


def attach(url: str, documents: int) -> None:
    """Make documents that each have bytes which nothing packs."""
    for number in range(documents):
        rev = support.request("PUT", f"{url}/d{number}", {"number": number})[1]["rev"]
        headers = {"Content-Type": "application/octet-stream", "Accept": "application/json"}
        path = f"{url}/d{number}/f?rev={rev}"
        status, _, _ = support.forward("PUT", path, headers, os.urandom(ATTACHMENT_BYTES))
        if status != 201:
            raise Failed(f"{path}: {status}")


def change(url: str, number: int) -> None:
    """Change a thousand documents, all over the database."""
    rows = support.get(f"{url}/_all_docs")["rows"]
    ids = [row["id"] for row in rows[:: max(1, len(rows) // CHANGED)][:CHANGED]]
    _, found = support.request("POST", f"{url}/_all_docs?include_docs=true", {"keys": ids})
    docs = [{**row["doc"], "changed": number} for row in found["rows"]]
    support.request("POST", f"{url}/_bulk_docs", {"docs": docs})


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Do one of the two; the server is in the environment, as everybody can read a command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["attach", "change"])
    parser.add_argument("database")
    parser.add_argument("number", type=int)
    asked = parser.parse_args()
    url = f"{os.environ['COUCH_URL'].rstrip('/')}/{asked.database}"
    (attach if asked.what == "attach" else change)(url, asked.number)


if __name__ == "__main__":
    main()
