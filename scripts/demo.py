"""Runs the demo: migrate, kill in the middle, resume, run again, verify."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from migrator.sandbox import Sandbox

SOURCE = "memory:demo_app:service"
KILL_AFTER_DOCUMENTS = 12_000


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The server to move to: DEMO_URL, or a sandbox."""
    if url := os.environ.get("DEMO_URL"):
        yield url
        return
    say("Starting a sandbox server (the first time, its packages are installed) ...")
    with Sandbox(in_memory=True) as sandbox:
        yield sandbox.url


def say(text: str) -> None:
    """Tell what happens, apart from the command's own output."""
    print(f"\n=== {text}", flush=True)


def command(*args: str) -> list[str]:
    """The command line of a migrator call."""
    return [sys.executable, "-m", "migrator", *args]


def settled(checkpoint: Path) -> int:
    """Documents that a checkpoint vouches for."""
    try:
        states = json.loads(checkpoint.read_text(encoding="utf-8"))["collections"].values()
    except (OSError, ValueError, KeyError):
        return 0
    return sum(state["counts"]["read"] for state in states)


def main() -> int:
    """Go through the acts of the demo; 0 when every number is as it must be."""
    here = Path(__file__).resolve().parent
    environ = {**os.environ, "PYTHONPATH": str(here)}
    with server() as url, tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        checkpoint, first, second = work / "demo.json", work / "first.json", work / "second.json"
        job = ["run", "--from", SOURCE, "--to", url, "--checkpoint", str(checkpoint), "--log-level", "warning"]
        environ["COUCHDB_URL"] = url

        say("What would happen: migrator plan")
        subprocess.run(command("plan", "--from", SOURCE, "--to", url), env=environ, cwd=work, check=True)

        say("Moving, and killing the process (SIGKILL) in the middle")
        process = subprocess.Popen(command(*job, "--restart"), env=environ, cwd=work, stdout=subprocess.DEVNULL)
        while process.poll() is None and settled(checkpoint) < KILL_AFTER_DOCUMENTS:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = settled(checkpoint)
        print(f"killed; the checkpoint vouches for {before:,} documents")
        subprocess.run(command("status", str(checkpoint)), env=environ, cwd=work, check=True)

        say("Going on with --resume")
        subprocess.run(command(*job, "--resume", "--report", str(first)), env=environ, cwd=work, check=True)

        say("Running it once more: nothing is written")
        subprocess.run(command(*job, "--restart", "--report", str(second)), env=environ, cwd=work, check=True)

        say("Comparing every document: migrator verify")
        subprocess.run(
            command("verify", "--from", SOURCE, "--to", url, "--log-level", "warning"),
            env=environ,
            cwd=work,
            check=True,
        )
        resumed, again = (json.loads(path.read_text())["totals"] for path in (first, second))
        total = again["read"]
        say("Summary")
        print(f"settled before the kill   {before:>8,}")
        print(
            f"read after the resume     {resumed['read']:>8,}  (of {total:,}: what was settled is not sent again)"
        )
        print(f"written by the second run {again['written']:>8,}")
        good = (
            before > 0 and before + resumed["read"] == total and again["written"] == 0 and again["rejected"] == 0
        )
        print("Every document is there once." if good else "SOMETHING IS WRONG: these numbers do not fit.")
        return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
