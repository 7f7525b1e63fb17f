"""The arithmetic of what was measured: medians, ratios within a round, and all of it as JSON and back."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender in one round. `file_bytes` is what the database's file then had, where that is known."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    file_bytes: int | None = None


@dataclass
class Case:
    """One thing to do, and how each contender did it, round by round.

    The first contender is what the others are compared with.
    """

    name: str
    what: str
    documents: int
    bytes: int
    samples: dict[str, list[Sample]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """One contender in one case, over all rounds.

    `ratio` is the median of each round's ratio to the first contender of that same round: what disturbs a whole
    round disturbs both of them.
    """

    contender: str
    seconds: float
    documents_per_second: float
    ratio: float
    cpu_seconds_per_100k: float
    peak_bytes: int
    file_bytes: int | None
    spread: float


@dataclass
class Results:
    """Everything that one call of the bench found out. `rows` are tables of their own, by their title."""

    server: str
    is_sandbox: bool
    cpus: int
    python: str
    load_before: float
    rounds: int
    load_after: float = 0.0
    cases: list[Case] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it, with the summaries beside the samples they are made of."""
        value = {"schema": SCHEMA, **asdict(self)}
        for case, written in zip(self.cases, value["cases"], strict=True):
            written["summaries"] = [asdict(summary) for summary in summarise(case)]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Results:
        """Back again; summaries are made again."""
        if value["schema"] != SCHEMA:
            raise ValueError(f"schema {value['schema']} is not {SCHEMA}")
        fields = {name: value[name] for name in cls.__dataclass_fields__ if name != "cases"}
        cases = [
            Case(
                case["name"],
                case["what"],
                case["documents"],
                case["bytes"],
                {name: [Sample(**sample) for sample in samples] for name, samples in case["samples"].items()},
            )
            for case in value["cases"]
        ]
        return cls(**fields, cases=cases)


def merged(parts: Sequence[Results]) -> Results:
    """Several measurements as one; what they ran on is said of the first, and the highest load counts."""
    first = parts[0]
    return replace(
        first,
        load_before=max(part.load_before for part in parts),
        load_after=max(part.load_after for part in parts),
        cases=[case for part in parts for case in part.cases],
        rows={title: rows for part in parts for title, rows in part.rows.items()},
    )


def summarise(case: Case) -> list[Summary]:
    """Each contender of a case, in order."""
    if not case.samples:
        return []
    base = next(iter(case.samples.values()))
    return [_summary(case, name, samples, base) for name, samples in case.samples.items() if samples]


def _summary(case: Case, name: str, samples: Sequence[Sample], base: Sequence[Sample]) -> Summary:
    times = [sample.seconds for sample in samples]
    seconds = statistics.median(times)
    ratios = [first.seconds / sample.seconds for first, sample in zip(base, samples, strict=False)]
    sizes = [sample.file_bytes for sample in samples if sample.file_bytes is not None]
    cpu_seconds = statistics.median(sample.cpu_seconds for sample in samples)
    return Summary(
        contender=name,
        seconds=seconds,
        documents_per_second=case.documents / seconds,
        ratio=statistics.median(ratios),
        cpu_seconds_per_100k=cpu_seconds * 100_000 / case.documents,
        peak_bytes=max(sample.peak_bytes for sample in samples),
        file_bytes=int(statistics.median(sizes)) if sizes else None,
        spread=(max(times) - min(times)) / seconds,
    )
