"""A run on a timer: what it did, gathered from its events, and told to those who watch over it.

They are a metrics file for Prometheus' textfile collector, a ping, a web hook, and one line of JSON. None of them
can make a failed run look like a good one, and none of them can make a good one fail.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from migrator.config import Watch
from migrator.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_UNEXPECTED,
    MigratorError,
    without_passwords,
)
from migrator.files.durable import refuse_place, replace_file
from migrator.model import Counts
from migrator.model.events import BatchLoaded, CollectionStarted, DocumentRejected, Event, LagMeasured
from migrator.monitoring.ping import Ping, Webhook
from migrator.naming import counted
from migrator.plugins import extra
from migrator.report.logs import describe
from migrator.report.summary import SCHEMA

# What a failed run sends along.
MAX_LINES = 40
# A run that goes on tells its numbers so often.
TELL_EVERY_S = 15.0
# What a web hook is sent. The number counts up when a field changes its meaning or goes.
WEBHOOK_VERSION = 1
MAX_ERROR = 1_000
SHOWN = frozenset({"read", "written", "unchanged", "rejected"})
LAST_SUCCESS = "migrator_last_success_timestamp_seconds"
_SECRET = re.compile(r"COUCHDB_(\w+_)?(PASSWORD|IAM_API_KEY)")


@dataclass
class TimedRun:
    """One run. Call `start`, give it the events as its `listener`, and call `end` however the run ends.

    Args:
        command: the command's name.
        metrics: a file for Prometheus' textfile collector; "" for none.
        ping: a URL of the kind that healthchecks.io has; "" for none.
        webhook: a URL that takes a small JSON of each run that has ended; "" for none.
        say: tells a person what went wrong with telling.
        clock: seconds since 1970.

    `exit_code` is that of a run that ends without an error. `failure` says why one ends badly that raises none.

    Raises:
        ConfigError: the file or URL cannot be used.
    """

    command: str
    metrics: str = ""
    ping: str = ""
    webhook: str = ""
    say: Callable[[str], None] = field(default=lambda _text: None)
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.exit_code = EXIT_OK
        self.failure = ""
        self.collections: dict[str, Counts] = {}
        self.databases: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.lag: dict[str, int] = {}
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._began = self.clock()
        self._told = self._began
        self._ping = Ping(self.ping) if self.ping else None
        self._webhook = Webhook(self.webhook) if self.webhook else None
        if self.metrics:
            with extra("metrics", what="--metrics"):
                importlib.import_module("prometheus_client")
            instead = "name one of the textfile collector's folder, such as /var/lib/node_exporter/orders.prom"
            # So that it can be written when the run ends.
            refuse_place(Path(self.metrics), what="Metrics file", instead=instead)

    def start(self) -> None:
        """Say that the run begins."""
        if self._ping:
            self._tell("ping", partial(self._ping.send, "/start"))

    def listener(self, event: Event) -> None:
        """Gather an event."""
        if isinstance(event, CollectionStarted):
            self.collections.setdefault(event.collection, Counts())
            self.databases[event.collection] = event.database
        elif isinstance(event, BatchLoaded):
            self.collections.setdefault(event.collection, Counts()).add(event.counts)
            self.sizes[event.collection] = self.sizes.get(event.collection, 0) + event.size_bytes
        elif isinstance(event, LagMeasured):
            self.lag[event.collection] = event.changes
            self._tell_on_the_way()
        if not isinstance(event, BatchLoaded | LagMeasured):
            name, fields = describe(event)
            # Ids and reasons can hold people's names, and this goes to another house.
            hidden = {"id", "reason"} if isinstance(event, DocumentRejected) else set()
            shown = {key: value for key, value in fields.items() if isinstance(value, str | int | float)}
            shown = {key: value for key, value in shown.items() if key not in hidden}
            self._lines.append(f"{name} " + " ".join(f"{key}={value}" for key, value in shown.items()))

    def end(self, exit_code: int, error: BaseException | None = None) -> dict[str, Any]:
        """Tell how the run ended; the value of the line of JSON."""
        result = self._result(exit_code, error)
        self._write(exit_code)
        what: Literal["", "/fail"] = "" if exit_code == EXIT_OK else "/fail"
        text = json.dumps(result, ensure_ascii=False)
        if what:
            lines = [f"exit code {exit_code}", str(result.get("error", "")), *self._lines]
            text = self._clean("\n".join(lines))
        if self._ping:
            self._tell("ping", partial(self._ping.send, what, text))
        if self._webhook:
            self._tell("web hook", partial(self._webhook.send, _small(result)))
        return result

    def _result(self, exit_code: int, error: BaseException | None) -> dict[str, Any]:
        result: dict[str, Any] = {
            "schema": SCHEMA,
            "command": self.command,
            "ok": exit_code == EXIT_OK,
            "exit_code": exit_code,
            "started": datetime.fromtimestamp(self._began, UTC).isoformat(timespec="seconds"),
            "seconds": round(self.clock() - self._began, 3),
            "collections": {
                name: {"database": self.databases.get(name, ""), **counts.as_dict()}
                for name, counts in self.collections.items()
            },
            "totals": Counts.sum(self.collections.values()).as_dict(),
            "bytes": sum(self.sizes.values()),
        }
        if self.lag:
            result["behind"] = sum(self.lag.values())
        if isinstance(error, MigratorError):
            result["error"] = self._clean(error.text)
        elif error is not None and not isinstance(error, SystemExit):
            result["error"] = self._clean(f"{type(error).__name__}: {error}")
        elif self.failure:
            result["error"] = self._clean(self.failure)
        return result

    def _tell_on_the_way(self) -> None:
        """A run that follows tells its numbers as it goes; one that has caught up is a success for now."""
        if self.clock() - self._told < TELL_EVERY_S:
            return
        self._told = self.clock()
        caught_up = all(changes == 0 for changes in self.lag.values())
        rejected = any(counts.rejected for counts in self.collections.values())
        self._write(EXIT_OK if caught_up and not rejected else None)

    def _write(self, exit_code: int | None) -> None:
        """Replace the metrics file, where one is wanted; the old one's last success stays where this is none.

        A new file is its owner's alone; one that is there keeps mode and group, so that a collector may be let in.
        The exit code is 0 too for a run that goes on and is a success for now, None for another that goes on.
        """
        if not self.metrics:
            return
        from prometheus_client import CollectorRegistry, Gauge, generate_latest  # an extra

        registry, path, now = CollectorRegistry(), Path(self.metrics), self.clock()
        job = path.stem

        def gauge(name: str, text: str, *labels: str) -> Any:
            return Gauge(name, text, ["job", *labels], registry=registry)

        last_success = now if exit_code == EXIT_OK else read_last_success(path, job)
        for name, text, single in (
            (LAST_SUCCESS, "When a run last ended well, or had caught up.", last_success),
            ("migrator_last_run_timestamp_seconds", "When these numbers were taken.", now),
            ("migrator_run_duration_seconds", "How long the run took, or has taken so far.", now - self._began),
            ("migrator_exit_code", "How the run ended.", exit_code),
        ):
            if single is not None:
                gauge(name, text).labels(job).set(single)
        documents = gauge("migrator_documents", "Documents of the run by outcome.", "collection", "outcome")
        for name, counts in self.collections.items():
            for outcome, number in counts.as_dict().items():
                documents.labels(job, name, outcome).set(number)
        for name, text, values in (
            ("migrator_bytes", "Bytes of documents that the run wrote or compared.", self.sizes),
            ("migrator_lag_changes", "Changes of the source that the target has not seen.", self.lag),
        ):
            family = gauge(name, text, "collection")
            for collection, value in values.items():
                family.labels(job, collection).set(value)
        try:
            replace_file(path, generate_latest(registry), keep_mode=True)
        except OSError as error:
            self.say(f"The metrics file {self.metrics} cannot be written: {error.strerror}.")

    def _tell(self, what: str, send: Callable[[], object]) -> None:
        try:
            send()
        except MigratorError as error:
            self.say(f"The {what} failed, which changes nothing else: {self._clean(error.message)}")

    def _clean(self, text: str) -> str:
        """A text without credentials, those of the environment too, for those who are told."""
        return without_passwords(text, *(value for name, value in os.environ.items() if _SECRET.fullmatch(name)))


@contextlib.contextmanager
def timed(
    command: str, watch: Watch, say: Callable[[str], None], end: Callable[[dict[str, Any]], None] | None = None
) -> Iterator[TimedRun]:
    """Tell those who watch that a run begins and how it ends; give it the events as `listener`.

    Args:
        command: the command's name.
        watch: who is told.
        say: tells a person what went wrong with telling.
        end: receives what `TimedRun.end` gives, however the run ends.

    Raises:
        ConfigError: the metrics file or the URL cannot be used.
    """
    run = TimedRun(command, watch.metrics, watch.ping, watch.webhook, say)
    run.start()
    ended: BaseException | None = None
    try:
        yield run
    except BaseException as error:
        ended = error
        raise
    finally:
        result = run.end(run.exit_code if ended is None else exit_code_of(ended), ended)
        if end is not None:
            end(result)


def _small(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a web hook is sent of a result: a sentence, which is all that a chat shows, and its numbers."""
    totals, seconds = result["totals"], result["seconds"]
    numbers = ", ".join(f"{number:,} {name}" for name, number in totals.items() if number and name in SHOWN)
    words = {EXIT_OK: "ended well", EXIT_INTERRUPTED: "was stopped"}
    ended = words.get(result["exit_code"], f"failed with exit code {result['exit_code']}")
    text = f"migrator {result['command']} {ended} after {seconds:,.0f} s"
    text += f" ({counted(len(result['collections']), 'collection')}: {numbers})." if numbers else "."
    small = {"version": WEBHOOK_VERSION, "text": text, "host": socket.gethostname(), **result}
    del small["schema"], small["collections"]
    if "error" in small:
        small["error"] = small["error"][:MAX_ERROR]
        small["text"] = f"{text} {small['error']}"
    return small


def exit_code_of(error: BaseException) -> int:
    """The code with which the command ends by this error."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_OK if error.code is None else EXIT_UNEXPECTED
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    # The command line's own errors have one too.
    found = getattr(error, "exit_code", None)
    return found if isinstance(found, int) else EXIT_UNEXPECTED


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
