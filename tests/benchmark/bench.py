"""The one command: makes data, measures everybody in turn, prints tables, and draws."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmark import again, backups
from tests.benchmark.cases import Bench, check_room, plans, selected
from tests.benchmark.chart import draw
from tests.benchmark.contenders import loaders, readers
from tests.benchmark.growth import growth, resumes, starts
from tests.benchmark.measuring import Failed
from tests.benchmark.peers import install_peers
from tests.benchmark.results import Results, merged
from tests.benchmark.server import opened_server
from tests.benchmark.table import filled, render
from tests.benchmark.workers import workers

DOCUMENTS = 100_000
QUICK_DOCUMENTS = 5_000
ROUNDS = 5
# Above this load for each processor somebody else is measured too.
QUIET_LOAD = 0.5


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, allow_abbrev=False)
    made.add_argument("--documents", type=int, metavar="N", help=f"in each case [default: {DOCUMENTS}]")
    made.add_argument("--rounds", type=int, metavar="N", help=f"in which all take their turn [default: {ROUNDS}]")
    made.add_argument("--only", action="append", default=[], metavar="CASE", help="a case, or load-*; repeatable")
    made.add_argument("--quick", action="store_true", help="few documents, one round: to see that it works")
    made.add_argument("--without-peers", action="store_true", help="install and run no program but our own")
    made.add_argument("--start", action="store_true", help="measure starting too")
    made.add_argument("--growth", type=_sizes, default=[], metavar="N,N", help="load and read so many documents")
    made.add_argument("--growth-ids", choices=["sorted", "random"], default="sorted")
    made.add_argument("--resume", type=_sizes, default=[], metavar="N,N", help="interrupt and go on at so many")
    made.add_argument("--resume-bytes", type=int, default=270, metavar="N", help="of a document [default: 270]")
    made.add_argument("--workers", type=_sizes, default=[], metavar="N,N", help="load by so many workers of Dask")
    made.add_argument("--no-cases", action="store_true", help="only what the flags above ask for")
    made.add_argument("--folder", type=Path, help="for data and outputs [default: the system's temporary one]")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there, - for standard output")
    made.add_argument("--chart", type=Path, metavar="FILE", help="draw the cases there, as SVG")
    made.add_argument("--page", type=Path, metavar="FILE", help="make the tables of this page again")
    showing = "measure nothing, show an earlier --json; repeated, all of them together"
    made.add_argument("--from-json", type=Path, action="append", metavar="FILE", help=showing)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and give the exit code."""
    asked = parser().parse_args(arguments)
    try:
        if asked.from_json:
            texts = [path.read_text(encoding="utf-8") for path in asked.from_json]
            results = merged([Results.from_json(json.loads(text)) for text in texts])
        else:
            results = _measure(asked)
    except (Failed, RuntimeError, ValueError) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    text = json.dumps(results.to_json(), indent=1) + "\n"
    if asked.json and str(asked.json) != "-":
        asked.json.write_text(text, encoding="utf-8")
    if asked.page:
        asked.page.write_text(filled(asked.page.read_text(encoding="utf-8"), results), encoding="utf-8")
    if asked.chart:
        asked.chart.write_text(draw(results.cases), encoding="utf-8")
    print(text if str(asked.json) == "-" else render(results), end="")
    return 0


def _measure(asked: argparse.Namespace) -> Results:
    documents = asked.documents or (QUICK_DOCUMENTS if asked.quick else DOCUMENTS)
    rounds = asked.rounds or (1 if asked.quick else ROUNDS)
    # Real data are what they are, and a quick look is not a place for a quarter of a million documents.
    cases = [*plans(documents, cities=not asked.quick), *backups.plans(documents), *again.plans(documents)]
    chosen = [] if asked.no_cases else selected(cases, asked.only)
    _warn_of_load()
    peers = None if asked.without_peers or not chosen else install_peers()
    with (
        tempfile.TemporaryDirectory(prefix="migrator-bench-", dir=asked.folder) as name,
        opened_server(Path(name) / "sandbox") as server,
    ):
        bench = Bench(server, Path(name), _say)
        check_room(bench.folder, chosen, [*asked.growth, *asked.resume, *([documents] if asked.workers else [])])
        results = Results(
            server=server.version,
            is_sandbox=server.is_sandbox,
            cpus=os.cpu_count() or 1,
            python=platform.python_version(),
            load_before=os.getloadavg()[0],
            rounds=rounds,
        )
        for plan in chosen:
            if plan.kind in backups.KINDS:
                results.cases.append(backups.run(bench, plan, peers, rounds))
                continue
            if plan.kind == again.KIND:
                results.cases.append(again.run(bench, plan, peers, rounds))
                continue
            contenders = loaders(peers) if plan.kind == "load" else readers(peers)
            results.cases.append(bench.run(plan, contenders, rounds))
        if asked.start:
            results.rows["Start"] = starts(bench)
        if asked.growth:
            results.rows[f"Growth, 820 B, {asked.growth_ids} ids"] = list(
                growth(bench, asked.growth, asked.growth_ids)
            )
        if asked.resume:
            results.rows[f"Resume at 95%, {asked.resume_bytes} B"] = list(
                resumes(bench, asked.resume, asked.resume_bytes)
            )
        if asked.workers:
            results.rows["Workers of Dask, 820 B, sorted ids"] = list(workers(bench, asked.workers, documents))
        results.load_after = os.getloadavg()[0]
    return results


def _warn_of_load() -> None:
    load = os.getloadavg()[0]
    if load > QUIET_LOAD * (os.cpu_count() or 1):
        print(f"WARNING: the load is {load:.1f} already; trust ratios, and those little.", file=sys.stderr)


def _sizes(text: str) -> list[int]:
    return [int(part.replace("_", "")) for part in text.split(",")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
