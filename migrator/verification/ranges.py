"""Compares a collection by ranges of ids, each in another process: `verify --workers N`.

The source says where it can be entered, and the first id after such a place is where a range of the target begins.
What each process finds comes back in the order of the ids, so the position is an id as without them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from migrator.checkpoint.file import Checkpoint
from migrator.config import JobConfig
from migrator.couch.id_ranges import Part, parallel_rows
from migrator.errors import MigratorError
from migrator.files.own_json import from_json
from migrator.jobs.open import OpenJob, open_job
from migrator.jobs.processes import Processes, packed, serving
from migrator.jobs.registry import open_extractor
from migrator.jobs.splits import OF_A_SPLIT, RangeExtractor, Split, error_of, told_of
from migrator.model import Extractor, Position, Reject, events
from migrator.model.capabilities import Divisible, unconfirmed_of
from migrator.verification.compare import Comparison, Difference, Step, compare_collection
from migrator.verification.read_source import OutOfOrder, SourceReader
from migrator.verification.read_target import open_reader
from migrator.verification.result import VerifyResult

MODULE, WHAT = "migrator.verification.ranges", "verify"
# Ranges for each process, so that a short one does not end the work of its process early.
RANGES_EACH = 4
# A smaller range is not worth its turn.
MIN_DOCUMENTS = 20_000
# What is found in a range before its turn comes waits in memory.
STEP_BYTES = 1_000
# What else processes tell, for those who listen to this one.
TOLD: dict[str, type[Any]] = {kind.__name__: kind for kind in (events.RetryScheduled,)}
# What the last message to a question has one of.
LAST = frozenset({"filtered", "unordered", "error"})
Message: TypeAlias = dict[str, Any]


@dataclass
class Range:
    """A range: records of the source after `lower`, up to `upper`; ids of the target from `first` on below `end`.

    `done` when it was compared to its end, with what else was counted in it.
    """

    lower: Position | None
    upper: Position | None
    first: str
    end: str | None
    done: bool = False
    filtered: int = 0
    unwritable: int = 0


def divided(job: OpenJob, source: Extractor | None, reading: SourceReader, name: str) -> list[Range]:
    """The ranges of a collection; none where the source has none, or the ids that begin them do not ascend.

    Args:
        job: the job, open.
        source: its source without wrappers; None where another process cannot open it.
        reading: of the whole, to see which documents come first.
        name: the collection.
    """
    if source is None or not isinstance(source, Divisible):
        return []
    edges: list[tuple[Position | None, str]] = [(None, "")]
    wanted = job.config.transform_workers * RANGES_EACH
    bounds = job.retrier.call(f"divide {name}", lambda _: source.bounds(name, wanted, MIN_DOCUMENTS))
    for bound in bounds:
        first = reading.first_id(name, bound)
        if first is None:
            break
        if first <= edges[-1][1]:
            return []
        edges.append((bound, first))
    ends = [*edges, (None, None)]
    return [Range(lower, upper, first or "", end) for (lower, first), (upper, end) in pairwise(ends)]


@dataclass
class ByRanges:
    """Compares ranges in other processes.

    Args:
        job: the job, open.
        reading: its source, which tells what no target can hold.
        checkpoint: whose made-up values the transformers make again.
        environ: the environment; the process's own by default.
    """

    job: OpenJob
    reading: SourceReader
    checkpoint: Checkpoint
    environ: Mapping[str, str] | None
    unconfirmed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._processes = Processes(MODULE, WHAT)
        self._done: Position | None = None

    def share(self, name: str) -> float | None:
        """How far the source is compared, as far as that is known."""
        return None if self._done is None else self.job.extractor.share(name, self._done)

    def steps(self, name: str, ranges: Sequence[Range], numbers: Comparison, after: str | None) -> Generator[Step]:
        """Yield steps in order, as `compare_collection` does.

        Args:
            name: the collection.
            ranges: in order; they are marked when they are done.
            numbers: counted up; they belong to the last step that was given.
            after: only what comes after this id.

        Raises:
            OutOfOrder: the ids of the source do not ascend.
            MigratorError: what a process met, or a process ended by itself.
        """
        todo = [(number, each) for number, each in enumerate(ranges) if not each.done]

        def read(numbered: tuple[int, Range]) -> Generator[tuple[int, Message]]:
            number, each = numbered
            for message in self._ask(name, each, after if after is not None and after >= each.first else None):
                yield number, message

        at_once, before, current = self.job.config.transform_workers, Comparison(), -1
        with contextlib.ExitStack() as stack:
            stack.callback(self._processes.close)
            rows = parallel_rows(todo, read, at_once=at_once, size_of=lambda _: STEP_BYTES)
            found = stack.enter_context(contextlib.closing(rows))
            # First of all, so that nobody waits for an answer then.
            stack.callback(self._processes.end)
            for number, message in found:
                if number != current:
                    before, current = replace(numbers), number
                if "unordered" in message:
                    raise OutOfOrder
                if "event" in message:
                    self._tell(*message["event"])
                elif "settled" in message:
                    for key, count in message["numbers"].items():
                        setattr(numbers, key, getattr(before, key) + count)
                    kinds = (Difference(name, *each) for each in message["differences"])
                    yield Step(message["settled"], tuple(kinds))
                else:
                    self._settled(ranges[number], message)

    def _settled(self, each: Range, message: Message) -> None:
        each.done, each.filtered, each.unwritable = True, message["filtered"], message["unwritable"]
        self._done = each.upper or self._done
        self.unconfirmed += [text for text in message["unconfirmed"] if text not in self.unconfirmed]

    def _tell(self, name: str, fields: Mapping[str, Any]) -> None:
        if name == "DocumentRejected":
            self.reading.tell(Reject(*fields["reject"]))
        else:
            self.job.listener(from_json(TOLD[name], fields))

    def _ask(self, name: str, each: Range, after: str | None) -> Iterator[Message]:
        config = {
            **asdict(self.job.config),
            **OF_A_SPLIT,
            **self.job.config.shares_of(self.job.config.transform_workers),
            "collection": [name],
            "map": {name: self.job.names[name]},
            "transform_workers": 0,
        }
        question = {
            "config": config,
            "environ": dict(os.environ if self.environ is None else self.environ),
            "path": sys.path,
            "seed": self.checkpoint.seed,
            "started_ms": self.checkpoint.started_ms,
            "collection": name,
            "target_name": self.job.names[name],
            "range": asdict(each),
            "after": after,
        }
        process, _ = self._processes.take()
        (answer,) = process.ask([json.dumps(question).encode()])
        while "error" not in (message := json.loads(answer)):
            yield message
            if not message.keys().isdisjoint(LAST):
                self._processes.give_back(process)
                return
            (answer,) = process.answer()
        raise error_of(*message["error"])


def compare_range(question: Mapping[str, Any], send: Callable[[Message], None]) -> None:
    """Compare one range, and send what is found.

    Args:
        question: as `ByRanges` asks it.
        send: takes messages: steps, events, and at the end the counts.

    Raises:
        OutOfOrder: the ids of the source do not ascend, or are not those of this range.
        MigratorError: a side is out of reach, or cannot be read.
    """
    each, name, environ = Range(**question["range"]), question["collection"], question["environ"]
    config = from_json(JobConfig, question["config"], defaults=True)

    def tell(event: events.Event) -> None:
        if isinstance(event, events.DocumentRejected):
            send({"event": ["DocumentRejected", {"reject": list(event.reject)}]})
        elif type(event).__name__ in TOLD:
            send({"event": [type(event).__name__, asdict(event)]})

    split = Split(0, name, question["target_name"], each.lower, each.upper)
    source = RangeExtractor(open_extractor(config, environ), split)
    within, numbers, result = Part(each.first, each.end), Comparison(), VerifyResult()
    with open_job(config, environ=environ, source=source, writes=False, listener=tell) as opened:
        job = replace(opened, names={name: question["target_name"]})
        made = Checkpoint(job={}, seed=question["seed"], started_ms=question["started_ms"])
        reading = SourceReader(job, job.transform(made), None, result)
        with open_reader(job, Path(), environ) as reader:
            documents = reading.in_order(name, question["after"], within=within)
            stored = reader.stored(name, after=question["after"], within=within)
            own = not job.extractor.traits.couchdb
            for step in compare_collection(name, documents, stored, reader, numbers, ignore_extra_design=own):
                differences = [each[1:] for each in step.differences]
                send({"settled": step.settled, "numbers": numbers.as_dict(), "differences": differences})
            unconfirmed = list(unconfirmed_of(job.extractor, reader))
    send({"filtered": result.filtered, "unwritable": result.unwritable, "unconfirmed": unconfirmed})


def main() -> None:
    """Serve until nothing more comes."""
    connection, questions = serving()

    def send(message: Message) -> None:
        connection.send_bytes(packed([json.dumps(message).encode()]))

    for (text,) in questions:
        question = json.loads(text)
        sys.path[:] = question["path"]
        try:
            compare_range(question, send)
        except OutOfOrder:
            send({"unordered": True})
        except MigratorError as error:
            send({"error": told_of(error)})


if __name__ == "__main__":
    main()
