"""The progress bar: what is done, and above it what a person must know."""

from __future__ import annotations

import io
from typing import Any

import pytest

from migrator.model import Counts, Reject, Report, events
from migrator.report.logs import MAX_REJECTS_SHOWN
from migrator.report.progress import MAX_BARS_BELOW, ProgressListener, clock, line, write_above


class Terminal(io.StringIO):
    """A stream that keeps what was drawn over."""

    @property
    def lines(self) -> list[str]:
        """Whole lines that stay, without what was drawn over."""
        kept = [line.rsplit("\r", 1)[-1] for line in self.getvalue().split("\n")[:-1]]
        return [line for line in kept if line]


def started(total: int | None = 100) -> tuple[ProgressListener, Terminal]:
    """A bar that is drawn."""
    terminal = Terminal()
    listener = ProgressListener(terminal)
    listener(events.RunStarted("s", "t", ("c",), total))
    listener(events.CollectionStarted("users", "users", total, resumed=False))
    return listener, terminal


def loaded(read: int) -> events.BatchLoaded:
    """So many documents."""
    return events.BatchLoaded("users", Counts(read=read, written=read), 100, 0.1)


def test_shows_what_is_done() -> None:
    """The collection, the share and the number."""
    listener, terminal = started()
    listener(loaded(50))
    listener(events.DocumentsCompared("users", 25))
    assert listener._bar is not None
    assert listener._bar.n == 75
    listener._bar.refresh()
    assert "users  " in terminal.getvalue()
    assert "75%" in terminal.getvalue()
    listener.close()


def test_an_unknown_total_shows_numbers_only() -> None:
    """No share where nobody knows the whole."""
    listener, terminal = started(None)
    listener(loaded(50))
    assert listener._bar is not None
    listener._bar.refresh()
    assert "50 documents" in terminal.getvalue()
    assert "%" not in terminal.getvalue()
    listener.close()


def test_says_why_it_waits_and_what_was_rejected() -> None:
    """Both stand above the bar."""
    listener, terminal = started()
    listener(events.RetryScheduled("load", 1, 1.25, "busy"))
    listener(events.DocumentRejected(Reject("users", "d1", "load", "forbidden", "not you")))
    listener.close()
    assert terminal.lines == ["trying again in 1.2 s: busy", "rejected users d1: not you"]


def test_says_that_files_are_written() -> None:
    """Before the bar is drawn."""
    terminal = Terminal()
    ProgressListener(terminal)(events.FolderChosen("/srv/out"))
    assert terminal.getvalue() == "writing files into /srv/out\n"


def test_a_million_rejects_are_not_listed() -> None:
    """Their number is shown, and what the first look like."""
    listener, terminal = started()
    for number in range(100):
        listener(events.DocumentRejected(Reject("users", f"d{number}", "load", "forbidden", "not you")))
    assert listener._bar is not None
    listener._bar.refresh()
    assert "100 rejected" in terminal.getvalue()
    listener.close()
    assert len(terminal.lines) == MAX_REJECTS_SHOWN


def test_a_document_cannot_steer_the_terminal() -> None:
    """Control characters of ids, names and reasons are escaped."""
    terminal = Terminal()
    listener = ProgressListener(terminal)
    listener(events.RunStarted("s", "t", ("c",), None))
    listener(events.CollectionStarted("\x1b[31m", "x", None, resumed=False))
    listener(events.DocumentRejected(Reject("\x1b[31m", "\x1b]0;x\x07", "load", "e", "a\nb\x1b[2J")))
    listener(events.RetryScheduled("load", 1, 1.0, "\x1b[2J"))
    listener.close()
    text = terminal.getvalue()
    assert "\x1b[31m" not in text
    assert "\x1b]0;" not in text
    assert "\x1b[2J" not in text
    assert "a\\nb" in text


def test_ends_with_the_run() -> None:
    """When the run is over the bar is gone, and the next one draws its own."""
    listener, _ = started()
    drawn = []
    for event in (events.RunFinished(Report({}, 1.0)), loaded(5), events.RunStarted("s", "t", ("c",), 5)):
        listener(event)
        drawn.append(listener._bar is not None)
    listener.close()
    assert drawn == [False, False, True]


def test_collections_have_bars_of_their_own() -> None:
    """Where there are several, each under way has one, the whole has one, and what is done has none."""
    terminal = Terminal()
    listener = ProgressListener(terminal)
    listener(events.RunStarted("s", "t", ("users", "orders"), 30))
    for name in ("users", "orders"):
        listener(events.CollectionStarted(name, name, 15, resumed=False))
    listener(loaded(5))
    listener(events.BatchLoaded("orders", Counts(read=10, written=10), 100, 0.1))
    assert listener._bar is not None
    assert {name: bar.n for name, bar in listener._below.items()} == {"users": 5, "orders": 10}
    assert listener._bar.n == 15
    for bar in (listener._bar, *listener._below.values()):
        bar.refresh()
    for words in ("2 collections  ", "users  ", "orders  ", "50%", "67%"):
        assert words in terminal.getvalue()
    listener(events.CollectionFinished("users", Counts()))
    assert list(listener._below) == ["orders"]
    listener.close()
    assert listener._below == {}


def test_a_thousand_collections_do_not_fill_the_screen() -> None:
    """The latest begun are shown; the whole counts all."""
    listener = ProgressListener(Terminal())
    names = tuple(f"c{number}" for number in range(50))
    listener(events.RunStarted("s", "t", names, None))
    for name in names:
        listener(events.CollectionStarted(name, name, None, resumed=False))
        listener(events.BatchLoaded(name, Counts(read=1, written=1), 100, 0.1))
    assert listener._bar is not None
    assert listener._bar.n == 50
    assert list(listener._below) == list(names[-MAX_BARS_BELOW:])
    listener.close()


def test_shows_what_the_server_itself_is_at() -> None:
    """A task of the server has a bar of its own, which goes with the rest."""
    terminal = Terminal()
    listener = ProgressListener(terminal)
    listener(events.TaskProgressed("indexer", "orders/_design/by", 0.5))
    assert "indexer orders/_design/by" in terminal.getvalue()
    assert "50" in terminal.getvalue()
    listener.close()


DONE: dict[str, Any] = {"elapsed_s": 60.0, "documents": 1_500_000, "settled": 500_000, "whole": 2_000_000}


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (96, "orders   75%  ███████████████████░░░░░░░  1,500,000 of 2,000,000 documents  0:30 left   16,667/s"),
        (80, "orders   75%  ███████░░░  1,500,000 of 2,000,000 documents  0:30 left   16,667/s"),
        (76, "orders   75%  ████████████░░░░░  1,500,000 of 2,000,000 documents  0:30 left"),
        (60, "orders   75%  ██████████░░░░  1,500,000 documents  0:30 left"),
        (50, "orders   75%  ██████████░░░░  1,500,000  0:30 left"),
        (36, "orders  75%  1,500,000  0:30 left"),
        (20, "orders  75%  1,500,0"),
    ],
)
def test_the_rate_goes_first_where_there_is_no_room(width: int, shown: str) -> None:
    """Then words, then the bar; never a second line, and what an earlier run did says nothing of the time left."""
    assert line(width, "orders", **DONE) == shown
    assert len(line(width, "orders", **DONE)) <= width


def test_goes_by_the_bytes_of_a_file_whose_documents_nobody_counts() -> None:
    """Share and time left are known all the same."""
    shown = line(80, "orders", elapsed_s=30.0, documents=9_000, settled=3_000, share=0.5, begun=0.25)
    assert shown.startswith("orders   50%  █")
    assert shown.endswith("9,000 documents  1:00 left      200/s")
    assert line(60, "orders", elapsed_s=7.0, documents=1) == "orders  1 document       0:07        0/s"


def test_colour_takes_no_room() -> None:
    """Escape codes are not counted as columns, and only the bar has them."""
    plain, coloured = (line(60, "orders", coloured=each, **DONE) for each in (False, True))
    assert coloured.replace("\x1b[32m", "").replace("\x1b[0m", "") == plain
    assert coloured.count("\x1b[") == 2


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3_661, "1:01:01")])
def test_a_duration_is_shown_as_a_clock_does(seconds: float, shown: str) -> None:
    """Hours only where there are some."""
    assert clock(seconds) == shown


@pytest.mark.parametrize("names", [("users",), ("users", "orders")])
def test_begins_where_the_earlier_run_ended(names: tuple[str, ...]) -> None:
    """The share has what it settled; the rate and the time left do not."""
    listener = ProgressListener(Terminal())
    listener(events.RunStarted("s", "t", names, 200))
    listener(events.CollectionStarted("users", "users", 200, resumed=True, settled=150))
    listener(loaded(10))
    bar = listener._bar
    assert bar is not None
    assert (bar.n, bar.initial) == (160, 150)
    for each in (bar, *listener._below.values()):
        assert " 80%" in str(each)
    listener.close()


def test_what_is_counted_late_is_counted() -> None:
    """While a source is sorted its share is shown; then the number is known, and the time begins again."""
    terminal = Terminal()
    listener = ProgressListener(terminal)
    listener(events.RunStarted("s", "t", ("users",), None))
    listener(events.CollectionStarted("users", "users", None, resumed=False))
    listener(events.TaskProgressed(events.SORTING, "users", 0.25))
    assert "sorting users   25%" in terminal.getvalue()
    listener(events.CollectionCounted("users", 40))
    listener(loaded(10))
    assert listener._below == {}
    assert " 25%" in str(listener._bar)
    assert "10 of 40 documents" in str(listener._bar)
    listener(events.BatchLoaded("users", Counts(read=10, written=10), 100, 0.1, share=0.9))
    assert "20 of 40 documents" in str(listener._bar)
    listener.close()


def test_a_message_has_a_line_of_its_own() -> None:
    """Whatever is said while a bar is drawn stands above it, and the bar is drawn again below."""
    listener, terminal = started()
    listener(loaded(50))
    assert listener._bar is not None
    listener._bar.refresh()
    write_above("Stopping.", terminal)
    assert terminal.lines == ["Stopping."]
    assert " 50%" in terminal.getvalue().rpartition("\n")[2]
    listener.close()


def test_says_nothing_of_the_time_left_before_it_can_know() -> None:
    """A few documents of a million say nothing of how long the others take."""
    assert " ? left" in line(80, "orders", elapsed_s=2.0, documents=40, whole=1_000_000)
    assert " ? left" not in line(80, "orders", elapsed_s=2.0, documents=40_000, whole=1_000_000)
