"""What is done: loading each shape of document, and reading a database out."""

from __future__ import annotations

import fnmatch
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmark.contenders import LIMIT, Contender, Work, loaders
from tests.benchmark.data import CITIES, IDS, SHAPES
from tests.benchmark.measuring import Failed, measure
from tests.benchmark.results import Case, Sample
from tests.benchmark.server import Server

# So that a case of large documents takes about as long as one of small ones.
MAX_CASE_BYTES = 250_000_000
LARGEST_CITY_BYTES = 300


@dataclass(frozen=True, slots=True)
class Plan:
    """A case before it is measured. `kind` is load, read, or one of backups."""

    name: str
    what: str
    kind: str
    documents: int = 1
    size_bytes: int = 0
    ids: str = "sorted"


def plans(documents: int, *, cities: bool = True) -> list[Plan]:
    """All cases, for so many documents at most."""
    made = []
    for shape, size_bytes in SHAPES.items():
        for ids in IDS:
            count = min(documents, max(1, MAX_CASE_BYTES // size_bytes))
            name = f"load-{shape.replace(' ', '')}-{ids}"
            made.append(Plan(name, f"Load {shape}, {ids} ids", "load", count, size_bytes, ids))
    if cities:
        made.append(Plan("load-cities", "Load real cities, ids in no order", "load", ids=CITIES))
    made.append(Plan("read-820B", "Read 820 B", "read", documents, 820))
    return made


def selected(found: Sequence[Plan], patterns: Sequence[str]) -> list[Plan]:
    """Those whose names fit one of the patterns; all where there are none.

    Raises:
        ValueError: a pattern fits none.
    """
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(plan.name, pattern) for plan in found):
            raise ValueError(f"{pattern} fits none of {', '.join(plan.name for plan in found)}")
    return [
        plan for plan in found if not patterns or any(fnmatch.fnmatchcase(plan.name, each) for each in patterns)
    ]


class Bench:
    """Measures plans on one server.

    Args:
        server: where.
        folder: for data and outputs; it must have room for them.
        say: told what is going on.
    """

    def __init__(self, server: Server, folder: Path, say: Callable[[str], None]) -> None:
        self.server = server
        self.folder = folder
        self.say = say

    def run(self, plan: Plan, contenders: Mapping[str, Contender], rounds: int) -> Case:
        """Measure all contenders in turn, round after round, beginning with another one each time."""
        with self._data(plan) as (file, case):
            case.samples = {name: [] for name in contenders}
            if plan.kind == "read":
                database = self.server.create()
                self._load(file, database)
            names = list(contenders)
            for number in range(rounds):
                for name in names[number % len(names) :] + names[: number % len(names)]:
                    if plan.kind == "load":
                        sample = self._loading(file, contenders[name], case.documents)
                    else:
                        sample = self._reading(file, contenders[name], database)
                    case.samples[name].append(sample)
                    self.say(f"{plan.name}, round {number + 1}: {name} {sample.seconds:.3f} s")
            if plan.kind == "read":
                self.server.drop(database)
        return case

    def make(self, plan: Plan, *, backup: bool = False) -> Path:
        """Write a plan's documents, and give the file."""
        command = [sys.executable, "-m", "tests.benchmark.data", str(self.folder), plan.name, "--ids", plan.ids]
        command += ["--documents", str(plan.documents), "--size-bytes", str(plan.size_bytes)]
        self.say(f"{plan.name}: making the documents")
        subprocess.run([*command, *(["--backup"] if backup else [])], check=True)
        return self.folder / f"{plan.name}.ndjson"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder that is empty before and gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            yield Path(name)

    @contextmanager
    def _data(self, plan: Plan) -> Iterator[tuple[Path, Case]]:
        file = self.make(plan, backup=plan.kind == "load")
        try:
            facts = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
            yield file, Case(plan.name, plan.what, facts["documents"], facts["bytes"])
        finally:
            for suffix in (".ndjson", ".backup", ".json"):
                file.with_suffix(suffix).unlink(missing_ok=True)

    def _load(self, file: Path, database: str) -> None:
        with self.scratch() as folder:
            measure(loaders(None)[LIMIT](Work(self.server, database, file, folder)))

    def _loading(self, file: Path, contender: Contender, documents: int) -> Sample:
        database = self.server.create()
        with self.scratch() as folder:
            measured = measure(contender(Work(self.server, database, file, folder)))
        arrived = self.server.count(database)
        if arrived != documents:
            raise Failed(f"{arrived} of {documents} documents arrived.")
        sample = Sample(
            measured.seconds, measured.cpu_seconds, measured.peak_bytes, self.server.file_bytes(database)
        )
        self.server.drop(database)
        return sample

    def _reading(self, file: Path, contender: Contender, database: str) -> Sample:
        with self.scratch() as folder:
            measured = measure(contender(Work(self.server, database, file, folder)))
        return Sample(measured.seconds, measured.cpu_seconds, measured.peak_bytes)


def check_room(folder: Path, chosen: Sequence[Plan], sizes: Sequence[int]) -> None:
    """Refuse to fill the disk, where server and data are on one.

    Raises:
        RuntimeError: there is too little.
    """
    most = [plan.documents * max(plan.size_bytes, LARGEST_CITY_BYTES) for plan in chosen]
    most += [size * SHAPES["820 B"] for size in sizes]
    # The file, the same as a backup or a sorted copy, a database with room for what is not compacted, an output.
    needed = 5 * max(most, default=0) + 1_000_000_000
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RuntimeError(f"{folder} has {free:,} bytes free, {needed:,} are needed.")
