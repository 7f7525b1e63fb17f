"""Progress bars on standard error: documents, documents a second, share done, time left."""

from __future__ import annotations

import sys
from typing import Never, TextIO

from tqdm import tqdm

from migrator.model import events
from migrator.model.events import Event
from migrator.naming import printable
from migrator.report.logs import MAX_REJECTS_SHOWN

# More lines than these push away what a person was reading.
MAX_COLLECTION_BARS = 6


def write_above(text: str, stream: TextIO) -> None:
    """Write a line above the bars of a stream, or just into it where there are none."""
    tqdm.write(text, file=stream)


class ProgressListener:
    """Draws a bar for the run, below one for each collection under way where there are several.

    What a person must know is written above them.

    Args:
        stream: standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: tqdm[Never] | None = None
        self._collections: dict[str, tqdm[Never]] = {}
        self._several = False
        self._tasks: tqdm[Never] | None = None
        self._rejects = 0

    def __call__(self, event: Event) -> None:
        """Move the bar."""
        if isinstance(event, events.RunStarted):
            self.close()
            self._several = len(event.collections) > 1
            self._bar = self._new_bar(
                event.total, f"{len(event.collections)} collections" if self._several else ""
            )
        if isinstance(event, events.TaskProgressed):
            self._task(event)
            return
        if isinstance(event, events.FolderChosen):
            self._stream.write(f"writing files into {printable(event.folder)}\n")
        bar = self._bar
        if bar is None:
            return
        if isinstance(event, events.CollectionStarted):
            self._begin(bar, event)
        elif isinstance(event, events.BatchLoaded):
            self._move(bar, event.collection, event.counts.read)
        elif isinstance(event, events.DocumentsCompared):
            self._move(bar, event.collection, event.documents)
        elif isinstance(event, events.CollectionFinished):
            self._end(event.collection)
        elif isinstance(event, events.LagMeasured):
            bar.set_postfix(behind=event.changes, refresh=False)
        elif isinstance(event, events.RetryScheduled):
            bar.write(f"trying again in {event.wait_s:.1f} s: {printable(event.reason)}", file=self._stream)
        elif isinstance(event, events.DocumentRejected):
            self._rejects += 1
            if self._rejects <= MAX_REJECTS_SHOWN:
                reject = event.reject
                line = f"rejected {reject.collection} {reject.id[:200]}: {reject.reason[:500]}"
                bar.write(printable(line), file=self._stream)
            bar.set_postfix(rejected=self._rejects, refresh=False)
        elif isinstance(event, events.RunFinished):
            self.close()

    def _new_bar(self, total: int | None, name: str) -> tqdm[Never]:
        return tqdm(
            total=total,
            unit=" documents",
            unit_scale=True,
            file=self._stream,
            leave=False,
            desc=name or None,
            dynamic_ncols=True,
        )

    def _begin(self, bar: tqdm[Never], event: events.CollectionStarted) -> None:
        name = printable(event.collection)
        if not self._several:
            bar.set_description(name, refresh=False)
            return
        self._end(event.collection)
        while len(self._collections) >= MAX_COLLECTION_BARS:
            self._end(next(iter(self._collections)))
        self._collections[event.collection] = self._new_bar(event.total, name)

    def _move(self, bar: tqdm[Never], collection: str, documents: int) -> None:
        bar.update(documents)
        if collection in self._collections:
            self._collections[collection].update(documents)

    def _end(self, collection: str) -> None:
        if collection in self._collections:
            self._collections.pop(collection).close()

    def _task(self, event: events.TaskProgressed) -> None:
        if self._tasks is None:
            self._tasks = tqdm(total=100, unit="%", file=self._stream, leave=False)
        self._tasks.set_description(printable(f"{event.task} {event.where}"), refresh=False)
        self._tasks.n = round(event.share * 100)
        self._tasks.refresh()

    def close(self) -> None:
        """Take the bars away."""
        for collection in list(self._collections):
            self._end(collection)
        if self._tasks is not None:
            self._tasks.close()
            self._tasks = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None
