"""Progress bars on standard error: share, documents, time left, rate; what has no room is left out."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from tqdm import tqdm
from tqdm.utils import disp_len, disp_trim

from migrator.model import events
from migrator.model.events import SORTING, Event
from migrator.naming import counted, printable
from migrator.report.logs import MAX_REJECTS_SHOWN, has_colour

# More lines than these push away what a person was reading.
MAX_BARS_BELOW = 6
MIN_BAR_CHARS = 10
# Of less than that nobody can tell how long the rest will take.
MIN_SHARE = 0.005
USUAL_COLUMNS = 80
GREEN, PLAIN = "\x1b[32m", "\x1b[0m"


def write_above(text: str, stream: TextIO) -> None:
    """Write a line above the bars of a stream, or just into it where there are none."""
    tqdm.write(text, file=stream)


class Bar(tqdm):  # type: ignore[type-arg] # it is not subscriptable when it runs
    """A line about what is done of a whole: `n` documents, or a share where these are not counted.

    Args:
        stream: where it is drawn.
        name: of what.
        total: documents in all; None where nobody knows.
        share: what is done, where nothing is counted.
    """

    def __init__(self, stream: TextIO, name: str, total: int | None = None, *, share: float | None = None) -> None:
        self.name, self.whole, self.counts = name, total, share is None
        self.share = share
        self.begun = share or 0.0
        self.note = ""
        self.coloured = has_colour(stream)
        # With a delay it is not drawn before it is known where it begins.
        super().__init__(file=stream, leave=False, dynamic_ncols=True, delay=1e-9)

    def begin(self, settled: int, share: float | None) -> None:
        """Go on from what an earlier run has done, which says nothing of how fast this one is."""
        self.initial += settled
        self.n += settled
        self.share, self.begun = share, share or 0.0
        self.refresh()

    def know(self, whole: int) -> None:
        """All is counted now; what was done until then took a time of its own."""
        self.whole = whole
        self.start_t = time.time()

    def __str__(self) -> str:
        """The line as it fits the terminal."""
        seen = self.format_dict
        return line(
            (seen["ncols"] or USUAL_COLUMNS) - 1,
            self.name,
            documents=int(self.n) if self.counts else None,
            settled=int(self.initial),
            whole=self.whole,
            share=self.share,
            begun=self.begun,
            elapsed_s=seen["elapsed"],
            note=self.note,
            glyphs="#-" if seen["ascii"] else "█░",
            coloured=self.coloured,
        )


def line(
    width: int,
    name: str,
    *,
    elapsed_s: float,
    documents: int | None = None,
    settled: int = 0,
    whole: int | None = None,
    share: float | None = None,
    begun: float = 0.0,
    note: str = "",
    glyphs: str = "█░",
    coloured: bool = False,
) -> str:
    """Lay out what is known; the rate goes first where there is no room, then words, then the bar.

    Args:
        width: columns.
        name: of what.
        elapsed_s: how long this run has worked.
        documents: how many are done; None where nobody counts.
        settled: how many of them an earlier run had done.
        whole: how many there are; None where nobody knows.
        share: what is done from 0 to 1, where `whole` does not say it.
        begun: the share at the beginning.
        note: what else to say.
        glyphs: of what is done and what is not.
        coloured: show the bar in colour.
    """
    if whole and documents is not None:
        share, begun = min(1.0, documents / whole), settled / whole
    done = (documents or 0) - settled
    rate = f"{done / elapsed_s if elapsed_s > 0 else 0:,.0f}/s".rjust(9) if documents is not None else ""
    took = clock(elapsed_s)
    if share is not None:
        took = f"{clock(elapsed_s * (1 - share) / (share - begun)) if share - begun >= MIN_SHARE else '?'} left"
    counts = [""]
    if documents is not None:
        number = f"{documents:,}".rjust(len(f"{whole or 0:,}"))
        counts = [f"{number} of {counted(whole, 'document')}"] if whole else []
        counts += [f"{number} {'document' if documents == 1 else 'documents'}", number]
    name = disp_trim(name, width // 3)
    tail = head = ""
    for words, also in ((counts[0], rate), *((each, "") for each in counts)):
        tail = "  ".join(filter(None, [words, took.rjust(9), also, note]))
        head = "" if share is None else f"{share:4.0%}"
        room = width - disp_len(f"{name}{head}{tail}") - 6
        if share is None and room >= 0:
            return "  ".join(filter(None, [name, tail]))
        if share is not None and room >= MIN_BAR_CHARS:
            full = int(share * room)
            drawn = glyphs[0] * full + glyphs[1] * (room - full)
            drawn = f"{GREEN}{drawn}{PLAIN}" if coloured else drawn
            return f"{name}  {head}  {drawn}  {tail}" if name else f"{head}  {drawn}  {tail}"
    return str(disp_trim("  ".join(filter(None, [name, head.strip(), tail])), width))


def clock(seconds: float) -> str:
    """A duration as a clock shows it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ProgressListener:
    """Draws a bar for the run, below one for each collection under way where there are several.

    What a person must know is written above them.

    Args:
        stream: standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: Bar | None = None
        # Of collections under way, and of what the server is at.
        self._below: dict[str, Bar] = {}
        self._several = False
        self._rejects = 0

    def __call__(self, event: Event) -> None:
        """Move the bar."""
        if isinstance(event, events.RunStarted):
            self.close()
            self._several = len(event.collections) > 1
            name = counted(len(event.collections), "collection") if self._several else ""
            self._bar = Bar(self._stream, name, event.total)
        if isinstance(event, events.TaskProgressed):
            self._task(event)
            return
        if isinstance(event, events.FolderChosen):
            write_above(f"writing files into {printable(event.folder)}", self._stream)
        bar = self._bar
        if bar is None:
            return
        if isinstance(event, events.CollectionStarted):
            self._begin(bar, event)
        elif isinstance(event, events.CollectionCounted):
            self._end(f"{SORTING} {event.collection}")
            self._below.get(event.collection, bar).know(event.total)
        elif isinstance(event, events.BatchLoaded):
            self._move(bar, event.collection, event.counts.read, event.share)
        elif isinstance(event, events.DocumentsCompared):
            self._move(bar, event.collection, event.documents, event.share)
        elif isinstance(event, events.CollectionFinished):
            self._end(event.collection)
        elif isinstance(event, events.LagMeasured):
            bar.note = f"{counted(event.changes, 'change')} behind"
        elif isinstance(event, events.RetryScheduled):
            write_above(f"trying again in {event.wait_s:.1f} s: {printable(event.reason)}", self._stream)
        elif isinstance(event, events.DocumentRejected):
            self._rejects += 1
            if self._rejects <= MAX_REJECTS_SHOWN:
                reject = event.reject
                text = f"rejected {reject.collection} {reject.id[:200]}: {reject.reason[:500]}"
                write_above(printable(text), self._stream)
            bar.note = f"{self._rejects:,} rejected"
        elif isinstance(event, events.RunFinished):
            self.close()

    def _begin(self, bar: Bar, event: events.CollectionStarted) -> None:
        name = printable(event.collection)
        if self._several:
            own = self._add(event.collection, Bar(self._stream, name, event.total))
            own.begin(event.settled, event.share)
        else:
            bar.name = name
            bar.whole = event.total if bar.whole is None else bar.whole
        bar.begin(event.settled, event.share)

    def _move(self, bar: Bar, collection: str, documents: int, share: float | None) -> None:
        self._end(f"{SORTING} {collection}")
        own = self._below.get(collection, bar)
        own.share = share
        for each in (bar,) if own is bar else (bar, own):
            each.update(documents)

    def _add(self, what: str, bar: Bar) -> Bar:
        """Show a bar below that of the run, in place of the oldest where there are many."""
        self._end(what)
        while len(self._below) >= MAX_BARS_BELOW:
            self._end(next(iter(self._below)))
        self._below[what] = bar
        return bar

    def _end(self, what: str) -> None:
        if what in self._below:
            self._below.pop(what).close()

    def _task(self, event: events.TaskProgressed) -> None:
        what = f"{event.task} {event.where}"
        if what not in self._below:
            self._add(what, Bar(self._stream, printable(what), share=event.share))
        bar = self._below[what]
        bar.share = event.share
        bar.refresh()
        if event.share >= 1:
            self._end(what)

    def close(self) -> None:
        """Take the bars away."""
        for what in list(self._below):
            self._end(what)
        if self._bar is not None:
            self._bar.close()
            self._bar = None
