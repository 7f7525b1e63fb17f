"""Kills a run of the command in the middle, more than once, and lets it go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.processes import LIMIT_S, ended, wait_until


def killed_and_resumed(
    source: str, folder: Path, *more: str, kills: int = 2, environ: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Run with SIGKILLs whenever some more was settled, then to the end; all documents of all collections."""
    command = [sys.executable, "-m", "migrator", "run", "--from", source, "--to", "out", "--checkpoint", "cp.json"]
    command += ["--resume", "--batch-docs", "20", "-q", "--report", "report.json", *more]
    done = 0
    while done < kills:
        before = settled(folder)
        with ended(subprocess.Popen(command, cwd=folder, env={**os.environ, **(environ or {})})) as process:
            wait_until(lambda: settled(folder) > before, timeout_s=300, pause_s=0.01, process=process)  # noqa: B023
            assert process.poll() is None, f"it ended with {process.returncode} before it could be killed"
        done += 1
    subprocess.run(command, cwd=folder, env={**os.environ, **(environ or {})}, check=True, timeout=LIMIT_S)
    report = json.loads((folder / "report.json").read_text())
    assert report["ok"]
    files = sorted((folder / "out").glob("*.ndjson"))
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def settled(folder: Path) -> int:
    """Documents that the checkpoint vouches for."""
    try:
        states = json.loads((folder / "cp.json").read_text())["collections"].values()
    except (OSError, ValueError):
        return 0
    return sum(state["counts"]["read"] for state in states)
