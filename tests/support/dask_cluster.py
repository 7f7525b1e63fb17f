"""A Dask scheduler and its workers, each a process of its own, as people start them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path


class Cluster:
    """A scheduler and workers of one thread each.

    Args:
        folder: for the workers' files.
        workers: how many.
        environ: what is added to their environment.
    """

    def __init__(self, folder: Path, workers: int, environ: Mapping[str, str] | None = None) -> None:
        # Its profiler looks at every worker a hundred times a second.
        quiet = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
        self._environ = {**os.environ, **quiet, **(environ or {})}
        self.processes: list[subprocess.Popen[str]] = []
        scheduler = self._start(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
        )
        self.address = said(scheduler, r"Scheduler at:\s+(tcp://\S+)")
        self.folder = folder
        for _ in range(workers):
            self.add_worker()

    def add_worker(self) -> subprocess.Popen[str]:
        """One more worker; it is started again when it is killed, as the nanny of dask has it."""
        options = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder)]
        return self._start("distributed.cli.dask_worker", self.address, *options)

    def worker_ids(self) -> list[int]:
        """Process ids of those that do the work: children of the workers' nannies."""
        found = []
        for process in self.processes[1:]:
            for children in Path(f"/proc/{process.pid}/task").glob("*/children"):
                found += [int(pid) for pid in children.read_text().split()]
        return [pid for pid in found if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]

    def close(self) -> None:
        """End all of them."""
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stderr:
                process.stderr.close()

    def _start(self, module: str, *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=self._environ,
        )
        self.processes.append(process)
        return process


def said(process: subprocess.Popen[str], pattern: str) -> str:
    """What a process says of itself at its start; the rest of its words are read away."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(pattern, line):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return found[1]
    raise RuntimeError("the scheduler ended")
