"""Starts and stops the sandbox's server process."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from importlib import resources
from pathlib import Path
from typing import Self

import urllib3

from migrator.errors import ConfigError, EndpointError
from migrator.files.failures import write_error, writing
from migrator.sandbox.install import Node, find_node, installed_server

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
# Between finding a free port and using it, another process may take it.
PORT_ATTEMPTS = 5
ELSEWHERE = "choose another --folder, or keep nothing with --in-memory"
# What the server's own words are looked through for.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
PORT_HINT = "Choose another with --port (0 takes a free one)."
# The server's own log grows without end, and its defaults let any web page in the user's browser read and write.
SERVER_CONFIG: dict[str, dict[str, object]] = {
    "log": {"level": "warning"},
    "pouchdb_server": {"no-stdout-logs": True},
    "httpd": {"enable_cors": False},
}


class Sandbox:
    """A server process. Use it as a context manager, or call start and stop.

    The server ends with the process that started it, even when that one is killed.

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
        self._uuid = ""

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Install the server if need be, start it and wait until it answers.

        Raises:
            ConfigError: there is no Node.js, the port is taken, or the folder cannot be used.
            EndpointError: the server cannot be had or does not start.
        """
        if self._process is not None:
            return
        node = find_node()
        server = installed_server(node)
        chosen = self.port
        failure = ""
        for _ in range(PORT_ATTEMPTS):
            self.port = _free_port(self.host, chosen)
            try:
                self._launch(node, server)
                failure = self._await_answer()
            except BaseException:
                self.stop()
                raise
            if not failure:
                return
            self.stop()
            if _is_free(self.host, self.port):
                break
        url, self.port = self.url, chosen
        if "/LOCK" in failure:
            raise ConfigError(
                f"Another sandbox uses {self._folder}.", hint="Stop it, or choose another folder with --folder."
            )
        if number := _no_room(failure):
            raise write_error(
                OSError(number, os.strerror(number)), self._folder, what="The sandbox's folder", instead=ELSEWHERE
            )
        raise EndpointError(f"The sandbox did not start at {url}: {_gist(failure)}", hint=PORT_HINT)

    def stop(self) -> None:
        """Stop the server and remove what it kept for itself."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._reap()
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)
            self._work = None

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def restart(self) -> None:
        """Start again at the same port, after `kill` or in place of what runs."""
        self.stop()
        self.start()

    def wait(self) -> int:
        """Wait for the server to end by itself; its exit code."""
        return self._process.wait() if self._process else 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, node: Node, server: Path) -> None:
        # Settings, log and output go to a working folder of its own, never to where the user stands.
        self._work = Path(tempfile.mkdtemp(prefix="migrator-sandbox-"))
        self._uuid = uuid.uuid4().hex
        config = {**SERVER_CONFIG, "couchdb": {"uuid": self._uuid}}
        (self._work / "config.json").write_text(json.dumps(config), encoding="utf-8")
        watchdog = self._work / "watchdog.js"
        watchdog.write_bytes(resources.files("migrator.sandbox").joinpath("watchdog.js").read_bytes())
        command = [str(node.program), "--require", str(watchdog), str(server)]
        command += ["--host", self.host, "--port", str(self.port), "--config", str(self._work / "config.json")]
        if self._in_memory:
            command += ["--in-memory"]
        else:
            with writing(self._folder, what="The sandbox's folder", instead=ELSEWHERE):
                self._folder.mkdir(parents=True, exist_ok=True)
            command += ["--dir", str(self._folder.resolve())]
        with (self._work / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 no shell
                command,
                cwd=self._work,
                env={**os.environ, "MIGRATOR_SANDBOX_WORK": str(self._work)},
                # The watchdog waits for its end; asking the system (prctl) is for Linux only and forbids threads.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A Ctrl-C at the terminal is for us; we stop the server.
                start_new_session=True,
            )

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def _await_answer(self) -> str:
        """Wait until the server answers; what it said where it does not, else ""."""
        assert self._process is not None
        assert self._work is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return ""
            time.sleep(0.05)
        output = (self._work / "output.txt").read_text(encoding="utf-8", errors="replace")
        return output.strip() or "it said nothing."

    def _answers(self) -> bool:
        """True when this very server does, and not one that took the port in between."""
        try:
            answer = urllib3.request("GET", self.url, retries=False, timeout=2.0)
            return bool(answer.json().get("uuid") == self._uuid)
        except (urllib3.exceptions.HTTPError, ValueError, AttributeError):
            return False


def _no_room(output: str) -> int:
    """The number of the system's error that keeps the server from its folder; 0 where it is something else."""
    return next((n for n in NO_ROOM if errno.errorcode[n] in output or os.strerror(n) in output), 0)


def _gist(output: str) -> str:
    """The line of a Node.js failure that says what is wrong."""
    lines = [line.strip() for line in output.splitlines()]
    telling = [line for line in lines if "rror" in line and not line.startswith(("at ", "throw "))]
    return (telling or lines)[0][:500]


def _free_port(host: str, port: int) -> int:
    """The port, when the server can listen there; for 0 one that is free.

    Raises:
        ConfigError: that cannot be.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        probe = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(
            f"The sandbox cannot listen at {host}: {error.strerror}.", hint="Use --host 127.0.0.1."
        ) from error
    with probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        except OSError as error:
            raise ConfigError(
                f"The sandbox cannot listen at {host}:{port}: {error.strerror}.", hint=PORT_HINT
            ) from error
        return int(probe.getsockname()[1])


def _is_free(host: str, port: int) -> bool:
    try:
        return _free_port(host, port) == port
    except ConfigError:
        return False
