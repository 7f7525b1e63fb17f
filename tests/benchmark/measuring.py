"""Runs one program as a child and measures it: time on the clock, CPU, and the most memory it ever held."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# ru_maxrss counts in KiB on Linux.
_RSS_UNIT_BYTES = 1024


class Failed(Exception):
    """A program ended with an error, or did not do what it was measured for."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to be measured.

    Args:
        argv: the program and its arguments.
        environ: what is added to the environment.
        stdin: a file to read; nothing where None.
        stdout: a file to write; a temporary one where None.
        cwd: the folder to run in.
        reports: it measures itself, and says `{"seconds", "cpu_seconds"}` in its last line.
    """

    argv: Sequence[str]
    environ: Mapping[str, str]
    stdin: Path | None = None
    stdout: Path | None = None
    cwd: Path | None = None
    reports: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. `peak_bytes` is resident memory of the program, or of the largest of its children."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measure(command: Command) -> Measured:
    """Run a command to its end.

    The kernel counts a parent's memory at the moment of the start as its child's, so whoever calls this must be
    smaller than what is measured.

    Raises:
        Failed: its exit code is not 0.
    """
    with contextlib.ExitStack() as stack:
        stdin = stack.enter_context((command.stdin or Path(os.devnull)).open("rb"))
        stdout = stack.enter_context(_output(command.stdout))
        stderr = stack.enter_context(_output(None))
        started = time.perf_counter()
        process = subprocess.Popen(
            command.argv,
            env={**os.environ, **command.environ},
            cwd=command.cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            stderr.seek(0)
            said = stderr.read()[-2000:].decode("utf-8", "replace").strip()
            raise Failed(f"{' '.join(command.argv)[:300]}: exit code {process.returncode}\n{said}")
        peak_bytes = usage.ru_maxrss * _RSS_UNIT_BYTES
        if command.reports:
            stdout.seek(0)
            report = json.loads(stdout.read().splitlines()[-1])
            return Measured(report["seconds"], report["cpu_seconds"], peak_bytes)
        return Measured(seconds, usage.ru_utime + usage.ru_stime, peak_bytes)


def _output(path: Path | None) -> IO[bytes]:
    return path.open("wb") if path else tempfile.TemporaryFile()
