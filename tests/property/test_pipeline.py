"""Crash anywhere, go on from the file: nothing is lost, nothing is doubled, and the numbers still add up."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from migrator.checkpoint.file import Checkpoint, CheckpointFile, open_checkpoint
from migrator.checkpoint.reject_file import RejectFile
from migrator.checkpoint.rejects import line_to_reject
from migrator.errors import EndpointError, Interrupted, TransientError, Unauthorized
from migrator.loaders.ndjson import NdjsonLoader
from migrator.model import Batch, BatchLimits, Counts, Document, Extractor, Fault, Loader, Outcome, Reject
from migrator.pipeline.batching import Assembly
from migrator.pipeline.loop import Pipeline
from migrator.pipeline.spooling import SpoolingExtractor
from migrator.pipeline.wrapper import BisectingLoader, RetryingExtractor, RetryingLoader
from migrator.retry.retrier import Retrier
from migrator.retry.throttle import Throttle
from tests.support.fakes import (
    Crash,
    FakeLoader,
    FaultyLoader,
    Forwarding,
    Fuse,
    Item,
    MortalExtractor,
    MortalLoader,
)
from tests.support.seeds import examples

JOB = {"source": "s"}


class MortalCheckpointFile(CheckpointFile):
    """A file whose writer may die before or after the new state has its name."""

    def __init__(self, path: Path, fuse: Fuse) -> None:
        super().__init__(path)
        self._fuse = fuse

    def save(self, checkpoint: Checkpoint) -> None:
        """May die."""
        self._fuse.burn()
        super().save(checkpoint)
        self._fuse.burn()


class MortalRejectFile(RejectFile):
    """A file whose writer may die before, after, or in the middle of a line."""

    def __init__(self, path: Path, settled_bytes: int, fuse: Fuse) -> None:
        super().__init__(path, settled_bytes)
        self._fuse = fuse

    def write(self, rejects: Sequence[Reject]) -> None:
        """May die."""
        self._fuse.burn()
        super().write(rejects)
        try:
            self._fuse.burn()
        except Crash:
            assert self.path is not None
            os.truncate(self.path, self.path.stat().st_size - 3)
            raise

    def flush(self) -> int:
        """May die."""
        self._fuse.burn()
        return super().flush()


@dataclass
class Plan:
    """One job, the faults that it meets, and how its runs end, one after the other.

    Args:
        data: what there is to move.
        kind: "keyed" for a target that knows ids, "file" for one that appends, "sorted" for a spool before.
        max_docs: in a batch.
        in_flight: batches at once.
        interval_s: between two saves; time goes one second an asking.
        faults: calls of the loader that fail and pass later, and whether they fail after writing.
        breaks: steps of the source that fail and pass later.
        ends: how and when each run but the last ends before its time.
    """

    data: dict[str, list[Item]]
    kind: str
    max_docs: int
    in_flight: int
    interval_s: float
    faults: dict[int, bool]
    breaks: set[int]
    ends: list[tuple[str, int]]
    store: FakeLoader = field(default_factory=lambda: FakeLoader(refused=["no"]))


documents = st.one_of(
    st.builds(lambda number: {"_id": f"d{number:02}", "n": number}, st.integers(0, 60)),
    st.builds(lambda number: b'{"_id":"d%02d","n":%d}' % (number, number), st.integers(0, 60)),
    st.builds(lambda number, twin: {"_id": f"d{number:02}", "n": twin}, st.integers(0, 60), st.integers(0, 3)),
    st.sampled_from([{"_id": "no"}, {"_id": "out"}, b"{torn", {"no": "id"}, Fault("odd", "odd")]),
)


def id_of(item: Item) -> Any:
    """An item's id, or something of its own."""
    if isinstance(item, bytes):
        return json.loads(item)["_id"] if item.startswith(b'{"') else object()
    return item.get("_id", object()) if isinstance(item, dict) else object()


ENDS = st.one_of(
    st.tuples(st.just("dies"), st.integers(1, 120)),
    st.tuples(
        st.sampled_from(["source breaks", "target refuses", "target writes and breaks", "stopped"]),
        st.integers(1, 25),
    ),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Small jobs, in which much goes wrong."""
    kind = draw(st.sampled_from(["keyed", "file", "sorted"]))
    data: dict[str, list[Item]] = {
        name: draw(st.lists(documents, min_size=6, max_size=30, unique_by=id_of if kind == "sorted" else None))
        for name in draw(st.sampled_from([["c"], ["c", "d"], ["c", "d", "e"]]))
    }
    return Plan(
        data,
        kind,
        draw(st.integers(1, 6)),
        draw(st.integers(1, 4)),
        draw(st.sampled_from([0.0, 0.0, 7.0, 1e9])),
        draw(st.dictionaries(st.integers(1, 40), st.booleans(), max_size=5)),
        draw(st.sets(st.integers(1, 60), max_size=5)),
        draw(st.lists(ENDS, min_size=1, max_size=4)),
    )


def without_out(document: Document) -> Document | None:
    """The job's transformer."""
    return None if document.get("_id") == "out" else document


class Stopping(Forwarding):
    """Has the run asked to stop at a call of `load`."""

    def __init__(self, inner: Loader, at: int, stopping: threading.Event) -> None:
        super().__init__(inner)
        self._left = at
        self._stopping = stopping

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """Count."""
        self._left -= 1
        if self._left == 0:
            self._stopping.set()
        return super().load(batch, resend=resend)


@contextlib.contextmanager
def process(plan: Plan, folder: Path, how: str, when: int) -> Iterator[tuple[Pipeline, Counts, bool]]:
    """One life of the job's process, with what it found in the checkpoint and whether all was done before."""
    fuse = Fuse(when if how == "dies" else 0)
    stopping = threading.Event()
    retrier = Retrier(sleep=lambda _seconds: None)
    bare: Loader = NdjsonLoader(folder / "out") if plan.kind == "file" else plan.store
    faults: dict[int, BaseException] = {
        call: TransientError("busy", outcome_unknown=after, signature="503") for call, after in plan.faults.items()
    }
    after_writing = {call for call, after in plan.faults.items() if after}
    if how.startswith("target"):
        faults[when] = Unauthorized("no")
        after_writing = after_writing - {when} if how == "target refuses" else after_writing | {when}
    faulty = FaultyLoader(MortalLoader(bare, fuse), faults, list(after_writing))
    loader = BisectingLoader(RetryingLoader(faulty, retrier))
    mortal = MortalExtractor(plan.data, fuse)
    mortal.breaks = dict.fromkeys(plan.breaks, TransientError("busy"))
    if how == "source breaks":
        mortal.breaks[when] = EndpointError("gone")
    source: Extractor = RetryingExtractor(mortal, retrier)
    if plan.kind == "sorted":
        source = SpoolingExtractor(
            source, lambda _: Assembly(without_out), folder / "spool", "job", {}, max_memory_bytes=600
        )
    file = MortalCheckpointFile(folder / "checkpoint.json", fuse)
    done = file.exists() and file.load().finished
    checkpoint, resumed = open_checkpoint(file, JOB, resume=True, restart=False)
    carried = checkpoint.totals
    rejects = MortalRejectFile(folder / "rejects.ndjson", checkpoint.rejects_bytes if resumed else 0, fuse)
    ticks = iter(range(1_000_000))
    try:
        if not resumed and not done:
            file.save(checkpoint)
        yield (
            Pipeline(
                extractor=source,
                loader=Stopping(loader, when, stopping) if how == "stopped" else loader,
                rejects=rejects,
                transform=without_out,
                throttle=Throttle(BatchLimits(plan.max_docs, 300), plan.in_flight),
                checkpoint=checkpoint,
                checkpoint_file=file,
                checkpoint_interval_s=plan.interval_s,
                stopping=stopping,
                clock=lambda: float(next(ticks)),
            ),
            carried,
            done,
        )
    finally:
        rejects.close()
        if plan.kind == "file":
            bare.close()


def carry_out(plan: Plan, folder: Path) -> None:
    """Run, end before the time, and go on until all is done; look at the numbers of the run that ends well."""
    total = sum(len(items) for items in plan.data.values())
    for how, when in [*plan.ends, ("well", 0)]:
        try:
            with process(plan, folder, how, when) as (pipeline, carried, done):
                if done:
                    event("ended when all was done")
                    return
                report = pipeline.run(list(plan.data))
        except (Crash, EndpointError, Interrupted) as error:
            event(f"ended by {type(error).__name__}")
            continue
        event(f"done, carried {'some' if carried.read else 'nothing'}")
        assert carried == report.carried
        assert total == report.totals.read + carried.read
        assert carried.read == 0 or report.totals.read < total
        assert all(collection.counts.accounted for collection in report.collections.values())
        return
    pytest.fail("the last run ends well")


def settled(folder: Path) -> Counts:
    """What the checkpoint says of all runs together."""
    return CheckpointFile(folder / "checkpoint.json").load().totals


def reject_keys(folder: Path) -> Counter[tuple[str, str, str, str]]:
    """What the reject file holds; every line is whole."""
    path = folder / "rejects.ndjson"
    if not path.exists():
        return Counter()
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    rejects = [line_to_reject(line, "r") for line in lines]
    return Counter((reject.collection, reject.id, reject.stage, reject.error) for reject in rejects)


def written(plan: Plan, folder: Path) -> dict[str, list[Any]]:
    """What the target holds in the end."""
    if plan.kind == "file":
        lines = {name: (folder / "out" / f"{name}.ndjson").read_bytes().splitlines() for name in plan.data}
        return {name: [json.loads(line) for line in lines[name]] for name in plan.data}
    return {name: plan.store.documents(name) for name in plan.data}


def expected(plan: Plan) -> tuple[dict[str, list[Any]], Counts]:
    """What any way of carrying out a plan must lead to; all that is there counts as written."""
    counts = Counts(read=sum(len(items) for items in plan.data.values()))
    found: dict[str, list[Any]] = {}
    for name, items in plan.data.items():
        there: dict[Any, Any] = {}
        for number, item in enumerate(items):
            document = decoded(item)
            if document == {"_id": "out"}:
                counts.filtered += 1
            elif document is None or "_id" not in document or (document["_id"] == "no" and plan.kind != "file"):
                counts.rejected += 1
            elif plan.kind == "file":
                there[number] = document
                counts.written += 1
            elif there.setdefault(document["_id"], document) == document:
                counts.written += 1
            else:
                counts.rejected += 1
                counts.conflicts += 1
        found[name] = [document for _, document in sorted(there.items())]
    return found, counts


def decoded(item: Item) -> Any:
    """The document of an item, None where it is none."""
    if isinstance(item, bytes):
        return json.loads(item) if item.startswith(b'{"') else None
    return None if isinstance(item, Fault) else item


@settings(max_examples=examples(60))
@given(plans())
def test_a_job_that_dies_ends_like_one_that_does_not(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> None:
    """All documents, all rejects, the true numbers; and no run begins from nothing when something was saved."""
    folder = tmp_path_factory.mktemp("job")
    with pytest.MonkeyPatch.context() as patch:
        # A killed process loses nothing that it has written; only a machine does.
        patch.setattr(os, "fsync", lambda _descriptor: None)
        carry_out(plan, folder)
    documents, counts = expected(plan)
    found = settled(folder)
    # What was written by a run that died before it was settled is there already when the next one comes.
    found.written, found.unchanged = found.written + found.unchanged, 0
    assert documents == written(plan, folder)
    assert counts == found
    assert counts.rejected == sum(reject_keys(folder).values())
    assert plan.store.shared_ids == set()
    assert [] == [path.name for path in folder.rglob("*") if path.suffix in {".tmp", ".part", ".lock"}]
