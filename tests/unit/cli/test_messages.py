"""What a command says beside its log: lines for people, coloured on a terminal, or JSON to the very last line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import migrator.cli
from migrator.cli import messages
from migrator.cli.options import listening
from migrator.cli.stopping import stoppable, stopped_text
from migrator.errors import Interrupted
from migrator.model import Counts, events
from migrator.report.logs import has_colour

RUN = ("run", "--from", "in", "--to", "out", "--max-errors", "5")


class Terminal(io.StringIO):
    """Somebody watches."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def ended(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    """The exit code of a command line, and its standard error."""
    monkeypatch.setattr(sys, "argv", ["migrator", *words])
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    with pytest.raises(SystemExit) as stop:
        migrator.cli.main()
    assert isinstance(stop.value.code, int)
    return stop.value.code, written.getvalue()


@pytest.mark.parametrize("flag", [("--log-format", "json"), ("--log-format=json",)])
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "--from", "in", "--to", "out"), 3, "1 document was rejected."),
        (("run", "--from", "in", "--to", "-"), 3, "1 document was rejected."),
        (("run", "--from", "nowhere", "--to", "out"), 2, "Error: There is no file or folder nowhere."),
        (("run", "--from", "in", "--bogus"), 2, "Error: No such option"),
        (("bogus",), 2, "Error: No such command 'bogus'."),
    ],
)
def test_json_to_the_very_last_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    flag: tuple[str, ...],
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    """With --log-format json each line of standard error is an object, however the command ends."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.ndjson").write_text('{"_id":"a"}\n{"name":"nobody"}\n')
    monkeypatch.chdir(tmp_path)
    found, written = ended(monkeypatch, *words, *flag)
    assert found == code
    lines = [json.loads(line) for line in written.splitlines()]
    assert lines
    assert {"event", "level", "timestamp"} <= set(lines[-1])
    assert lines[-1]["event"] == "message"
    assert lines[-1]["level"] in {"error", "warning"}
    assert any(said in line.get("text", "") for line in lines)


def test_what_was_json_is_text_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """How messages are written goes by the words of the command that runs now."""
    assert ended(monkeypatch, "run", "--bogus", "--log-format", "json")[1].startswith("{")
    assert ended(monkeypatch, "run", "--bogus")[1].startswith("Usage: ")


@pytest.mark.parametrize(
    ("stream", "environ", "coloured"),
    [
        (Terminal, {"TERM": "xterm"}, True),
        (Terminal, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {"TERM": "xterm"}, False),
    ],
)
def test_colour_where_a_terminal_has_it(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], environ: dict[str, str], *, coloured: bool
) -> None:
    """And NO_COLOR is not set; a file and a pipe get plain text."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", written := stream())
    messages.begin([])
    messages.say("Error: it failed.", "error")
    messages.say("1 document was rejected.", "warning")
    messages.say("Wrote a.html.")
    assert has_colour(written) is coloured
    plain = "Error: it failed.\n1 document was rejected.\nWrote a.html.\n"
    red_and_yellow = "\x1b[31mError:\x1b[0m it failed.\n\x1b[33m1 document was rejected.\x1b[0m\nWrote a.html.\n"
    assert written.getvalue() == (red_and_yellow if coloured else plain)


@pytest.mark.parametrize(
    ("words", "hint", "command"),
    [
        (RUN, "Go on with --resume.", f"migrator {' '.join(RUN[:])} --resume"),
        ((*RUN, "--resume"), "Go on with --resume.", f"migrator {' '.join(RUN)} --resume"),
        ((*RUN, "--restart"), "Go on with --resume.", f"migrator {' '.join(RUN)} --resume"),
        (("run", "--since-last"), "The same command goes on.", "migrator run --since-last"),
        (("backup", "--to", "b"), "Go on with the same command.", "migrator backup --to b"),
        (("backup", "--to", "b"), "Go on later with --resume.", "migrator backup --to b"),
        (("convert", "--to", "b"), "", "migrator convert --to b"),
    ],
)
def test_says_how_far_it_came_and_what_goes_on(words: tuple[str, ...], hint: str, command: str) -> None:
    """The whole command, once, in the form that this one has."""
    stop = Interrupted("Stopped while the documents were sorted.", hint=hint)
    assert stopped_text(stop, words) == f"Stopped while the documents were sorted. Continue: {command}"
    stop.documents = 250_000
    assert stopped_text(stop, words) == f"Stopped after 250,000 documents. Continue: {command}"
    stop.documents = 1
    assert stopped_text(stop, words) == f"Stopped after 1 document. Continue: {command}"


def test_nothing_to_go_on_with() -> None:
    """Where all was done, and where nobody typed anything."""
    stop = Interrupted("Stopped after the last document.", hint="Nothing is left to do.")
    stop.complete = True
    assert stopped_text(stop, RUN) == "Stopped after the last document. Nothing is left to do."
    assert stopped_text(Interrupted("Stopped.", hint="Go on later."), []) == "Stopped. Go on later."


def test_a_stop_knows_how_many_documents_had_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this run and of the one that it resumed, whatever the command counts."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    stop = Interrupted("Stopped.")
    with contextlib.suppress(Interrupted), listening({}) as listener:
        listener(events.CollectionStarted("a", "a", None, resumed=True, settled=1_000))
        listener(events.BatchLoaded("a", Counts(read=200, written=200), 10, 0.1))
        listener(events.DocumentsCompared("a", 30))
        raise stop
    assert stop.documents == 1_230


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_signal_is_answered_before_the_end(monkeypatch: pytest.MonkeyPatch, log_format: str) -> None:
    """At once, by a line of its own, in the form of the log."""
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    messages.begin(["--log-format", log_format])
    with stoppable() as stopping:
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping.is_set()
    messages.begin([])
    (line,) = written.getvalue().splitlines()
    text: Any = json.loads(line)["text"] if log_format == "json" else line
    assert text == "Stopping: settling what is in flight (once more to end at once)."
