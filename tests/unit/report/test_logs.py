"""Log lines: one an event, names in the past tense, never a document's content, never in control of a terminal."""

from __future__ import annotations

import dataclasses
import io
import json
from types import SimpleNamespace
from typing import Any

import pytest

from migrator.model import CollectionReport, Counts, Reject, Report, events
from migrator.model.events import Event
from migrator.report.logs import MAX_REJECTS_SHOWN, LogListener, describe

REJECT = Reject("c", "d1", "load", "forbidden", "not you", document={"password": "hunter2"})
EXAMPLES: list[Event] = [
    events.RunStarted("source", "target", ("a", "b"), 10),
    events.CollectionStarted("a", "db", None, resumed=True),
    events.BatchLoaded("a", Counts(3, 2, 1), 1234, 0.123456),
    events.CollectionCounted("a", 3),
    events.DocumentRejected(REJECT),
    events.RetryScheduled("load a", 2, 1.23456, "busy"),
    events.BatchSplit("a", 500, "413"),
    events.LimitsChanged(250, 2, "429"),
    events.DocumentsCompared("a", 10_000),
    events.CheckpointSaved("a"),
    events.CollectionFinished("a", Counts(3, 3)),
    events.LagMeasured("a", 5),
    events.FolderChosen("/srv/out"),
    events.TaskProgressed("indexer", "db/_design/by", 0.25),
    events.RunFinished(Report({"a": CollectionReport("db", Counts(3, 3))}, 1.5)),
]


def logged(*happened: Event, log_format: str = "json", level: str = "debug") -> str:
    """What these events write."""
    stream = io.StringIO()
    listener = LogListener(log_format, level, stream)
    for event in happened:
        listener(event)
    return stream.getvalue()


def objects(text: str) -> list[dict[str, Any]]:
    """One object a line."""
    return [json.loads(line) for line in text.splitlines()]


def test_there_is_an_example_of_each_event() -> None:
    """The list above leaves no event out."""
    assert set(Event.__subclasses__()) == {type(event) for event in EXAMPLES}


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_each_event_is_one_line_of_json(event: Event) -> None:
    """With a name, a level, a time in UTC, and its fields."""
    (made,) = objects(logged(event))
    name, fields = describe(event)
    assert {"event", "level", "timestamp", *fields} == set(made)
    assert name == made["event"]
    assert made["timestamp"].endswith("Z")
    assert {"event": name, **json.loads(json.dumps(fields))}.items() <= made.items()


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_each_event_is_one_line_of_text(event: Event) -> None:
    """For people, without colours."""
    text = logged(event, log_format="text")
    assert text.count("\n") == 1
    assert describe(event)[0] in text
    assert "\x1b" not in text


def test_names_and_fields() -> None:
    """Nouns and verbs, numbers flat and short."""
    assert describe(EXAMPLES[2]) == (
        "batch_loaded",
        {
            "collection": "a",
            **Counts(3, 2, 1).as_dict(),
            "size_bytes": 1234,
            "seconds": 0.123,
            "documents": 0,
            "share": None,
        },
    )
    assert describe(EXAMPLES[0])[1]["collections"] == ["a", "b"]
    assert describe(EXAMPLES[-1]) == ("run_finished", {**Counts(3, 3).as_dict(), "seconds": 1.5})


def test_documents_never_show() -> None:
    """A reject's line has the reason and not the document."""
    for log_format in ("json", "text"):
        assert "hunter2" not in logged(EXAMPLES[4], log_format=log_format)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", {type(event) for event in EXAMPLES}),
        (
            "info",
            {type(event) for event in EXAMPLES}
            - {events.BatchLoaded, events.CheckpointSaved, events.LimitsChanged, events.DocumentsCompared}
            - {events.TaskProgressed, events.CollectionCounted},
        ),
        ("warning", {events.DocumentRejected, events.RetryScheduled, events.BatchSplit}),
        ("error", set()),
    ],
)
def test_levels(level: str, expected: set[type[Event]]) -> None:
    """What goes wrong is a warning, what happens all the time is a detail."""
    assert expected == {type(event) for event in EXAMPLES if logged(event, level=level)}


def test_a_million_rejects_are_not_logged() -> None:
    """The log shows what they look like, and says that there are more; verify writes no file of them."""
    happened = [events.DocumentRejected(REJECT._replace(id=f"d{number}")) for number in range(1000)]
    made = objects(logged(*happened))
    assert [f"d{number}" for number in range(MAX_REJECTS_SHOWN)] == [line["id"] for line in made[:-1]]
    assert "a reject file has all, where one is written" in made[-1]["reason"]


UGLY = "\x1b[31mred\u202e\ud800\u2028 \r\nnext"


def test_text_cannot_steer_a_terminal() -> None:
    """Ids and reasons come from outside: their control characters are escaped, and the line stays one."""
    text = logged(events.DocumentRejected(REJECT._replace(id=UGLY, reason="\x1b[2J")), log_format="text")
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    assert "\\x1b[31mred" in text


def test_json_is_one_line_and_exact() -> None:
    """The same text comes back, on one line by anyone's rule, in plain ASCII."""
    text = logged(events.DocumentRejected(REJECT._replace(id=UGLY)))
    assert len(text.splitlines()) == 1
    assert text.isascii()
    assert json.loads(text)["id"] == UGLY


def test_long_texts_are_cut() -> None:
    """An id of 100 kB does not fill the log."""
    text = logged(events.DocumentRejected(REJECT._replace(id="x" * 100_000, reason="y" * 100_000)))
    assert len(text) < 1500


def test_every_event_can_be_described() -> None:
    """Even one that came later: by its class and fields."""

    @dataclasses.dataclass
    class SomethingNew:
        value: float

    made: Any = SomethingNew(1.23456)
    assert describe(made) == ("something_new", {"value": 1.235})


def test_what_the_server_is_at_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an index that is built for minutes a line comes every ten seconds; with --log-level debug, each."""
    now = 100.0
    monkeypatch.setattr("migrator.report.logs.time", SimpleNamespace(monotonic=lambda: now))
    stream = io.StringIO()
    listener = LogListener("json", "info", stream)
    for step in range(100):
        now = 100.0 + step / 4
        listener(events.TaskProgressed("indexer", "db/_design/by", step / 100))
    shown = [json.loads(line)["share"] for line in stream.getvalue().splitlines()]
    assert shown == [0.4, 0.8]
