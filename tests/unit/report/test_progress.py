"""The progress bar: what is done, and above it what a person must know."""

from __future__ import annotations

import io

from migrator.model import Counts, Reject, Report, events
from migrator.report.logs import MAX_REJECTS_SHOWN
from migrator.report.progress import MAX_COLLECTION_BARS, ProgressListener


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
    assert "users: " in terminal.getvalue()
    assert "75%" in terminal.getvalue()
    listener.close()


def test_an_unknown_total_shows_numbers_only() -> None:
    """No share where nobody knows the whole."""
    listener, terminal = started(None)
    listener(loaded(50))
    assert listener._bar is not None
    listener._bar.refresh()
    assert "50.0 documents" in terminal.getvalue()
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
    assert "rejected=100" in terminal.getvalue()
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
    assert {name: bar.n for name, bar in listener._collections.items()} == {"users": 5, "orders": 10}
    assert listener._bar.n == 15
    for bar in (listener._bar, *listener._collections.values()):
        bar.refresh()
    for words in ("2 collections: ", "users: ", "orders: ", "50%", "67%"):
        assert words in terminal.getvalue()
    listener(events.CollectionFinished("users", Counts()))
    assert list(listener._collections) == ["orders"]
    listener.close()
    assert listener._collections == {}


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
    assert list(listener._collections) == list(names[-MAX_COLLECTION_BARS:])
    listener.close()


def test_shows_what_the_server_itself_is_at() -> None:
    """A task of the server has a bar of its own, which goes with the rest."""
    terminal = Terminal()
    listener = ProgressListener(terminal)
    listener(events.TaskProgressed("indexer", "orders/_design/by", 0.5))
    assert "indexer orders/_design/by" in terminal.getvalue()
    assert "50" in terminal.getvalue()
    listener.close()
