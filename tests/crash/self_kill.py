"""A process that kills itself before an effect on its files: at that one however slow or loaded the machine is."""

from __future__ import annotations

import os
import signal
import sys

EFFECTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def kill_before_effect(number: int, folder: str) -> None:
    """Send SIGKILL to this process when it is about to change files in a folder for the nth time; 0 for never."""
    left = number

    def watch(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if left <= 0 or not (event in EFFECTS or (event == "open" and isinstance(args[2], int))):
            return
        if event == "open" and not int(str(args[2])) & WRITING:
            return
        # What is named relative to an open folder, as when a tree is removed, is in the folder too.
        if not str(args[0]).startswith(folder) and str(args[0]).startswith("/"):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
