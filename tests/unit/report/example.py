"""A report with something of everything, as `run --verify --report` writes it."""

from __future__ import annotations

from typing import Any

from migrator.model import CollectionReport, Counts, Reject, Report, events
from migrator.report.history import HistoryListener
from migrator.report.summary import report_to_json
from migrator.verification.compare import Comparison, Difference
from migrator.verification.result import VerifyResult

ACCENTED = "Zoë Ångström"


def example(
    collection: str = "users", id: str = "u-1", reason: str = "forbidden by the design document"
) -> dict[str, Any]:
    """The report; a collection's name, an id and a reason come from outside."""
    now = [0.0]
    listener = HistoryListener(lambda: now[0])
    listener(events.RunStarted("export.json", "http://localhost:5984", (collection, "tickets"), 4000))
    listener(events.CollectionStarted(collection, "users", 3000, resumed=False))
    for number in range(40):
        now[0] += 0.2
        documents = 75 if number % 9 else 60
        listener(
            events.BatchLoaded(
                collection, Counts(documents, documents), documents * 900, 0.05 + number % 7 / 50, documents
            )
        )
        if number % 13 == 5:
            listener(events.RetryScheduled(f"load {collection}", 1, 0.2, reason))
            listener(events.LimitsChanged(75, 2, reason))
    for number in range(12):
        listener(events.DocumentRejected(Reject(collection, f"{id}-{number}", "load", "forbidden", reason)))
    listener(
        events.DocumentRejected(
            Reject(collection, ACCENTED, "extract", "invalid_json", "no valid JSON at character 7")
        )
    )
    counts = Counts(read=3000, written=2500, unchanged=300, skipped=100, filtered=87, rejected=13, conflicts=100)
    report = Report(
        {
            collection: CollectionReport("users", counts),
            "tickets": CollectionReport("tickets", Counts(1000, 1000)),
        },
        8.0,
    )
    verification = VerifyResult(
        {collection: Comparison(2900, 2899, 2898, 1, 1, 0), "tickets": Comparison(1000, 1000, 1000)},
        [
            Difference(collection, id, "missing"),
            Difference(collection, f"{id}-b", "different", f"address.{reason}"),
        ],
        seconds=3.0,
    )
    return report_to_json(
        report, rejects="rejects.ndjson", verification=verification.to_dict(), history=listener.as_dict()
    )
