"""What drivers of object stores log: errors say it, so that it is not printed, unless a program wants it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.processes import LIMIT_S

CODE = """
import logging
{before}
from migrator.extractors.remote_store import open_system
open_system("memory://x", needed_by="A test", needed="files")
logging.getLogger("{name}").error("the network is down", exc_info=ValueError("x"))
"""


@pytest.mark.parametrize(
    "name", ["gcsfs", "s3fs.core", "fsspec", "google.auth.compute_engine", "paramiko.transport"]
)
def test_a_driver_prints_no_traceback(name: str) -> None:
    """Without any handler Python would print it, in the middle of a log that is to be JSON."""
    for before, printed in (("", False), ("logging.basicConfig()", True)):
        code = CODE.format(before=before, name=name)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LIMIT_S
        )
        assert ("the network is down" in done.stderr) is printed
