"""Measures what a single case does not show: starting, growing, and going on after an interruption."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmark.cases import Bench, Plan
from tests.benchmark.contenders import Work, loaders, migrator, readers
from tests.benchmark.measuring import Command, Failed, Measured, measure

GROWTH_BYTES = 820
STARTS = 15
INTERRUPTED_AT = 0.95
MB = 1_000_000
Row = dict[str, Any]


def starts(bench: Bench) -> list[Row]:
    """Medians of starts that do nothing, in milliseconds, in turn."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "migrator --help": [*migrator(), "--help"],
        "migrator run --help": [*migrator(), "run", "--help"],
    }
    measured: dict[str, list[Measured]] = {name: [] for name in commands}
    for _ in range(STARTS):
        for name, argv in commands.items():
            measured[name].append(measure(Command(argv, {}, cwd=bench.folder)))
    return [
        {
            "": name,
            "median, ms": round(statistics.median(each.seconds for each in found) * 1000),
            "least, ms": round(min(each.seconds for each in found) * 1000),
            "CPU, ms": round(statistics.median(each.cpu_seconds for each in found) * 1000),
            "peak memory, MB": round(max(each.peak_bytes for each in found) / MB),
        }
        for name, found in measured.items()
    ]


def growth(bench: Bench, sizes: Sequence[int], ids: str) -> Iterator[Row]:
    """Load each number of documents and read them out again; the data are gone before the next is made."""
    for documents in sizes:
        plan = Plan(f"growth-{documents}-{ids}", "", "load", documents, GROWTH_BYTES, ids)
        file = bench.make(plan)
        database = bench.server.create()
        with bench.scratch() as folder:
            work = Work(bench.server, database, file, folder)
            loaded = measure(loaders(None)["migrator"](work))
        file.unlink()
        arrived = bench.server.count(database)
        if arrived != documents:
            raise Failed(f"{arrived} of {documents} documents arrived.")
        file_bytes = bench.server.file_bytes(database)
        with bench.scratch() as folder:
            read = measure(readers(None)["migrator"](Work(bench.server, database, file, folder)))
        bench.server.drop(database)
        row = {
            "documents": f"{documents:,}",
            "load, documents/s": round(documents / loaded.seconds),
            "load, CPU s per 100,000": loaded.cpu_seconds * 100_000 / documents,
            "load, peak MB": round(loaded.peak_bytes / MB),
            "file, MB": round(file_bytes / MB) if file_bytes else "",
            "read, documents/s": round(documents / read.seconds),
            "read, peak MB": round(read.peak_bytes / MB),
        }
        bench.say(f"{plan.name}: {row}")
        yield row


def resumes(bench: Bench, sizes: Sequence[int], size_bytes: int) -> Iterator[Row]:
    """Interrupt a job shortly before its end, go on, and take the time until the first batch is settled."""
    for documents in sizes:
        plan = Plan(f"resume-{documents}", "", "load", documents, size_bytes, "sorted")
        file = bench.make(plan)
        database = bench.server.create()
        source = f"{bench.server.url}/{database}"
        with bench.scratch() as folder:
            yield _resumed(
                bench, "NDJSON file to CouchDB", documents, ["--from", str(file), "--to", source], folder
            )
        file.unlink()
        with bench.scratch() as folder:
            target = str(folder / "out")
            yield _resumed(bench, "CouchDB to NDJSON file", documents, ["--from", source, "--to", target], folder)
        copy = bench.server.new_name()
        with bench.scratch() as folder:
            target = f"{bench.server.url}/{copy}"
            yield _resumed(bench, "CouchDB to CouchDB", documents, ["--from", source, "--to", target], folder)
        bench.server.drop(copy)
        bench.server.drop(database)


def _resumed(bench: Bench, what: str, documents: int, way: Sequence[str], folder: Path) -> Row:
    argv = [*migrator(), "run", *way, "--checkpoint", str(folder / "checkpoint.json"), "--sort", "never"]
    argv += ["--log-format", "json", "--log-level", "debug"]
    done, _ = _run(bench, argv, folder, stop_at=int(documents * INTERRUPTED_AT))
    rest, first_batch_s = _run(bench, [*argv, "--resume"], folder)
    if done + rest != documents:
        raise Failed(f"{what}: {done} and {rest} documents were read, of {documents}.")
    row = {
        "": what,
        "documents": f"{documents:,}",
        "done before": f"{done:,}",
        "first batch settled after, s": first_batch_s,
    }
    bench.say(f"resume: {row}")
    return row


def _run(bench: Bench, argv: Sequence[str], folder: Path, *, stop_at: int | None = None) -> tuple[int, float]:
    """How many documents were read, and when the first batch of them was settled."""
    started = time.perf_counter()
    first_batch_s = 0.0
    read = 0
    environ = {**os.environ, **bench.server.environ}
    with subprocess.Popen(argv, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        assert run.stderr is not None
        for line in run.stderr:
            event = json.loads(line) if line.startswith(b"{") else {}
            if event.get("event") != "batch_loaded":
                continue
            first_batch_s = first_batch_s or time.perf_counter() - started
            read += event["read"]
            if stop_at is not None and read >= stop_at:
                run.send_signal(signal.SIGINT)
                stop_at = None
        code = run.wait()
    if code not in {0, 130}:
        raise Failed(f"{' '.join(argv)[:300]}: exit code {code}")
    return read, first_batch_s
