"""Loads through faults and kills of either side for some minutes, and counts what was lost or doubled."""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from migrator.sandbox import Sandbox
from tests import support
from tests.fault_proxy import FaultProxy, at_random

DOCUMENTS_PER_ROUND = 4_000
FAULT_PROBABILITY = 0.08


@dataclass
class Tally:
    """What was tried, and what came of it."""

    rounds: int = 0
    runs: int = 0
    documents: int = 0
    kills_of_migrator: int = 0
    kills_of_server: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    excess_revisions: int = 0

    def table(self) -> str:
        """The numbers for people."""
        lines = [
            ("rounds", self.rounds),
            ("runs of migrator", self.runs),
            ("documents", self.documents),
            ("faults injected", sum(self.faults.values())),
            *((f"  {name}", count) for name, count in sorted(self.faults.items())),
            ("kills of migrator", self.kills_of_migrator),
            ("kills of the server", self.kills_of_server),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("revisions in excess", self.excess_revisions),
        ]
        return "\n".join(f"{name:<22}{count:>10,}" for name, count in lines)


@dataclass
class Server:
    """A server that can be killed and started again, or one that is left alone."""

    url: str
    kill: Callable[[], None] | None = None
    start: Callable[[], None] | None = None


def main() -> int:
    """Run the soak; 0 when nothing was lost, doubled or rewritten."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0, help="0 takes a new one and prints it")
    parser.add_argument("--kill-command", help="ends the server of COUCHDB_TEST_URL at once")
    parser.add_argument("--start-command", help="starts it again and returns when it answers")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 31)
    print(f"seed {seed}", flush=True)
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        server, sandbox = _server(options, Path(folder))
        try:
            deadline = time.monotonic() + options.minutes * 60
            while time.monotonic() < deadline or not tally.rounds:
                _round(tally, server, random.Random(seed + tally.rounds), Path(folder) / str(tally.rounds))
                print(
                    f"round {tally.rounds}: {tally.documents:,} documents, {sum(tally.faults.values())} faults, "
                    f"{tally.kills_of_migrator} + {tally.kills_of_server} kills, "
                    f"{tally.lost} lost, {tally.doubled} doubled, {tally.excess_revisions} in excess",
                    flush=True,
                )
        finally:
            if sandbox is not None:
                sandbox.stop()
    print(tally.table())
    return 1 if tally.lost or tally.doubled or tally.excess_revisions else 0


def _server(options: argparse.Namespace, folder: Path) -> tuple[Server, Sandbox | None]:
    url = os.environ.get("COUCHDB_TEST_URL")
    if url:
        kill = start = None
        if options.kill_command and options.start_command:
            kill = lambda: _call(options.kill_command)  # noqa: E731
            start = lambda: _call(options.start_command)  # noqa: E731
        return Server(url.rstrip("/"), kill, start), None
    sandbox = Sandbox(folder=folder / "server")
    sandbox.start()
    return Server(sandbox.url, sandbox.kill, sandbox.restart), sandbox


def _call(command: str) -> None:
    done = subprocess.run(shlex.split(command), check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}, so nothing can be said of kills")


def _is_up(server: Server) -> bool:
    try:
        return support.request("GET", server.url)[0] == 200
    except urllib3.exceptions.HTTPError:
        return False


def _round(tally: Tally, server: Server, rng: random.Random, folder: Path) -> None:
    """Load one collection until it is done, spoiling what can be spoiled, and compare."""
    folder.mkdir()
    name = f"soak_{uuid.uuid4().hex[:10]}"
    documents = _write_source(folder / "source", name, rng)
    plan = at_random(rng.randrange(1 << 30), FAULT_PROBABILITY)
    with FaultProxy(server.url, plan, half_open_s=2.0) as proxy:
        while True:
            code = _run(tally, proxy, server, rng, folder)
            if code == 0:
                break
        tally.faults.update(proxy.injected)
    stored = support.get(f"{server.url}/{name}/_all_docs?include_docs=true")["rows"]
    by_id = Counter(row["id"] for row in stored)
    tally.rounds += 1
    tally.documents += len(documents)
    found = {row["id"]: row["doc"] for row in stored}
    for document in documents:
        there = dict(found.get(document["_id"], {}))
        rev = there.pop("_rev", "")
        tally.lost += there != document
        tally.excess_revisions += bool(rev) and not rev.startswith("1-")
    tally.doubled += sum(count - 1 for count in by_id.values()) + len(by_id.keys() - {d["_id"] for d in documents})
    support.request("DELETE", f"{server.url}/{name}")


def _write_source(folder: Path, name: str, rng: random.Random) -> list[dict[str, Any]]:
    folder.mkdir()
    ids = [
        f"{n:06}" if rng.random() < 0.5 else f"{n:06}-{rng.getrandbits(64):x}" for n in range(DOCUMENTS_PER_ROUND)
    ]
    documents = [{"_id": id, "n": n, "text": "Zoë " * rng.randrange(60)} for n, id in enumerate(ids)]
    with (folder / f"{name}.ndjson").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    return documents


def _run(tally: Tally, proxy: FaultProxy, server: Server, rng: random.Random, folder: Path) -> int:
    """One run of the command, killed with a probability of a half at some moment; its exit code."""
    command = [sys.executable, "-m", "migrator", "run", "--from", "source", "--to", proxy.url, "--resume"]
    command += ["--checkpoint", "checkpoint.json", "--batch-docs", str(rng.choice([10, 50, 500])), "-q"]
    command += ["--timeout", "1.5", "--max-attempts", "6", "--in-flight", str(rng.choice([1, 4, 8]))]
    tally.runs += 1
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
    reader.start()
    if server.kill and server.start and rng.random() < 0.4:
        time.sleep(rng.uniform(0.3, 1.5))
        server.kill()
        if _is_up(server):
            raise SystemExit("the server answers after it was killed, so it was another one")
        tally.kills_of_server += 1
        server.start()
    if rng.random() < 0.5:
        try:
            process.wait(rng.uniform(0.2, 1.5))
        except subprocess.TimeoutExpired:
            process.kill()
            tally.kills_of_migrator += 1
    code = process.wait()
    reader.join()
    if code not in {0, 5, -9}:
        print("".join(errors[-20:]), flush=True)
        raise SystemExit(f"the command ended with {code}")
    return code


if __name__ == "__main__":
    sys.exit(main())
