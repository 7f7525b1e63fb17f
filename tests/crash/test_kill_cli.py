"""Kill the command at any moment and go on: every document is there once, and nothing settled is read again."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import LIMIT_S, SOON_S, ended, wait_until

DOCUMENTS = {"accounts": 6_000, "zebras": 4_000}


@dataclass
class Job:
    """A job from a folder of NDJSON to another, in a folder of its own.

    Args:
        folder: where it runs.
        documents: what the target must hold in the end.
        torn: how many lines of the source are not documents.
        flags: further arguments.
    """

    folder: Path
    documents: dict[str, list[dict[str, Any]]]
    torn: int = 0
    flags: Sequence[str] = ()

    @property
    def command(self) -> list[str]:
        """What is typed, but for --resume."""
        command = [
            sys.executable,
            "-m",
            "migrator",
            "run",
            "--from",
            "in",
            "--to",
            "out",
            "--checkpoint",
            "job.json",
        ]
        return [*command, "--rejects", "rejects.ndjson", "--report", "-", "--batch-docs", "1", *self.flags]

    def start(self, *flags: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Begin a run, which ends with the block at the latest."""
        pipe = subprocess.PIPE
        words = [*self.command, *flags]
        return ended(subprocess.Popen(words, cwd=self.folder, stdout=pipe, stderr=pipe, text=True))

    def finish(self, *flags: str) -> tuple[int, dict[str, Any], str]:
        """A whole run: its exit code, report and standard error."""
        with self.start(*flags) as process:
            out, err = process.communicate(timeout=LIMIT_S)
        return process.returncode, json.loads(out) if out else {}, err

    @property
    def written_bytes(self) -> int:
        """How far the target is."""
        return sum(path.stat().st_size for path in _present(self.folder / "out"))

    @property
    def whole_bytes(self) -> int:
        """How much the target holds in the end."""
        return sum(len(line_of(document)) for documents in self.documents.values() for document in documents)

    def wait_until(self, process: subprocess.Popen[str], written_bytes: int) -> bool:
        """Wait until the target is so far; False when the process ended before."""
        wait_until(
            lambda: self.written_bytes >= written_bytes or process.poll() is not None,
            timeout_s=LIMIT_S,
            pause_s=0.001,
        )
        return process.poll() is None

    def check(self) -> None:
        """Every document is there once, in its place; every torn line is a reject once; nothing else is left."""
        found = {
            path.stem: [json.loads(line) for line in path.read_bytes().splitlines()]
            for path in _present(self.folder / "out")
        }
        assert self.documents == found
        rejects = self.folder / "rejects.ndjson"
        lines = [json.loads(line) for line in rejects.read_bytes().splitlines()] if rejects.exists() else []
        assert self.torn == len(lines)
        assert self.torn == len({line["reason"] for line in lines})
        left = {path.name for path in self.folder.iterdir()} - {"in", "out", "job.json", "rejects.ndjson"}
        assert left == set()


def _present(folder: Path) -> list[Path]:
    """The files of a folder that may not be there yet, while files in it come and go."""
    try:
        return [path for path in folder.iterdir() if path.exists()]
    except FileNotFoundError:
        return []


def line_of(document: dict[str, Any]) -> bytes:
    """A document as the target holds it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def make_job(folder: Path, *, torn_every: int = 0, packed: bool = False, flags: Sequence[str] = ()) -> Job:
    """A source of two collections."""
    (folder / "in").mkdir()
    documents: dict[str, list[dict[str, Any]]] = {}
    torn = 0
    for name, count in DOCUMENTS.items():
        documents[name] = [
            {"_id": f"{name}-{number:05}", "n": number, "text": "zoë " * (number % 9)} for number in range(count)
        ]
        lines = []
        for number, document in enumerate(documents[name]):
            if torn_every and number % torn_every == torn_every - 1:
                lines.append(b'{"_id": "torn %d\n' % number)
                torn += 1
            lines.append(line_of(document))
        text = b"".join(lines)
        suffix = ".ndjson.gz" if packed else ".ndjson"
        (folder / "in" / f"{name}{suffix}").write_bytes(gzip.compress(text, 1) if packed else text)
    return Job(folder, documents, torn, flags)


@pytest.mark.parametrize(
    ("seed", "kills", "torn_every", "packed", "flags"),
    [
        (1, 5, 0, False, []),
        (2, 4, 100, False, ["--in-flight", "1"]),
        (3, 4, 250, True, ["--transform", "where:n"]),
    ],
    ids=["plain", "with rejects", "packed and transformed"],
)
def test_a_job_that_is_killed_again_and_again(
    tmp_path: Path, seed: int, kills: int, torn_every: int, packed: bool, flags: list[str]
) -> None:
    """Killed at random places, the job ends as if nothing had been."""
    chance = random.Random(seed)
    job = make_job(tmp_path, torn_every=torn_every, packed=packed, flags=flags)
    if flags[:1] == ["--transform"]:
        # 0 is not true, so the first of each collection is filtered out.
        job.documents = {name: documents[1:] for name, documents in job.documents.items()}
    places = sorted(chance.uniform(0.0, 0.95) * job.whole_bytes for _ in range(kills))
    killed = 0
    for place in places:
        with job.start("--resume") as process:
            job.wait_until(process, int(place))
            # Not always right after a write.
            time.sleep(chance.uniform(0.0, 0.02))
        killed += process.returncode == -signal.SIGKILL
    assert killed >= kills // 2
    states = json.loads((tmp_path / "job.json").read_text())["collections"].values()
    settled = sum(state["counts"]["read"] for state in states)
    code, report, err = job.finish("--resume")
    assert (code, "Traceback" in err) == (3 if job.torn else 0, False)
    job.check()
    assert 0 < settled
    read = report["settled_before"]["read"] + report["totals"]["read"]
    assert read == sum(DOCUMENTS.values()) + job.torn
    # What the last kill had left settled was not read again.
    assert report["settled_before"]["read"] == settled
    assert job.finish("--resume")[1]["totals"]["unchanged"] == sum(map(len, job.documents.values()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    """It ends with 130 when all is settled and saved, says how to go on, and the next run does the rest."""
    job = make_job(tmp_path)
    with job.start() as process:
        assert job.wait_until(process, job.whole_bytes // 5)
        process.send_signal(number)
        out, err = process.communicate(timeout=SOON_S)
    assert (process.returncode, out) == (130, "")
    assert "--resume" in err
    assert "Traceback" not in err
    settled = json.loads((tmp_path / "job.json").read_text())["collections"]["accounts"]["counts"]["read"]
    # What is in the file is what is settled: nothing more was sent, nothing less was saved.
    (part,) = (tmp_path / "out").iterdir()
    assert settled == len(part.read_bytes().splitlines()) > 0
    code, report, _ = job.finish("--resume")
    assert code == 0
    assert settled == report["settled_before"]["read"]
    assert settled + report["totals"]["read"] == sum(DOCUMENTS.values())
    job.check()


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    """While one holds the checkpoint, another ends with 7 and names it; the first is not disturbed."""
    job = make_job(tmp_path)
    with job.start() as process:
        assert job.wait_until(process, 1)
        os.kill(process.pid, signal.SIGSTOP)
        for flag in ("--resume", "--restart"):
            code, report, err = job.finish(flag)
            assert (code, report) == (7, {})
            assert f"process {process.pid}" in err
            assert "Traceback" not in err
        os.kill(process.pid, signal.SIGCONT)
        process.communicate(timeout=SOON_S)
    assert process.returncode == 0
    job.check()


def test_a_job_that_was_killed_is_not_begun_by_mistake(tmp_path: Path) -> None:
    """Without --resume or --restart the checkpoint that a kill left is in the way; --restart starts over."""
    job = make_job(tmp_path)
    with job.start() as process:
        assert job.wait_until(process, job.whole_bytes // 3)
    code, _, err = job.finish()
    assert code == 6
    assert "--resume" in err
    assert "--restart" in err
    code, report, _ = job.finish("--restart")
    assert code == 0
    assert report["totals"]["read"] == sum(DOCUMENTS.values())
    job.check()
