"""Starts and stops the sandbox's server process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import urllib3

from migrator.errors import ConfigError, EndpointError
from migrator.sandbox.install import find_node, installed_server

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
PR_SET_PDEATHSIG = 1


class Sandbox:
    """A server process. Use it as a context manager, or call start and stop.

    Args:
        host: the address to listen at.
        port: the port; 0 takes a free one.
        folder: where data is kept; ignored with `in_memory`.
        in_memory: keep nothing.
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, folder: Path | None = None, in_memory: bool = False
    ) -> None:
        self.host = host
        self.port = port
        self._folder = folder or Path("migrator-sandbox")
        self._in_memory = in_memory
        self._process: subprocess.Popen[bytes] | None = None
        self._work: Path | None = None

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Install the server if need be, start it and wait until it answers.

        Raises:
            ConfigError: there is no Node.js, or the port is taken.
            EndpointError: the server cannot be had or does not start.
        """
        node = find_node()
        server = installed_server(node)
        self.port = self.port or _free_port(self.host)
        _check_port(self.host, self.port)
        if self._work is None:
            self._work = Path(tempfile.mkdtemp(prefix="migrator-sandbox-"))
        program = server / "node_modules" / "pouchdb-server" / "bin" / "pouchdb-server"
        command = [str(node.program), str(program), "--host", self.host, "--port", str(self.port)]
        # Its settings and its log go to its working folder, never to where the user stands.
        command += ["--config", str(self._work / "config.json"), "--no-stdout-logs"]
        if self._in_memory:
            command += ["--in-memory"]
        else:
            self._folder.mkdir(parents=True, exist_ok=True)
            command += ["--dir", str(self._folder.resolve())]
        with (self._work / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 no shell
                command,
                cwd=self._work,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_dies_with_parent(),  # noqa: PLW1509 it calls the system and nothing of Python's
            )
        self._wait()

    def stop(self) -> None:
        """Stop the server and remove what it kept for itself."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)
            self._work = None

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Start again at the same port after `kill` or `stop`."""
        self.start()

    def wait(self) -> int:
        """Wait for the server to end by itself; its exit code."""
        return self._process.wait() if self._process else 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self) -> None:
        assert self._process is not None
        assert self._work is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if urllib3.request("GET", self.url, retries=False, timeout=2.0).status == 200:
                    return
            time.sleep(0.1)
        output = (self._work / "output.txt").read_text(errors="replace")[-500:]
        self.stop()
        raise EndpointError(
            f"The sandbox did not start at {self.url}: {' '.join(output.split())}", hint="Try another --port."
        )


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"The sandbox cannot listen at {host}:{port}: {error.strerror}.",
                hint="Choose another with --port (0 takes a free one).",
            ) from error


def _dies_with_parent() -> Callable[[], None] | None:
    # A server whose starter was killed must not stay behind. Linux can be told; elsewhere it stays.
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask_system() -> None:
        library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask_system
