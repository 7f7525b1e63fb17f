"""Measures a job that workers of Dask move: documents a second for each number of them, and whose CPU it took."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmark.cases import Bench, Plan
from tests.benchmark.contenders import migrator
from tests.benchmark.growth import Row
from tests.benchmark.measuring import Command, Failed, measure
from tests.support.dask_cluster import Cluster

SIZE_BYTES = 820
HASH_ROUNDS = 1_000
HEAVY = "tests.benchmark.workers:heavy"
MB = 1_000_000
_TICKS = os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).parents[2]


def heavy(document: dict[str, Any]) -> dict[str, Any]:
    """A transformer that costs about half a millisecond of CPU: a key is derived, as for a password."""
    key = hashlib.pbkdf2_hmac("sha256", document["_id"].encode(), b"salt", HASH_ROUNDS)
    return {**document, "key": key.hex()}


def workers(bench: Bench, numbers: Sequence[int], documents: int) -> Iterator[Row]:
    """Load the same file by one process and by so many workers, plainly and with a transformer that costs CPU."""
    plan = Plan(f"workers-{documents}", "", "load", documents, SIZE_BYTES, "sorted")
    file = bench.make(plan)
    for spec, share in (("", 1), (HEAVY, 4)):
        # A heavy transformer tells as much in a quarter of the time.
        part = file if share == 1 else _head(file, documents // share)
        for number in (0, *numbers):
            yield _measured(bench, part, documents // share, spec, number)
    file.unlink()


def _measured(bench: Bench, file: Path, documents: int, spec: str, number: int) -> Row:
    name = bench.server.new_name()
    with bench.scratch() as folder, _cluster(bench, folder, number) as cluster:
        argv = [*migrator(), "run", "--from", str(file), "--to", f"{bench.server.url}/{name}", "-q"]
        argv += ["--checkpoint", str(folder / "cp.json"), "--report", str(folder / "report.json")]
        argv += ["--rejects", str(folder / "rejects.ndjson")]
        argv += ["--transform", spec] if spec else []
        argv += ["--executor", f"dask://{cluster.address}"] if cluster else []
        ids = cluster.worker_ids() if cluster else []
        path = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])
        command = Command(argv, {**bench.server.environ, "PYTHONPATH": path}, cwd=folder)
        busy, own = _busy(), _cpu(ids)
        with _watching(folder / "cp.json.splits") as seen:
            done = measure(command)
        busy, own = _busy() - busy, _cpu(ids) - own
        report = json.loads((folder / "report.json").read_text())
        if report["totals"]["written"] != documents:
            raise Failed(f"{report['totals']['written']} of {documents} documents were written.")
    file_bytes = bench.server.file_bytes(name)
    bench.server.drop(name)
    row: Row = {
        "": f"{number} workers" if number > 1 else "1 worker" if number else "no Dask, one process",
        "transformer": "PBKDF2" if spec else "none",
        "documents": f"{documents:,}",
        "documents/s": round(documents / done.seconds),
        "of the report": round(report["documents_per_second"]),
        "command, CPU s": done.cpu_seconds,
        "workers, CPU s": own,
        "all else, CPU s": busy - own - done.cpu_seconds,
        "clock, s": done.seconds,
        "database, MB": round(file_bytes / MB) if file_bytes else "",
        "splits": seen["splits"],
        "their files, kB": round(seen["bytes"] / 1000, 1),
    }
    bench.say(f"workers: {row}")
    return row


@contextmanager
def _cluster(bench: Bench, folder: Path, number: int) -> Iterator[Cluster | None]:
    if not number:
        yield None
        return
    # So that a worker finds the transformer, and has the credentials.
    environ = {
        **bench.server.environ,
        "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    cluster = Cluster(folder, number, environ)
    try:
        until = time.monotonic() + 60
        while len(cluster.worker_ids()) < number:
            if time.monotonic() > until:
                raise Failed("The workers did not start.")
            time.sleep(0.2)
        # They import what they need.
        time.sleep(2)
        yield cluster
    finally:
        cluster.close()


@contextmanager
def _watching(folder: Path) -> Iterator[dict[str, int]]:
    """How many splits there are, and what their files take at most."""
    seen = {"splits": 0, "bytes": 0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            try:
                sizes = [path.stat().st_size for path in folder.iterdir() if path.suffix != ".lock"]
            except OSError:
                continue
            seen["splits"] = max(seen["splits"], len(list(folder.glob("*.checkpoint.json"))))
            seen["bytes"] = max(seen["bytes"], sum(sizes))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _head(file: Path, documents: int) -> Path:
    part = file.with_name(f"part-{documents}.ndjson")
    with file.open("rb") as whole, part.open("wb") as some:
        for _, line in zip(range(documents), whole, strict=False):
            some.write(line)
    return part


def _busy() -> float:
    """Seconds of CPU that the machine has spent."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(int, words)
    return (user + nice + system + irq + softirq) / _TICKS


def _cpu(processes: Sequence[int]) -> float:
    """Seconds of CPU of these processes."""
    ticks = 0
    for process in processes:
        # The name before it may hold anything.
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(words[11]) + int(words[12])
    return ticks / _TICKS
