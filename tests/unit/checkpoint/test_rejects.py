"""The format of a reject file: everything comes back that a retry needs, whatever the document held."""

from __future__ import annotations

import errno
import fcntl
import json
import math
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.checkpoint.reject_file import RejectFile
from migrator.checkpoint.rejects import FIELDS, line_to_reject, reject_to_line, stages_in
from migrator.codec import STRICT, TAGGED
from migrator.errors import ConfigError, LockedError
from migrator.model import Reject

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
texts = st.text(max_size=30)


@given(texts, texts, texts, texts, texts, st.dictionaries(texts, values, max_size=4))
def test_comes_back(
    collection: str, id: str, stage: str, error: str, reason: str, document: dict[str, Any]
) -> None:
    """Names, words and the document, to the last digit, on one line."""
    line = reject_to_line(Reject(collection, id, stage, error, reason, 3, 403, document))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    expected = Reject(collection, id, stage, error, reason, document=document)
    found = line_to_reject(line, "r:1")
    assert expected == found
    assert json.dumps(document) == json.dumps(found.document)


def test_has_the_documented_fields() -> None:
    """In this order, with null where there is nothing."""
    line = reject_to_line(Reject("c", "a", "load", "forbidden", "not you", 2, 403, {"_id": "a", "_rev": "1-x"}))
    expected = {
        "collection": "c",
        "database": "",
        "id": "a",
        "stage": "load",
        "status": 403,
        "error": "forbidden",
        "reason": "not you",
        "attempts": 2,
        "document": {"_id": "a", "_rev": "1-x"},
    }
    assert json.dumps(expected) == json.dumps(json.loads(line))
    assert tuple(expected) == FIELDS


@pytest.mark.parametrize(
    "document",
    [object(), {"a": object()}, {1: 2}, "\ud800", {"a": {"b": {1, object()}}}],
    ids=["object", "inside", "key", "text", "set"],
)
def test_what_json_cannot_hold_is_shown(document: Any) -> None:
    """A person sees it as Python shows it; nothing is raised while a reject is noted."""
    line = reject_to_line(Reject("c", "\ud800", "transform", "e", "r", document=document))
    found = line_to_reject(line, "r:1")
    assert repr(document) == found.document
    assert found.id == "\ud800"


class Unshowable:
    """Fails where it is asked how it looks."""

    def __repr__(self) -> str:
        raise ValueError("no")


def holds_itself() -> dict[str, Any]:
    """A document that no text can hold whole."""
    document: dict[str, Any] = {"name": "kept"}
    document["self"] = [document]
    return document


def nested(levels: int) -> dict[str, Any]:
    """Deeper than Python shows, with an object in it that JSON lacks."""
    document: dict[str, Any] = {"o": object()}
    for _ in range(levels):
        document = {"d": document}
    return document | {"name": "kept"}


@pytest.mark.parametrize(
    "document",
    [
        holds_itself(),
        {"name": "kept", "long": 10**5000},
        {"name": "kept", "odd": Unshowable()},
        nested(100_000),
    ],
    ids=["cycle", "digits", "unshowable", "deep"],
)
def test_what_does_not_let_itself_be_shown_is_shown_in_part(document: Any) -> None:
    """A value with code of its own, an integer over Python's limit, a cycle: none of them ends a run."""
    found = line_to_reject(reject_to_line(Reject("c", "a", "load", "e", "r", document=document)), "r:1")
    assert "'name': 'kept'" in found.document


def test_values_that_json_lacks_are_written_plainly() -> None:
    """A date in a document that was refused for something else stays readable."""
    line = reject_to_line(Reject("c", "a", "load", "e", "r", document={"at": datetime(2024, 1, 2)}))  # noqa: DTZ001
    assert json.loads(line)["document"] == {"at": "2024-01-02T00:00:00"}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"_id": "a"}',
        b'{"collection": "c", "stage": "load"}',
        b'{"collection": "c", "document": {}}',
        b'{"collection": 5, "stage": "load", "document": {}}',
        b"\xff",
    ],
)
def test_other_lines_are_refused(line: bytes) -> None:
    """A file that is something else is named with the line."""
    with pytest.raises(ConfigError, match=r"^r:7") as caught:
        line_to_reject(line, "r:7")
    assert caught.value.hint


def test_a_line_fixed_by_hand_may_lack_what_nobody_needs() -> None:
    """Collection, stage and document are enough."""
    line = b'{"collection": "c", "stage": "load", "document": {"_id": "a"}}'
    assert Reject("c", "", "load", "", "", document={"_id": "a"}) == line_to_reject(line, "r:1")


TEXTS = [
    b'{"_id": "a", "n": NaN}',
    b'{"_id": "a", "n": -Infinity}',
    b'{"_id": "a", "n": 1e999}',
    b'{"_id": "a", "s": "caf\xe9"}',
    b'{"_id": "a\xff"}',
    b'{"_id": "a", "s": "tab\there"}',
    b'{"_id": "a"',
    b'{"_id": "a",}',
    b"{'_id': 'a'}",
    b"\xff\xfe{\x00",
    b"\x00" * 50,
    b"",
    b"plain words",
    "\ufeff{}".encode(),
    b'"a text"',
    b"[1, 2]",
    b'{"_id": "\\ud800"}',
    b"x" * 1_000_001,
    b'{"_id": "long", "t": "' + b"\xc3\xa9" * 600_000 + b'", "n": NaN}',
    b"\xe9" * 1_200_000,
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:20]))
def test_a_text_that_is_no_json_comes_back_to_the_byte(text: bytes) -> None:
    """Whatever its bytes and however long, on one line of JSON; and what people see of it is its beginning."""
    line = reject_to_line(Reject("c", "a", "extract", "invalid_json", "r", document=text))
    assert line.count(b"\n") == 1
    value = json.loads(line)
    assert value["form"] == "text"
    assert text[:1_000_000].decode("utf-8", "replace") == value["document"]
    assert text == line_to_reject(line, "r:1").document


def test_a_text_that_was_edited_counts_before_its_bytes() -> None:
    """Fixed in the line, as a text or as an object; the base64 beside it may stay."""
    line = reject_to_line(Reject("c", "a", "extract", "invalid_utf8", "r", document=b'{"_id": "caf\xe9"}'))
    value = json.loads(line)
    fixed = {**value, "document": '{"_id": "café"}'}
    assert line_to_reject(json.dumps(fixed).encode(), "r:1").document == '{"_id": "café"}'.encode()
    fixed = {**value, "document": {"_id": "café"}}
    assert line_to_reject(json.dumps(fixed).encode(), "r:1").document == {"_id": "café"}
    with pytest.raises(ConfigError, match="base64 is damaged"):
        line_to_reject(json.dumps({**value, "base64": "%"}).encode(), "r:1")


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"_id": "a", "n": math.nan}, b'{"_id": "a", "n": NaN}'),
        ({"_id": "a", "n": [math.inf]}, b'{"_id": "a", "n": [Infinity]}'),
        ({"_id": "a", "s": "\ud800"}, b'{"_id": "a", "s": "\\ud800"}'),
    ],
)
def test_what_a_strict_run_refused_can_be_retried(document: dict[str, Any], text: bytes) -> None:
    """NaN and half surrogates have a text, which a transformer can fix; null would be another value."""
    line = reject_to_line(Reject("c", "a", "transform", "e", "r", document=document), STRICT)
    assert text == line_to_reject(line, "r:1").document


def test_values_are_written_as_the_run_writes_them() -> None:
    """Before they are loaded; what was rejected at the target is written already."""
    document = {"_id": "a", "at": Decimal("1.50")}
    tagged = reject_to_line(Reject("c", "a", "transform", "e", "r", document=document), TAGGED)
    assert json.loads(tagged)["document"]["at"] == {"$type": "decimal", "value": "1.50"}
    stored = {"_id": "a", "at": {"$type": "decimal", "value": "1.50"}}
    line = reject_to_line(Reject("c", "a", "load", "e", "r", document=stored), TAGGED)
    assert stored == json.loads(line)["document"]


def test_a_file_of_the_version_before_is_read() -> None:
    """It has no database, no form, and no command."""
    old = b'{"collection":"c","id":"","stage":"extract","status":null,"error":"e","reason":"r","attempts":1,'
    assert line_to_reject(old + b'"document":"{\\"_id\\": torn"}', "r:1") == Reject(
        "c", "", "extract", "e", "r", document='{"_id": torn'
    )


@pytest.mark.parametrize(
    ("lines", "stages"),
    [
        ([], set()),
        (["load"], {"load"}),
        (["load", "extract", "load"], {"load", "extract"}),
        (["transform", "extract", "load"], {"transform", "extract", "load"}),
    ],
)
def test_knows_its_stages(tmp_path: Path, lines: list[str], stages: set[str]) -> None:
    """Whatever the names before and the documents that follow say."""
    path = tmp_path / "r"
    document = {"stage": "no", "x": '"stage":"neither"'}
    with path.open("wb") as file:
        for stage in lines:
            file.write(
                reject_to_line(Reject('"stage":"nor"', '"stage":"this"', stage, "e", "r", document=document))
            )
    assert stages == stages_in(path)
    assert stages_in(tmp_path / "none") == set()


def test_one_run_writes_a_file_and_another_is_told(tmp_path: Path) -> None:
    """Until it is closed, or the next free name is taken."""
    path = tmp_path / "r.ndjson"
    first = RejectFile(path)
    first.write([Reject("c", "a", "load", "conflict", "there is another")])
    with pytest.raises(LockedError, match=r"Another run is writing the reject file .*r\.ndjson"):
        RejectFile(path)
    other = RejectFile(path, shared=True)
    other.write([Reject("c", "b", "load", "conflict", "there is another")])
    assert other.path == tmp_path / "r.ndjson.1"
    other.close()
    first.close()
    RejectFile(path).close()


def test_a_file_system_without_locks_takes_rejects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can say who writes there, which is not a reason to keep none."""

    def fail(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    rejects = RejectFile(tmp_path / "r.ndjson")
    rejects.write([Reject("c", "a", "load", "conflict", "there is another")])
    assert rejects.flush() == (tmp_path / "r.ndjson").stat().st_size > 0
    rejects.close()
