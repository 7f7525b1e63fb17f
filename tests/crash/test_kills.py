"""The command is killed with SIGKILL at random moments and run again with --resume until it is done."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.support.processes import LIMIT_S, ended, wait_until

pytestmark = pytest.mark.usefixtures("no_credentials")
DOCUMENTS = 6_000
# A fast machine is through before the last of them.
KILLS = 5
# On a loaded machine a checkpoint takes long and is written seldom, and a folder is full before we had our turn to
# kill: this one is written often all the same, by a process that lets us go first.
OFTEN = (
    "import runpy, migrator.pipeline.loop; migrator.pipeline.loop.SAVING_SHARE = 1e9; "
    "runpy.run_module('migrator', run_name='__main__')"
)
LETS_US_GO_FIRST = ["nice", "-n", "19", sys.executable, "-c", OFTEN]


def make_documents(count: int = DOCUMENTS, *, ordered: bool) -> list[dict[str, Any]]:
    """Documents with ids in order, or in none."""
    rng = random.Random(5)
    ids = [f"d{n:06}" if ordered else f"{rng.getrandbits(96):x}" for n in range(count)]
    return [{"_id": id, "n": n, "text": "Zoë " * (n % 20)} for n, id in enumerate(ids)]


def write_source(folder: Path, name: str, documents: list[dict[str, Any]]) -> None:
    """An NDJSON folder, with three lines that are not documents."""
    folder.mkdir()
    lines = [json.dumps(document) for document in documents]
    for place in (17, 2_500, 5_900):
        lines.insert(place, '{"_id": "torn')
    (folder / f"{name}.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")


def command(url: str, *more: str) -> list[str]:
    """A run in small batches with everything that is kept on disk."""
    base = [sys.executable, "-m", "migrator", "run", "--from", "source", "--to", url, "--checkpoint", "cp.json"]
    return [*base, "--rejects", "rejects.ndjson", "--report", "report.json", "--batch-docs", "20", "-q", *more]


def settled(folder: Path) -> int:
    """Documents that the checkpoint vouches for."""
    try:
        states = json.loads((folder / "cp.json").read_text())["collections"].values()
    except (OSError, ValueError):
        return 0
    return sum(state["counts"]["read"] for state in states)


def finished(folder: Path) -> bool:
    """True when the checkpoint says that the job is done."""
    try:
        return bool(json.loads((folder / "cp.json").read_text())["finished"])
    except (OSError, ValueError):
        return False


@pytest.mark.parametrize(
    ("kind", "ordered", "sort"),
    [
        ("server", True, "auto"),
        ("server", False, "always"),
        ("server", False, "always with workers"),
        ("folder", True, "auto"),
    ],
    ids=["server", "server, sorted first", "server, transformed elsewhere and sorted", "folder"],
)
def test_every_document_is_there_once_after_any_kills(
    kind: str, ordered: bool, sort: str, tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """Whatever moments the kills meet, nothing is lost or doubled, in the target or in the reject file."""
    name = f"{database_prefix}a"
    # So many that a fast machine is not through before four kills; a folder takes them faster than a server.
    count = 2 * DOCUMENTS if kind == "server" else 20 * DOCUMENTS
    documents = make_documents(count, ordered=ordered)
    write_source(tmp_path / "source", name, documents)
    url = server_url if kind == "server" else "out"
    rng = random.Random(f"{kind}{ordered}")
    kills = 0
    carried = 0
    flags = ["--resume", "--sort", sort.partition(" ")[0]]
    if "workers" in sort:
        flags += ["--transform", "drop:nothing.there", "--transform-workers", "2"]
    while True:
        line = command(url, *flags)
        if kind == "folder":
            line[:3] = LETS_US_GO_FIRST
        with ended(subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL)) as process:
            if kills < KILLS:
                # Wait for a little progress, so that the loop ends, and then for some moment.
                until = settled(tmp_path) + rng.randrange(1, count // 10)
                deadline = time.monotonic() + 20
                while process.poll() is None and settled(tmp_path) < until and time.monotonic() < deadline:
                    time.sleep(0.002)
                time.sleep(rng.random() * 0.03)
                # It stands still while we look: a kill after its last checkpoint would meet a job that is done.
                process.send_signal(signal.SIGSTOP)
                if process.poll() is None and not finished(tmp_path):
                    process.kill()
                    kills += 1
                process.send_signal(signal.SIGCONT)
            code = process.wait(LIMIT_S)
        if code != -signal.SIGKILL:
            break
        carried = max(carried, settled(tmp_path))
    assert 3 == code
    assert kills >= 4
    report = json.loads((tmp_path / "report.json").read_text())
    read = report["totals"]["read"]
    assert read + report["settled_before"]["read"] == count + 3
    assert read < count
    rejects = (tmp_path / "rejects.ndjson").read_text().splitlines()
    assert 3 == len(rejects)
    if kind == "server":
        stored = support.documents(server_url, name)
        assert {document["_id"]: document for document in documents} == support.plain(stored)
        assert {"1"} == {document["_rev"].partition("-")[0] for document in stored.values()}
        assert not list(tmp_path.glob("*.spool*"))
    else:
        lines = (tmp_path / "out" / f"{name}.ndjson").read_text().splitlines()
        assert documents == [json.loads(line) for line in lines]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_signal_settles_and_saves(
    number: signal.Signals, tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """SIGINT and SIGTERM end with 130, what was in flight is settled, and nothing is sent twice afterwards."""
    name = f"{database_prefix}a"
    write_source(tmp_path / "source", name, make_documents(ordered=True))
    words = command(server_url, "--resume")
    with ended(subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)) as process:
        wait_until(lambda: settled(tmp_path) >= 200, pause_s=0.005, process=process)
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=60)
    assert 130 == process.returncode, errors
    assert "--resume" in errors
    before = settled(tmp_path)
    assert len(support.documents(server_url, name)) == before - sum(
        line in (17, 2500, 5900) for line in range(before)
    )
    done = subprocess.run(
        command(server_url, "--resume"), cwd=tmp_path, capture_output=True, check=False, timeout=LIMIT_S
    )
    assert 3 == done.returncode
    totals = json.loads((tmp_path / "report.json").read_text())["totals"]
    assert (0, DOCUMENTS + 3 - before) == (totals["unchanged"], totals["read"])


def test_a_second_run_at_once_is_refused(tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """While a run holds its checkpoint, another is told so; after a kill, the lock is free."""
    write_source(tmp_path / "source", f"{database_prefix}a", make_documents(ordered=True))
    words = command(server_url, "--resume")
    with ended(subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL)) as process:
        wait_until(lambda: settled(tmp_path) >= 100, pause_s=0.005, process=process)
        process.send_signal(signal.SIGSTOP)
        second = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert 7 == second.returncode
    assert str(process.pid) in second.stderr
    third = subprocess.run(
        command(server_url, "--resume"), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert 3 == third.returncode, third.stderr


def test_a_server_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    """The run waits for the server, finds out what was written before it died, and sends the rest."""
    from migrator.sandbox import Sandbox  # this test needs a server of its own

    write_source(tmp_path / "source", "a", make_documents(ordered=True))
    with Sandbox(folder=tmp_path / "server") as sandbox:
        words = command(sandbox.url, "--resume")
        with ended(subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL)) as process:
            wait_until(lambda: settled(tmp_path) >= 400, pause_s=0.005, process=process)
            sandbox.kill()
            time.sleep(0.3)
            sandbox.restart()
            assert 3 == process.wait(120)
        stored = support.documents(sandbox.url, "a")
    assert DOCUMENTS == len(stored)
    assert {"1"} == {document["_rev"].partition("-")[0] for document in stored.values()}
