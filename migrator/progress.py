"""A progress bar on standard error: documents, documents a second, share done, time left."""

from __future__ import annotations

import sys
from typing import Never, TextIO

from tqdm import tqdm

from migrator import events
from migrator.events import Event
from migrator.logs import MAX_REJECTS_SHOWN
from migrator.naming import printable


class ProgressListener:
    """Draws one bar for the run; what a person must know is written above it.

    Args:
        stream: standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: tqdm[Never] | None = None
        self._tasks: tqdm[Never] | None = None
        self._rejects = 0

    def __call__(self, event: Event) -> None:
        """Move the bar."""
        if isinstance(event, events.RunStarted):
            self._bar = tqdm(total=event.total, unit=" documents", unit_scale=True, file=self._stream, leave=False)
        if isinstance(event, events.TaskProgressed):
            self._task(event)
            return
        bar = self._bar
        if bar is None:
            return
        if isinstance(event, events.CollectionStarted):
            bar.set_description(printable(event.collection), refresh=False)
        elif isinstance(event, events.BatchLoaded):
            bar.update(event.counts.read)
        elif isinstance(event, events.DocumentsCompared):
            bar.update(event.documents)
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

    def _task(self, event: events.TaskProgressed) -> None:
        if self._tasks is None:
            self._tasks = tqdm(total=100, unit="%", file=self._stream, leave=False)
        self._tasks.set_description(printable(f"{event.task} {event.where}"), refresh=False)
        self._tasks.n = round(event.share * 100)
        self._tasks.refresh()

    def close(self) -> None:
        """Take the bars away."""
        if self._tasks is not None:
            self._tasks.close()
            self._tasks = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None
