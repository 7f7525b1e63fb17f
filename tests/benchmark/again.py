"""What runs every day: the same job again, after few and many changes, its verification, and what proof costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.benchmark.cases import Bench, Plan
from tests.benchmark.contenders import Contender, Work, loaders, migrator
from tests.benchmark.measuring import Command, Failed, measure
from tests.benchmark.peers import Peers
from tests.benchmark.results import Case, Sample

KIND = "again"
FIRST = "first load"
CHANGED = 10


def plans(documents: int) -> list[Plan]:
    """The case, for so many documents."""
    return [Plan("again-820B", "The same job again, 820 B, sorted ids", KIND, documents, 820)]


def run(bench: Bench, plan: Plan, peers: Peers | None, rounds: int) -> Case:
    """Measure one step after the other, round after round, each round with new databases."""
    case = Case(plan.name, plan.what, plan.documents, plan.documents * plan.size_bytes)
    file = bench.make(plan)
    few, all_changed = (file.with_suffix(f".{name}.ndjson") for name in ("few", "all"))
    _change(file, few, every=max(1, plan.documents // CHANGED))
    _change(file, all_changed, every=1)
    try:
        for number in range(rounds):
            for name, sample in _Round(bench, plan, file, few, all_changed, peers).samples().items():
                case.samples.setdefault(name, []).append(sample)
                bench.say(f"{plan.name}, round {number + 1}: {name} {sample.seconds:.3f} s")
    finally:
        for path in (file, few, all_changed, file.with_suffix(".json")):
            path.unlink(missing_ok=True)
    return case


def _change(file: Path, changed: Path, *, every: int) -> None:
    """Copy the documents with another field in each so-manyth."""
    with file.open("rb") as source, changed.open("wb") as target:
        for number, line in enumerate(source):
            text = line.rstrip()
            target.write(text[:-1] + b',"changed":true}\n' if number % every == 0 else text + b"\n")


@dataclass
class _Round:
    bench: Bench
    plan: Plan
    file: Path
    few: Path
    all_changed: Path
    peers: Peers | None

    def samples(self) -> Mapping[str, Sample]:
        """Each step's; the first load's is what the others are compared with."""
        database = self.bench.server.create()
        found = {
            FIRST: self._step(_ours("run", self.file), database),
            "second run": self._step(_ours("run", self.file), database),
            "verify": self._step(_ours("verify", self.file), database),
            f"{CHANGED} changed": self._step(_ours("run", self.few, *OVERWRITE), database),
            "all changed": self._step(_ours("run", self.all_changed, *OVERWRITE), database),
            "second run, second revisions": self._step(_ours("run", self.all_changed), database),
            "verify, second revisions": self._step(_ours("verify", self.all_changed), database),
        }
        self.bench.server.drop(database)
        found[f"{FIRST}, no proof"] = self._loaded(_ours("run", self.file, "--no-prove"))[0]
        if self.peers:
            # couchrestore refuses a database that is not empty.
            first, again = self._loaded(loaders(self.peers)["couchimport"], again=True)
            found |= {f"couchimport, {FIRST}": first, "couchimport, second run": again}
        return found

    def _loaded(self, contender: Contender, *, again: bool = False) -> tuple[Sample, Sample]:
        database = self.bench.server.create()
        first = self._step(contender, database)
        second = self._step(contender, database) if again else first
        self.bench.server.drop(database)
        return first, second

    def _step(self, contender: Contender, database: str) -> Sample:
        with self.bench.scratch() as folder:
            measured = measure(contender(Work(self.bench.server, database, self.file, folder)))
        arrived = self.bench.server.count(database)
        if arrived != self.plan.documents:
            raise Failed(f"{arrived} of {self.plan.documents} documents are there.")
        return Sample(measured.seconds, measured.cpu_seconds, measured.peak_bytes)


OVERWRITE = ("--on-conflict", "overwrite")


def _ours(command: str, file: Path, *words: str) -> Callable[[Work], Command]:
    def made(work: Work) -> Command:
        sides = ("--from", str(file), "--to", f"{work.server.url}/{work.database}")
        # The name of a file is that of its collection: each has a checkpoint of its own.
        return Command([*migrator(), command, *sides, *words, "--quiet"], work.server.environ, cwd=work.folder)

    return made
