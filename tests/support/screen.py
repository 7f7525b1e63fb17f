"""Runs a command on a terminal of its own, and keeps what a person sees there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LIMIT_S = 120.0
_CODE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")
_SHARE = re.compile(r" (\d+)%  ")
# What goes by the clock; the length stays, as the layout depends on it.
_CLOCK = (
    (re.compile(r"(?<=  ) *(?:\d+:\d\d|\?) left"), "N:NN left"),
    (re.compile(r"(?<= )[ \d,]*\d/s"), "N/s"),
    (re.compile(r"(?<=  ) +\d+:\d\d"), "N:NN"),
)
_SECONDS = re.compile(r"\d[\d,.]* s(?: \([\d,]+/s\))?(?=[\s.,]|$)")


@dataclass
class Screen:
    """What a terminal shows: whole lines, and what was drawn over on the way."""

    lines: list[str] = field(default_factory=lambda: [""])
    drawn: list[str] = field(default_factory=list)
    coloured: bool = False
    row: int = 0
    column: int = 0

    def feed(self, text: str) -> None:
        """Show a text."""
        at = 0
        while at < len(text):
            code = _CODE.match(text, at)
            char = text[at]
            at = code.end() if code else at + 1
            if code and code[2] == "m":
                self.coloured = True
            elif code or char in "\r\n":
                self._keep()
                if code and code[2] == "A":
                    self.row = max(0, self.row - int(code[1] or 1))
                elif char == "\n":
                    self.row += 1
                elif char == "\r":
                    self.column = 0
            else:
                self._put(char)

    def _keep(self) -> None:
        line = self._line().rstrip()
        if line and (not self.drawn or self.drawn[-1] != line):
            self.drawn.append(line)

    def _line(self) -> str:
        while len(self.lines) <= self.row:
            self.lines.append("")
        return self.lines[self.row]

    def _put(self, char: str) -> None:
        line = self._line().ljust(self.column)
        self.lines[self.row] = line[: self.column] + char + line[self.column + 1 :]
        self.column += 1


@dataclass
class Recorded:
    """How a command ended, and what was seen of it."""

    code: int
    screen: Screen

    @property
    def left(self) -> str:
        """What stays on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.lines).strip("\n") + "\n"

    @property
    def bars(self) -> list[str]:
        """Each state of a progress bar, in the order in which they were drawn."""
        return [line for line in self.screen.drawn if _SHARE.search(line)]

    def golden(self) -> str:
        """The first and the last state of each bar, and what stays; what goes by the clock is masked.

        How many states lie between depends on the machine.
        """
        kept: list[str] = []
        for line in self.screen.drawn:
            share = _SHARE.search(line)
            if share and (share[1] in {"0", "100"} or line == self.bars[0]):
                masked = masked_clock(line)
                if masked not in kept:
                    kept.append(masked)
        left = _SECONDS.sub("N s", self.left)
        return "".join(f"{line}\n" for line in [*kept, "-" * 20 + " and stays:", left.rstrip("\n")])


def masked_clock(line: str) -> str:
    """A bar without the numbers that go by the clock."""
    for pattern, shown in _CLOCK:
        line = pattern.sub(lambda found, shown=shown: shown.rjust(len(found[0])), line)  # type: ignore[misc]
    return line


def record(
    words: list[str],
    *,
    columns: int,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    lines: int = 24,
    watch: Callable[[subprocess.Popen[bytes], Screen], None] = lambda _process, _screen: None,
) -> Recorded:
    """Run the command on a terminal.

    Args:
        words: after `migrator`.
        columns: of the terminal.
        folder: where it is started.
        environ: what else is in the environment.
        lines: of the terminal.
        watch: called with the process and the screen each time when something was drawn.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    # Every state of a bar is drawn, however fast it moves.
    always = {"TQDM_MININTERVAL": "0", "TQDM_MINITERS": "1", "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    unwanted = {"NO_COLOR", "COLUMNS", "LINES"}
    around = {name: value for name, value in os.environ.items() if name not in unwanted}
    process = subprocess.Popen(
        [sys.executable, "-m", "migrator", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**around, **always, **(environ or {})},
        start_new_session=True,
    )
    os.close(theirs)
    screen, raw = Screen(), b""
    deadline = time.monotonic() + LIMIT_S
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1.0)[0]:
                continue
            try:
                piece = os.read(ours, 65_536)
            except OSError:
                # So the system says that the other side is closed.
                piece = b""
            if not piece:
                break
            raw += piece
            whole = raw.rpartition(b"\r")
            # A character or a code may have come in part.
            screen.feed((whole[0] + whole[1]).decode())
            raw = whole[2]
            watch(process, screen)
        screen.feed(raw.decode())
        return Recorded(process.wait(max(1.0, deadline - time.monotonic())), screen)
    finally:
        os.close(ours)
        process.kill()
        process.wait(LIMIT_S)
