"""Kill the move of a server anywhere and go on: nothing is missing, nothing is counted twice."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.support import whole_server
from tests.support.processes import LIMIT_S, ended, wait_until
from tests.support.whole_server import Pair

KILLS = 6
MIGRATOR = [sys.executable, "-m", "migrator"]


@pytest.fixture
def environ() -> dict[str, str]:
    """An environment without credentials of the developer's own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COUCHDB_")}


def plan(pair: Pair, folder: Path, environ: dict[str, str]) -> None:
    """Make the plan `plan.json`."""
    command = [*MIGRATOR, "plan-server", *pair.arguments, "--no-users", "--no-probe", "--output", "plan.json"]
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr


def apply(pair: Pair, *flags: str) -> list[str]:
    """What is typed to do it, in small batches."""
    command = [*MIGRATOR, "apply", "plan.json", "--from", pair.source, "--to", pair.target, "--quiet"]
    return [*command, "--batch-docs", "5", "--side-by-side", "3", "--report", "report.json", *flags]


def test_a_move_survives_kills(pair: Pair, tmp_path: Path, environ: dict[str, str]) -> None:
    """After kills at random moments the last run accounts for every leaf once, and both sides are the same."""
    names = whole_server.odd_names(pair.source_prefix, is_couchdb=pair.is_couchdb)[:8]
    whole_server.fill(pair.source, names, is_couchdb=pair.is_couchdb, documents=150)
    plan(pair, tmp_path, environ)
    rng = random.Random(7)
    checkpoint = tmp_path / "plan.json.checkpoint"
    settled: list[int] = []
    while True:
        words = apply(pair, "--resume")
        with ended(subprocess.Popen(words, cwd=tmp_path, env=environ, stderr=subprocess.PIPE)) as process:
            before = settled[-1] if settled else 0
            if len(settled) == KILLS or not _gets_into_the_middle(process, checkpoint, before):
                _, errors = process.communicate(timeout=LIMIT_S)
                break
            time.sleep(rng.uniform(0, 0.3))
        settled.append(_settled(checkpoint))
    assert process.returncode == 0, errors
    assert len(settled) >= 2, "too fast to be killed in the middle"
    assert settled == sorted(settled)
    report = json.loads((tmp_path / "report.json").read_text())
    leaves = sum(len(whole_server.state(pair.source, name)["leaves"]) for name in names)
    assert report["totals"]["read"] == leaves
    assert report["totals"]["written"] + report["totals"]["unchanged"] == leaves
    whole_server.assert_same(pair, names)
    whole_server.assert_queries(pair, names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "report.json"]


def _states(checkpoint: Path) -> list[dict[str, Any]]:
    return list(json.loads(checkpoint.read_text())["collections"].values()) if checkpoint.exists() else []


def _settled(checkpoint: Path) -> int:
    return sum(state["counts"]["read"] for state in _states(checkpoint))


def _gets_into_the_middle(process: subprocess.Popen[bytes], checkpoint: Path, before: int) -> bool:
    """Wait until the checkpoint has gone on and names a place inside a database; False when all is done first."""

    def inside() -> bool:
        found = any(state["position"] and not state["finished"] for state in _states(checkpoint))
        return found and _settled(checkpoint) > before

    wait_until(lambda: process.poll() is not None or inside(), timeout_s=LIMIT_S, pause_s=0.01)
    return process.poll() is None


def test_an_interrupted_move_is_not_started_over_by_mistake(
    pair: Pair, tmp_path: Path, environ: dict[str, str]
) -> None:
    """Without --resume the checkpoint is in the way (6), two at a time are too many (7), and --restart goes."""
    names = whole_server.odd_names(pair.source_prefix, is_couchdb=pair.is_couchdb)[:4]
    whole_server.fill(pair.source, names, is_couchdb=pair.is_couchdb, documents=300)
    plan(pair, tmp_path, environ)

    def begun() -> bool:
        return any(name.startswith(pair.target_prefix) for name in support.get(f"{pair.target}/_all_dbs"))

    with ended(subprocess.Popen(apply(pair), cwd=tmp_path, env=environ)) as process:
        wait_until(begun, process=process)
        # It stands still, so that it is under way for certain when the second one comes.
        process.send_signal(signal.SIGSTOP)
        second = subprocess.run(
            apply(pair), cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        assert second.returncode == 7, second.stderr
    again = subprocess.run(
        apply(pair), cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert again.returncode == 6, again.stderr
    assert "--resume" in again.stderr
    command = apply(pair, "--restart")
    restarted = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert restarted.returncode == 0, restarted.stderr
    whole_server.assert_same(pair, names)


def test_a_target_that_somebody_removed_is_told(pair: Pair, tmp_path: Path, environ: dict[str, str]) -> None:
    """Where what the move had made is gone, going on would leave a hole."""
    names = whole_server.odd_names(pair.source_prefix, is_couchdb=pair.is_couchdb)[:2]
    whole_server.fill(pair.source, names, is_couchdb=pair.is_couchdb, documents=1_500)
    plan(pair, tmp_path, environ)
    with ended(subprocess.Popen(apply(pair), cwd=tmp_path, env=environ)) as process:
        wait_until(lambda: _settled(tmp_path / "plan.json.checkpoint") > 0, process=process)
    for name in names:
        support.request("DELETE", whole_server.url_of(pair.target, pair.at_target(name)))
    command = apply(pair, "--resume")
    resumed = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert resumed.returncode == 6, resumed.stderr
    # A request of the killed one, still on its way, can make an empty database again.
    said = r"is (gone|another one now): it was deleted or replaced since this job began"
    assert re.search(said, resumed.stderr), resumed.stderr
