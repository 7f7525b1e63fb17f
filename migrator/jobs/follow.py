"""Follows a source: copies all, then carries changes as they happen, until asked to stop or caught up.

Each round is one of `since_last`, so whatever happens to this process, the next one goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Unpack

from migrator.config import JobConfig
from migrator.couch.changes import ChangesFeed
from migrator.errors import Interrupted, RejectsError
from migrator.jobs.open import Around
from migrator.jobs.run import JobResult
from migrator.jobs.since_last import Sync, open_sync
from migrator.model import CollectionReport, Counts, Report, events

# Each database is asked for news so often.
POLL_S = 1.0


def follow_job(
    config: JobConfig, *, clock: Callable[[], float] = time.monotonic, **around: Unpack[Around]
) -> JobResult:
    """Copy all once, then carry changes until `stopping` is set, or until there are none where the job says so.

    Being asked to stop is how following ends: once all has been copied, that is not a failure.

    Raises:
        Interrupted: asked to stop before all was copied, or before it had caught up where that is asked for.
        RejectsError: so many documents are rejected that the next round would read them all again.
        MigratorError: as `since_last_job`; the next run goes on.
    """
    started = clock()
    listener = around.get("listener", events.ignore)
    around["listener"] = quiet = _Quiet(listener)
    with open_sync(config, **around) as sync:
        total = Report({}, 0.0)
        behind = set(sync.job.collections)
        try:
            while behind:
                total = _added(total, sync.round())
                _refuse_to_go_round(sync)
                quiet.begun = True
                sync.next()
                behind = _behind(sync)
                while not behind and not config.until_caught_up:
                    behind = _behind(sync, POLL_S)
        except Interrupted:
            if config.until_caught_up or not sync.copied:
                raise
        total = replace(total, seconds=clock() - started)
        listener(events.RunFinished(total))
        return sync.result(total)


class _Quiet:
    """Tells of one run, not of its rounds."""

    def __init__(self, listener: events.Listener) -> None:
        self._listener = listener
        self.begun = False

    def __call__(self, event: events.Event) -> None:
        """Pass an event on, unless it is one of a round's own."""
        if isinstance(event, events.RunFinished) or (
            self.begun
            and isinstance(event, events.RunStarted | events.CollectionStarted | events.CollectionFinished)
        ):
            return
        self._listener(event)


def _behind(sync: Sync, wait_s: float = 0.0) -> set[str]:
    """After a while, collections that have changed since the last round; the lag of the others is told.

    Raises:
        Interrupted: asked to stop while waiting.
    """
    # Asked for again and again, not held open: a proxy that buffers would hold back a feed's signs of life.
    if wait_s and sync.job.stopping.wait(wait_s):
        raise Interrupted("Stopped.", hint="The same command goes on.")
    behind = set()
    for name, mark in sync.marks.items():
        feed = ChangesFeed(sync.source, name, sync.job.retrier, page_rows=1)
        if mark.since is None or feed.page(mark.since).changes:
            behind.add(name)
        else:
            sync.job.listener(events.LagMeasured(name, 0))
    return behind


def _refuse_to_go_round(sync: Sync) -> None:
    for name, mark in sync.marks.items():
        if mark.stays:
            raise RejectsError(
                f"Of {name} too many documents are rejected, or the target holds documents of others: following "
                "would read the same again and again.",
                hint="Look at the reject file, then decide with --on-conflict, or fix the documents.",
            )


def _added(total: Report, more: Report) -> Report:
    collections = dict(total.collections)
    for name, each in more.collections.items():
        before = [collections[name].counts] if name in collections else []
        collections[name] = CollectionReport(each.database, Counts.sum([*before, each.counts]))
    carried = total.carried if total.collections else more.carried
    return Report(collections, total.seconds + more.seconds, carried, more.unconfirmed)
