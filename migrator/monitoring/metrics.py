"""Numbers of the last run as a file for Prometheus' textfile collector, replaced whole."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migrator.errors import EXIT_OK
from migrator.files.durable import refuse_place, replace_file
from migrator.model import Counts
from migrator.plugins import extra

OUTCOMES = ("read", "written", "unchanged", "skipped", "filtered", "rejected", "conflicts")
LAST_SUCCESS = "migrator_last_success_timestamp_seconds"


def check_metrics_file(path: Path) -> None:
    """See that the file can be written when the run ends.

    Raises:
        ConfigError: the package for it is missing, or the folder.
    """
    with extra("metrics", what="--metrics"):
        importlib.import_module("prometheus_client")
    instead = "name one of the textfile collector's folder, such as /var/lib/node_exporter/orders.prom"
    refuse_place(path, what="Metrics file", instead=instead)


def write_metrics(
    path: Path,
    now: float,
    seconds: float,
    exit_code: int | None,
    collections: Mapping[str, Counts],
    sizes: Mapping[str, int],
    lag: Mapping[str, int],
) -> None:
    """Replace the file; the time of the last success is kept from the old one when this run is none.

    A new file is its owner's alone; one that is there keeps mode and group, so that a collector may be let in.

    Args:
        path: the file.
        now: seconds since 1970.
        seconds: how long the run took, or has taken so far.
        exit_code: how it ended; 0 too for one that goes on and is a success for now; None for one that goes on.
        collections: the fate of documents by collection.
        sizes: bytes written by collection.
        lag: changes that the target is behind, by collection.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # an extra

    registry = CollectorRegistry()
    job = path.stem

    def gauge(name: str, text: str, *labels: str) -> Any:
        return Gauge(name, text, ["job", *labels], registry=registry)

    last_success = now if exit_code == EXIT_OK else read_last_success(path, job)
    for name, text, single in (
        (LAST_SUCCESS, "When a run last ended well, or had caught up.", last_success),
        ("migrator_last_run_timestamp_seconds", "When these numbers were taken.", now),
        ("migrator_run_duration_seconds", "How long the run took, or has taken so far.", seconds),
        ("migrator_exit_code", "How the run ended.", exit_code),
    ):
        if single is not None:
            gauge(name, text).labels(job).set(single)
    documents = gauge("migrator_documents", "Documents of the run by outcome.", "collection", "outcome")
    for name, counts in collections.items():
        for outcome in OUTCOMES:
            documents.labels(job, name, outcome).set(getattr(counts, outcome))
    for name, text, values in (
        ("migrator_bytes", "Bytes of documents that the run wrote or compared.", sizes),
        ("migrator_lag_changes", "Changes of the source that the target has not seen.", lag),
    ):
        family = gauge(name, text, "collection")
        for collection, value in values.items():
            family.labels(job, collection).set(value)
    replace_file(path, generate_latest(registry), keep_mode=True)


def read_last_success(path: Path, job: str) -> float | None:
    """When a run last succeeded, by the file that it wrote; None where it does not say."""
    from prometheus_client.parser import text_string_to_metric_families  # an extra

    # A file that cannot be read says nothing, and is replaced.
    with contextlib.suppress(OSError, ValueError):
        for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
            for sample in family.samples:
                if sample.name == LAST_SUCCESS and sample.labels.get("job") == job:
                    return float(sample.value)
    return None
