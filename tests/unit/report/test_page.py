"""The page of a report: it says what the report says, needs nothing else, and nothing from outside steers it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from migrator.errors import ConfigError
from migrator.model import CollectionReport, Counts, Report
from migrator.report.html import render_page
from migrator.report.html.wording import by_collection, duration, number, retried, size, ticks, time_ticks
from migrator.report.summary import report_from_json, report_to_json
from tests.unit.report.example import ACCENTED, example

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<style>*{display:none}</style>",
    "&lt;b&gt; &amp; 'x' \"y\"",
    "<!-- --!> -->",
    "\u202etxt.exe",
    "\x00\x1b[31m\ud800",
    "javascript:alert(1)",
    "<script></script><style></style>",
]


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []
        self._raw = ""
        self.raw: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the element."""
        self.elements.append((tag, dict(attrs)))
        self._raw = tag if tag in {"script", "style"} else ""

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or a style."""
        if tag == self._raw:
            self._raw = ""

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        if self._raw:
            self.raw[self._raw] = self.raw.get(self._raw, "") + data
        else:
            self.shown.append(data)

    @property
    def text(self) -> str:
        """All text on one line."""
        return " ".join("".join(self.shown).split())


def test_says_what_the_report_says() -> None:
    """The verdict, the numbers by collection, the reasons, the verification."""
    page = Page(render_page(example()))
    for words in (
        "13 of 4,000 documents were rejected",
        "2,500 written",
        "rejects.ndjson",
        "invalid_json",
        ACCENTED,
        "forbidden by the design document",
        "Source and target differ.",
        "missing",
    ):
        assert words in page.text, words


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (Counts(read=2, written=2), "2 documents, every one accounted for"),
        (Counts(read=1, unchanged=1), "1 document, and nothing had to be written"),
        (Counts(read=2, written=1, rejected=1), "1 of 2 documents was rejected"),
        (Counts(), "There was nothing to move."),
    ],
)
def test_the_headline_is_the_result(counts: Counts, words: str) -> None:
    """What happened stands in large letters, without a history too."""
    value = report_to_json(Report({"c": CollectionReport("c", counts)}, 1.0))
    assert words in Page(render_page(value)).text
    verdict, _, rest = render_page(value, short=True).partition(": ")
    assert (verdict, "not verified" in rest) == ("NOT OK" if counts.rejected else "ok", True)


def test_a_dry_run_is_called_one() -> None:
    """Nobody takes what would be moved for what was."""
    value = report_to_json(Report({"c": CollectionReport("c", Counts(3, 3))}, 1.0), dry_run=True)
    text = Page(render_page(value)).text
    assert "3 documents would be moved" in text
    assert "nothing was written" in text


def test_a_verification_alone_has_a_page() -> None:
    """What verify --report wrote is a report too."""
    text = Page(render_page(example()["verification"])).text
    assert "Source and target differ" in text
    assert "3,900 documents compared" in text
    assert "What moved" not in text


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_from_outside_becomes_markup(text: str) -> None:
    """The same elements with the same attributes' names, whatever collections, ids and reasons are called."""
    plain, spoilt = Page(render_page(example())), Page(render_page(example(text, text, text)))
    assert [tag for tag, _ in plain.elements] == [tag for tag, _ in spoilt.elements]
    assert plain.raw == spoilt.raw
    for (_, before), (_, after) in zip(plain.elements, spoilt.elements, strict=True):
        assert {*after} - {*before} <= {"class"}
        for name in ("href", "src", "id", "http-equiv", "content"):
            assert before.get(name) == after.get(name)


def test_what_cannot_be_seen_is_spelled_out() -> None:
    """Controls, halves of surrogates and marks that turn the direction of writing show as what they are."""
    text = render_page(example("\u202etxt\x00\x1b\ud800", "a", "b"))
    assert "\\u202etxt\\x00\\x1b\\ud800" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text)
    text.encode()


def test_asks_nobody_for_anything() -> None:
    """No address but data: and places of the page itself, and a policy that forbids the rest by hash."""
    text = render_page(example())
    page = Page(text)
    for _, attributes in page.elements:
        for name in ("href", "src", "action", "srcset", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
        assert not any(name == "style" or name.startswith("on") for name in attributes)
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for name in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.raw[name].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "url(" not in page.raw["style"]
    assert "@import" not in page.raw["style"]
    assert not re.search(r"fetch|XMLHttp|innerHTML|eval|import\(|WebSocket", page.raw["script"])


def test_is_readable_for_everyone() -> None:
    """A language, a title, one h1, labels, captions, scopes, and a name for every drawing."""
    page = Page(render_page(example()))
    tags = [tag for tag, _ in page.elements]
    assert (tags.count("h1"), tags.count("main"), tags.count("title") > 1) == (1, 1, True)
    assert ("html", {"lang": "en"}) in page.elements
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        if tag == "svg":
            named = attributes.get("aria-label") or attributes.get("aria-labelledby")
            assert named
            assert attributes["role"] == "img"
        if tag == "input":
            assert ("label", attributes["id"]) in [(t, a.get("for")) for t, a in page.elements]
        if tag == "th":
            assert attributes["scope"] in {"col", "row"}
        for reference in (attributes.get("aria-labelledby") or "").split():
            assert reference in ids
    assert tags.count("caption") == tags.count("table")


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"schema": 2},
        {"schema": 1},
        {"schema": 1, "ok": True, "collections": [], "totals": {}, "seconds": 1},
        {"schema": 1, "ok": True, "differences": []},
        {**example(), "history": {"series": {"documents": [1]}}},
        {**example(), "totals": {"read": "<b>"}},
    ],
)
def test_what_is_no_report_is_refused(value: Any) -> None:
    """With its name and what to name in its place, never with a traceback or half a page."""
    with pytest.raises(ConfigError, match=r"not a (whole )?report") as caught:
        render_page(value, name="x.json")
    assert "x.json" in str(caught.value)
    assert "--report" in caught.value.hint


def test_a_report_survives_its_file() -> None:
    """The page is made from JSON as it was read back."""
    value = example()
    assert render_page(json.loads(json.dumps(value))) == render_page(value)


def test_numbers_are_short() -> None:
    """As people say them."""
    assert [number(1234.5), number(99.25), number(0.123), number(None)] == ["1,234", "99.2", "0.12", "–"]  # noqa: RUF001
    assert [size(999), size(1000), size(1234567)] == ["999 bytes", "1 kB", "1.2 MB"]
    assert [duration(s) for s in (0.05, 59.96, 61, 3600, 90061)] == [
        "0.05 s",
        "60 s",
        "1 min 1 s",
        "1 h",
        "25 h 1 min",
    ]


@pytest.mark.parametrize("highest", [0, 0.0007, 1, 7, 99, 100, 12345, 1e9])
def test_ticks_reach_above_what_is_drawn(highest: float) -> None:
    """Round steps, few of them, the last not below the highest value."""
    made = ticks(highest)
    assert made[0] == 0
    assert made[-1] >= highest * 0.999
    assert 2 <= len(made) <= 6


@pytest.mark.parametrize("seconds", [0.25, 3, 61, 5000, 100_000, 10_000_000])
def test_moments_are_round(seconds: float) -> None:
    """A clock's own steps, none after the end."""
    made = time_ticks(seconds)
    assert 2 <= len(made) <= 6
    assert made[-1] <= seconds * 1.001


def test_what_was_proven_or_changed_on_its_way_has_a_column() -> None:
    """Where there is any; a report of a version before, which has no such numbers, is shown too."""
    counts = Counts(read=30, written=29, rejected=1, proven=28, altered=1)
    value = report_to_json(Report({"c": CollectionReport("c", counts)}, 1.0))
    head, (row,), _ = by_collection(value)
    shown = dict(zip(head, row, strict=True))
    assert (shown["proven"], shown["altered"]) == (28, 1)
    assert "proven" in Page(render_page(value)).text
    for numbers in (value["totals"], *value["collections"].values()):
        del numbers["proven"], numbers["altered"]
    assert "proven" not in Page(render_page(value)).text
    assert report_from_json(value, name="r").totals == Counts(read=30, written=29, rejected=1)


def test_retries_are_grouped_by_reason() -> None:
    """Reasons that differ by a number, and collections, are one line; the largest comes first."""
    said = [("load a", "503 after 1.2 s", 2), ("load b", "503 after 3.4 s", 5), ("read c", "reset", 1)]
    said += [(f"load {name}", "503 after 9 s", 1) for name in "cd"]
    reasons = [dict(zip(("operation", "reason", "count"), each, strict=True)) for each in said]
    assert retried({"retry_reasons": reasons}) == [
        ["503 after 1.2 s", "load b (5), load a (2), load c (1) and 1 more", 9],
        ["reset", "read c", 1],
    ]


def test_a_report_of_a_version_before_has_no_percentiles_of_all() -> None:
    """It is shown as it is, as a page and as text."""
    value = example()
    assert "A batch took" in Page(render_page(value)).text
    assert "(p95)" in render_page(value, short=True)
    del value["history"]["latency_ms"]
    for counts in (value["totals"], *value["collections"].values()):
        del counts["proven"], counts["altered"]
    assert "A batch took" not in Page(render_page(value)).text
    assert "proven" not in render_page(value, short=True)


@pytest.mark.parametrize("text", HOSTILE)
def test_the_short_form_is_a_line_for_each_fact(text: str) -> None:
    """Whatever reasons are called: no control character, no line of theirs, and few lines in all."""
    short = render_page(example(text, text, f"{text}\n{text}"), short=True)
    lines = short.splitlines()
    assert short.endswith("\n")
    assert all(line.isprintable() and line for line in lines)
    assert len(lines) == len(render_page(example(), short=True).splitlines()) <= 12
    assert lines[0] == "NOT OK: 13 of 4,000 documents were rejected"
    assert lines[-1].startswith("verified: 1 different, 1 missing, 0 extra")
