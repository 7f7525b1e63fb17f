"""The sandbox starts, serves, keeps or forgets, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import urllib3

from migrator.errors import ConfigError
from migrator.sandbox import Sandbox, install
from tests import support


def answers(url: str) -> bool:
    """True when something listens there."""
    try:
        return urllib3.request("GET", url, retries=False, timeout=2.0).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def test_in_memory_forgets() -> None:
    """A server in memory takes documents, and one started anew at the same place has none."""
    with Sandbox(in_memory=True) as sandbox:
        support.request("PUT", f"{sandbox.url}/a")
        rows = support.request(
            "POST", f"{sandbox.url}/a/_bulk_docs", {"docs": [{"_id": str(n)} for n in range(500)]}
        )[1]
        assert 500 == len([row for row in rows if row.get("ok")])
        sandbox.kill()
        sandbox.restart()
        assert "a" not in support.get(f"{sandbox.url}/_all_dbs")


def test_a_folder_keeps_what_was_written_through_a_kill(tmp_path: Path) -> None:
    """With a folder, documents survive SIGKILL of the server."""
    with Sandbox(folder=tmp_path / "data") as sandbox:
        support.request("PUT", f"{sandbox.url}/a")
        support.request("POST", f"{sandbox.url}/a/_bulk_docs", {"docs": [{"_id": "x", "n": 1}]})
        sandbox.kill()
        assert not answers(sandbox.url)
        sandbox.restart()
        assert 1 == support.get(f"{sandbox.url}/a/x")["n"]
    assert not answers(sandbox.url)


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    """A port in use is one clear sentence with the way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        sandbox = Sandbox(in_memory=True, port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="--port"):
            sandbox.start()


def test_a_machine_without_node_is_told_of_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a node of the machine nor the extra: the message holds the command that mends it."""
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"pip install \"migrator\[sandbox\]\""):
        install.find_node()


def test_the_extra_brings_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine has no node, the wheel's is found with its npm."""
    monkeypatch.setattr("shutil.which", lambda _name: None)
    node = install.find_node()
    done = subprocess.run([node.program, node.npm_cli, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.split(".")[0].isdigit()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_command_takes_its_server_along(number: signal.Signals, tmp_path: Path) -> None:
    """The URL alone is printed, and however the command ends, the server ends with it."""
    command = [sys.executable, "-m", "migrator", "sandbox", "--in-memory", "--port", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    url = process.stdout.readline().strip()
    assert answers(url)
    os.kill(process.pid, number)
    code = process.wait(30)
    deadline = time.monotonic() + 10
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(url)
    assert (-9 if number == signal.SIGKILL else 0) == code
    assert [] == list(tmp_path.iterdir())
    process.stdout.close()
    process.stderr.close()
