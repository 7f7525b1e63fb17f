"""A Dask scheduler and its workers, each a process of its own, as people start them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.processes import SOON_S, wait_until


class Cluster:
    """A scheduler and workers of one thread each.

    Args:
        folder: for the workers' files.
        workers: how many.
        environ: what is added to their environment.
    """

    def __init__(self, folder: Path, workers: int, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        # Its profiler looks at every worker a hundred times a second.
        quiet = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
        self._environ = {**os.environ, **quiet, **(environ or {})}
        self.processes: list[subprocess.Popen[bytes]] = []
        scheduler = self._start(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
        )
        self.address = self._said(scheduler, r"Scheduler at:\s+(tcp://\S+)")
        for _ in range(workers):
            self.add_worker()

    def add_worker(self) -> subprocess.Popen[bytes]:
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
            process.wait(SOON_S)

    def _start(self, module: str, *args: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, *args]
        # Into a file: a pipe that nobody reads is full some day, and who writes to it stands still.
        with self._log(len(self.processes)).open("wb") as log:
            process = subprocess.Popen(command, stderr=log, start_new_session=True, env=self._environ)
        self.processes.append(process)
        return process

    def _log(self, number: int) -> Path:
        return self.folder / f"process-{number}.log"

    def _said(self, process: subprocess.Popen[bytes], pattern: str) -> str:
        """What a process says of itself at its start."""
        log = self._log(self.processes.index(process))
        wait_until(lambda: re.search(pattern, log.read_text()) is not None, process=process)
        found = re.search(pattern, log.read_text())
        assert found
        return found[1]
