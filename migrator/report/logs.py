"""Events as log lines on standard error, through structlog: for people, or one JSON object a line."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import time
from collections.abc import MutableMapping
from functools import cached_property
from typing import Any, TextIO

from migrator.model import events
from migrator.model.events import Event
from migrator.naming import printable

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_WARNINGS = (events.DocumentRejected, events.RetryScheduled, events.BatchSplit)
_DETAILS = (
    events.BatchLoaded,
    events.DocumentsCompared,
    events.CheckpointSaved,
    events.CollectionCounted,
    events.LimitsChanged,
)
# What the server is at is told all the time; a line now and then shows that it gets on.
TASK_INTERVAL_S = 10.0
# A million rejects are in the reject file; the log shows what they look like.
MAX_REJECTS_SHOWN = 10
MORE = "more are not shown; a reject file has all, where one is written"


class LogListener:
    """Writes a line for each event.

    Args:
        log_format: "text" or "json".
        level: the minimum level.
        stream: standard error by default.
    """

    def __init__(self, log_format: str = "text", level: str = "info", stream: TextIO | None = None) -> None:
        self._format = log_format
        self._least = LEVELS[level]
        self._stream = stream or sys.stderr
        self._rejects = 0
        self._task_told = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Write the event's line."""
        level = self._level(event)
        if LEVELS[level] < self._least:
            return
        if isinstance(event, events.DocumentRejected):
            self._rejects += 1
            if self._rejects > MAX_REJECTS_SHOWN:
                if self._rejects == MAX_REJECTS_SHOWN + 1:
                    self._logger.warning("document_rejected", reason=MORE)
                return
        name, fields = describe(event)
        getattr(self._logger, level)(name, **fields)

    def say(self, text: str, level: str) -> None:
        """Write a line that is about no event.

        Args:
            text: what is said.
            level: of `LEVELS`.
        """
        getattr(self._logger, level)("message", text=text)

    def _level(self, event: Event) -> str:
        if isinstance(event, _WARNINGS):
            return "warning"
        if isinstance(event, events.TaskProgressed):
            now = time.monotonic()
            if now - self._task_told < TASK_INTERVAL_S:
                return "debug"
            self._task_told = now
            return "info"
        return "debug" if isinstance(event, _DETAILS) else "info"

    @cached_property
    def _logger(self) -> Any:
        # Most quiet runs have nothing to say, and this library takes longer to load than all that a start needs.
        import structlog

        rendering: list[Any] = (
            [structlog.processors.JSONRenderer(default=str)]
            if self._format == "json"
            else [_make_printable, structlog.dev.ConsoleRenderer(colors=has_colour(self._stream), pad_event_to=20)]
        )
        return structlog.wrap_logger(
            structlog.PrintLogger(self._stream),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                *rendering,
            ],
            cache_logger_on_first_use=True,
        )


def has_colour(stream: TextIO) -> bool:
    """True of a terminal that shows colours, and whose user has not said no."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def describe(event: Event) -> tuple[str, dict[str, Any]]:
    """An event's name, noun_verb in the past tense, and its fields; never a document's content."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    if isinstance(event, events.DocumentRejected):
        reject = event.reject
        return name, {
            "collection": reject.collection,
            "id": reject.id[:200],
            "stage": reject.stage,
            "error": reject.error,
            "reason": reject.reason[:500],
        }
    if isinstance(event, events.RunFinished):
        return name, {**event.report.totals.as_dict(), "seconds": round(event.report.seconds, 3)}
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if field.name == "counts":
            fields.update(value.as_dict())
        elif isinstance(value, float):
            fields[field.name] = round(value, 3)
        elif isinstance(value, tuple):
            fields[field.name] = list(value)
        else:
            fields[field.name] = value
    return name, fields


def _make_printable(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Ids and reasons come from documents, and must not steer the terminal of who reads the log."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in fields.items()}
