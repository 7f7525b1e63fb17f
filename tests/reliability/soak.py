"""Runs every job that fills a database through faults and kills of either side, and counts what was lost unsaid.

Each run must end with 0 and everything there, or with another code and a word about it, within a bounded time.
"""

from __future__ import annotations

import argparse
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

import urllib3

from migrator.sandbox import Sandbox
from tests import support
from tests.reliability.soak_chaos import SPELLS, Chaos
from tests.reliability.soak_jobs import JOBS, MIGRATOR, PATIENCE, Job, Load, Restore
from tests.support.fault_proxy import FaultProxy

# A run that goes on for longer is held up by a fault that it should have given up on.
MAX_RUN_S = 180.0
# Done, rejected, out of reach, another target, killed; and 2 where a stranger's documents are in the way.
EXPECTED = {0, 3, 5, 6, -9}
STRANGER = "a stranger's"


@dataclass
class Tally:
    """What was tried, and what came of it."""

    rounds: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    documents: int = 0
    kills_of_migrator: int = 0
    kills_of_server: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    spared: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    excess_revisions: int = 0
    blamed: int = 0
    unsaid: int = 0
    hung: int = 0

    @property
    def bad(self) -> bool:
        """True when a promise was broken."""
        found = (self.lost, self.doubled, self.excess_revisions, self.blamed, self.unsaid, self.hung)
        return any(found)

    def table(self) -> str:
        """The numbers for people."""
        lines = [
            ("rounds", sum(self.rounds.values())),
            *((f"  {name}", count) for name, count in sorted(self.rounds.items())),
            ("runs of migrator", self.runs),
            *((f"  ended with {code}", count) for code, count in sorted(self.codes.items())),
            ("documents", self.documents),
            ("faults injected", sum(self.faults.values())),
            *((f"  {name}", count) for name, count in sorted(self.faults.items())),
            *((f"rounds without {name}", count) for name, count in sorted(self.spared.items())),
            *sorted(self.happened.items()),
            ("kills of migrator", self.kills_of_migrator),
            ("kills of the server", self.kills_of_server),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("revisions in excess", self.excess_revisions),
            ("blamed on documents", self.blamed),
            ("ended without a word", self.unsaid),
            ("did not end", self.hung),
        ]
        return "\n".join(f"{name:<26}{count:>10,}" for name, count in lines)


@dataclass
class Server:
    """A server that can be killed and started again, wholly or one node of it, or one that is left alone."""

    url: str
    kill: Callable[[], None] | None = None
    start: Callable[[], None] | None = None
    others_answer: bool = False


def main() -> int:
    """Run the soak; 0 when nothing was lost, doubled or rewritten."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0, help="0 takes a new one and prints it")
    parser.add_argument("--job", choices=JOBS, action="append", help="only this one; may be given again")
    parser.add_argument("--without", metavar="FAULT", action="append", default=[], help="leave this fault out")
    parser.add_argument("--kill-command", help="ends the server of COUCHDB_TEST_URL at once")
    parser.add_argument("--start-command", help="starts it again and returns when it answers")
    parser.add_argument("--one-of-several", action="store_true", help="they are for one node of a cluster")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 31)
    print(f"seed {seed}", flush=True)
    tally = Tally()
    names = options.job or list(JOBS)
    with tempfile.TemporaryDirectory() as folder:
        server, sandbox = _server(options, Path(folder))
        try:
            deadline = time.monotonic() + options.minutes * 60
            number = 0
            while (time.monotonic() < deadline or number < len(names)) and not tally.bad:
                kind = names[number % len(names)]
                place = Path(folder) / str(number)
                _round(tally, server, random.Random(seed + number), place, kind, options.without)
                number += 1
                print(
                    f"round {number}, {kind}: {tally.documents:,} documents, {sum(tally.faults.values())} faults, "
                    f"{sum(tally.happened.values())} databases replaced, "
                    f"{tally.kills_of_migrator} + {tally.kills_of_server} kills, {tally.lost} lost",
                    flush=True,
                )
        finally:
            if sandbox is not None:
                sandbox.stop()
    print(tally.table())
    return 1 if tally.bad else 0


def _server(options: argparse.Namespace, folder: Path) -> tuple[Server, Sandbox | None]:
    url = os.environ.get("COUCHDB_TEST_URL")
    if url:
        kill = start = None
        if options.kill_command and options.start_command:
            kill = lambda: _call(options.kill_command)  # noqa: E731
            start = lambda: _call(options.start_command)  # noqa: E731
        return Server(url.rstrip("/"), kill, start, options.one_of_several), None
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


def _round(tally: Tally, server: Server, rng: random.Random, folder: Path, kind: str, without: list[str]) -> None:
    """Fill one database until it is done, spoiling what can be spoiled, and compare."""
    folder.mkdir()
    make, count = JOBS[kind]
    job = make(server.url, f"soak_{uuid.uuid4().hex[:10]}", folder, rng, count)
    job.begin()
    chaos = Chaos(job.target, rng, requests=job.requests, replacing=rng.random() < 0.7, without=without)
    flag = "--resume" if job.after(5) else ""
    with FaultProxy(server.url, chaos, half_open_s=2.0) as proxy:
        while not tally.bad:
            code = _run(tally, proxy, server, rng, job, flag)
            if code == 0:
                # At once: what happens later is not a fault of a run that has ended.
                _compare(tally, job, chaos)
                if not job.rounds_left:
                    break
                job.change()
            flag = job.after(code)
        tally.faults.update(proxy.injected)
        tally.spared.update(name for name, faults in SPELLS.items() if not proxy.injected.keys() & faults)
    tally.happened.update(chaos.happened)
    tally.rounds[kind] += 1
    tally.documents += len(job.documents)
    job.remove()


def _compare(tally: Tally, job: Job, chaos: Chaos) -> None:
    """What is there after a run that said that all is."""
    support.settle(job.server, job.name)
    stored = support.get(f"{job.target}/_all_docs?include_docs=true")["rows"]
    by_id = Counter(row["id"] for row in stored)
    lost = job.lost({row["id"]: row["doc"] for row in stored})
    if lost:
        print(f"{lost} of {len(job.documents)} documents are not there, and the run ended with 0", flush=True)
    tally.lost += lost
    tally.doubled += sum(count - 1 for count in by_id.values())
    tally.doubled += len(by_id.keys() - job.documents.keys() - {STRANGER})
    if isinstance(job, Load) and not chaos.happened:
        tally.excess_revisions += sum(not row["value"]["rev"].startswith("1-") for row in stored)


def _run(tally: Tally, proxy: FaultProxy, server: Server, rng: random.Random, job: Job, flag: str) -> int:
    """One run of the command, killed with a probability of a half at some request; its exit code."""
    command = [*MIGRATOR, *job.arguments(proxy.url), *PATIENCE, *([flag] if flag else [])]
    tally.runs += 1
    process = subprocess.Popen(
        command, cwd=job.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
    reader.start()
    may_die = job.survives_the_sandbox or "COUCHDB_TEST_URL" in os.environ
    if server.kill and server.start and may_die and rng.random() < 0.4 and _gets_on(process, proxy, rng, job):
        server.kill()
        if not server.others_answer and _is_up(server):
            raise SystemExit("the server answers after it was killed, so it was another one")
        tally.kills_of_server += 1
        server.start()
    if rng.random() < 0.5 and _gets_on(process, proxy, rng, job):
        process.kill()
        tally.kills_of_migrator += 1
    try:
        code = process.wait(MAX_RUN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
        tally.hung += 1
    reader.join()
    _judge(tally, job, code, "".join(errors[-20:]))
    return code


def _gets_on(process: subprocess.Popen[str], proxy: FaultProxy, rng: random.Random, job: Job) -> bool:
    """Wait for some more requests of a run, on a busy machine as on an idle one; False when it ends before."""
    wanted = len(proxy.requests) + rng.randrange(1, job.requests)
    deadline = time.monotonic() + MAX_RUN_S
    while len(proxy.requests) < wanted and time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.05))
    return process.poll() is None


def _judge(tally: Tally, job: Job, code: int, said: str) -> None:
    """A run that did not do everything says so, with a code that fits, and blames no document."""
    tally.codes[code] += 1
    in_the_way = code == 2 and "holds" in said and isinstance(job, Restore)
    if code not in EXPECTED and not in_the_way:
        print(said, flush=True)
        raise SystemExit(f"{job.name} ended with {code}")
    if code == 3:
        print(said, flush=True)
        tally.blamed += 1
    if code not in {0, -9} and "Error" not in said:
        print(f"ended with {code}, and said: {said!r}", flush=True)
        tally.unsaid += 1


if __name__ == "__main__":
    sys.exit(main())
