"""What each answer of a server stands for: data, rows, or one of the library's errors with a remedy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from migrator.couch.responses import Answer, refuse, refuse_bulk, retry_after_s
from migrator.errors import (
    BatchRefused,
    EndpointError,
    Forbidden,
    MigratorError,
    TargetMissing,
    TransientError,
    Unauthorized,
)
from tests.support.stub_server import recorded

URL = "http://host:5984"
RECORDED = recorded()


def replayed(name: str) -> Answer:
    """A recorded answer."""
    record = RECORDED[name]
    return Answer(record["status"], record["headers"], record["response"].encode())


def refused(answer: Answer, *, bulk: bool = True) -> MigratorError:
    """The error it stands for."""
    with pytest.raises(MigratorError) as caught:
        (refuse_bulk if bulk else refuse)(answer, "Writing 2 documents to db", URL)
    assert URL in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("bad id underscore", "illegal_docid", "Only reserved document ids may start with underscore."),
        ("bad id empty", "illegal_docid", "Document id must not be empty"),
        ("bad id number", "illegal_docid", "Document id must be a string"),
        ("bad field", "doc_validation", "Bad special document member: __v"),
        ("bad rev", "bad_request", "Invalid rev format"),
        ("doc not object", "bad_request", "Document must be a JSON object"),
        ("deleted not bool", "doc_validation", "Bad special document member: _deleted"),
        ("attachments not object", "doc_validation", "Bad special document member: _attachments"),
        ("lone surrogate", "bad_request", "invalid UTF-8 JSON"),
        ("float overflow", "bad_request", "invalid UTF-8 JSON"),
        ("partitioned bad id", "illegal_docid", "Doc id must be of form partition:id"),
    ],
)
def test_a_clean_refusal_of_a_batch(name: str, error: str, reason: str) -> None:
    """One document is at fault, which one is not said, and nothing was written."""
    found = refused(replayed(name))
    assert isinstance(found, BatchRefused)
    assert (found.status, found.error, found.reason, found.guilty_id) == (400, error, reason, "")
    assert not found.maybe_written
    assert not found.server_fault


def test_a_document_too_large_is_named() -> None:
    """The reason is the id."""
    found = refused(replayed("document too large"))
    assert isinstance(found, BatchRefused)
    assert (found.status, found.error, found.guilty_id, found.maybe_written) == (
        413,
        "document_too_large",
        "big",
        False,
    )


def test_a_missing_stub_may_leave_some_written() -> None:
    """412 ends the answer, not the writing."""
    found = refused(replayed("attachment stub missing"))
    assert isinstance(found, BatchRefused)
    assert (found.status, found.error, found.maybe_written) == (412, "missing_stub", True)


def test_a_500_of_the_documents_own() -> None:
    """`badarith` looks like the server's trouble, and passes for no document ever."""
    found = refused(replayed("integer of 310 digits"))
    assert isinstance(found, BatchRefused)
    assert (found.status, found.error, found.reason) == (500, "unknown_error", "badarith")
    assert found.server_fault
    assert found.maybe_written


@pytest.mark.parametrize("error", ["timeout", "internal_server_error", "nodedown", "insufficient_storage"])
def test_a_500_of_the_servers_own(error: str) -> None:
    """The names that CouchDB has for its own trouble blame no document."""
    found = refused(Answer(500, {}, f'{{"error":"{error}","reason":"r"}}'.encode()))
    assert isinstance(found, TransientError)
    assert (found.status, found.outcome_unknown, found.overload) == (500, True, error == "timeout")
    assert found.signature == f"500 {error} r"


def test_a_missing_database() -> None:
    """404 is no matter of trying again."""
    for bulk in (True, False):
        found = refused(replayed("bulk to no database"), bulk=bulk)
        assert isinstance(found, TargetMissing)
        assert found.exit_code == 5


@pytest.mark.parametrize("name", ["no credentials", "not allowed", "bad login 1", "bad login 7"])
def test_refused_credentials_are_never_tried_again(name: str) -> None:
    """401 warns of the lock, and is not a transient error."""
    for bulk in (True, False):
        found = refused(replayed(name), bulk=bulk)
        assert isinstance(found, Unauthorized)
        assert "five failures" in found.hint


def test_a_locked_account_is_told_from_a_lack_of_rights() -> None:
    """403 has two meanings, and two remedies."""
    locked = (
        b'{"error":"forbidden","reason":"Account is temporarily locked due to multiple authentication failures"}'
    )
    other = b'{"error":"forbidden","reason":"You are not allowed to access this db."}'
    errors = [refused(Answer(403, {}, body)) for body in (locked, other)]
    assert [type(error) for error in errors] == [Forbidden, Forbidden]
    assert "five minutes" in errors[0].hint
    assert "admin" in errors[1].hint


@pytest.mark.parametrize(
    ("status", "body", "overload"),
    [
        (408, b"", True),
        (429, b'{"error":"too_many_requests","reason":"You have exceeded your rate limit"}', True),
        (500, b"<html>oops</html>", False),
        (502, b"<html>Bad Gateway</html>", False),
        (503, b"<html>Service Unavailable</html>", True),
        (503, b'{"error":"service unavailable","reason":"maintenance"}', True),
        (504, b"", True),
    ],
)
def test_what_may_pass_later(status: int, body: bytes, overload: bool) -> None:
    """Overload and trouble on the way, of the server or of a proxy, with how long to wait."""
    for bulk in (True, False):
        found = refused(Answer(status, {"Retry-After": "7"}, body), bulk=bulk)
        assert isinstance(found, TransientError)
        assert (found.status, found.overload, found.retry_after_s) == (status, overload, 7.0)
        assert found.outcome_unknown == (status >= 500)
        assert "--resume" in found.hint


def test_a_proxys_page_gives_its_first_words() -> None:
    """HTML is not JSON, and its beginning says enough; 413 from a proxy divides the batch, not blames it."""
    page = b"<html>\r\n<head><title>413 Request Entity Too Large</title></head>" + b" " * 1000
    found = refused(Answer(413, {}, page))
    assert isinstance(found, BatchRefused)
    assert (found.error, found.guilty_id) == ("http_413", "")
    assert found.reason == "<html> <head><title>413 Request Entity Too Large</title></head>"


def test_another_refusal_is_an_error_of_the_endpoint() -> None:
    """What nobody foresaw is told with the server's words, and not tried again."""
    found = refused(Answer(406, {}, b'{"error":"not_acceptable","reason":"r"}'))
    assert type(found) is EndpointError
    assert "406 not_acceptable (r)" in str(found)


def test_a_redirect_is_told_without_credentials() -> None:
    """The address it points to may hold some."""
    found = refused(Answer(302, {"Location": "http://ada:s3cr3t@other/db"}, b""))
    assert type(found) is EndpointError
    assert "http://other/db" in str(found)
    assert "s3cr3t" not in str(found)


# -- bodies -----------------------------------------------------------------------------------------------------


def test_numbers_come_out_exactly() -> None:
    """Integers of any size, floats as they are spelled."""
    value = replayed("numbers out").json("Reading")
    assert (value["c"], value["a"], value["f"], value["dup"]) == (12345678901234567890123, 1.0, 1e22, 2)
    assert type(value["a"]) is float


def test_a_deep_body_is_read() -> None:
    """CouchDB takes and gives any depth."""
    depth = 100_000
    value = Answer(200, {}, b'{"a":' + b"[" * depth + b"]" * depth + b"}").json("Reading")
    for _ in range(depth - 1):
        value = value["a"][0] if isinstance(value, dict) else value[0]
    assert value == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "0 bytes"),
        (b'{"rows":[', "9 bytes"),
        (b'{"rows":[1,2', "12 bytes"),
        (b'{"rows":[1]}\n{"error":"timeout","reason":"slow"}\n', '{"error":"timeout","reason":"slow"}'),
        (b'{"rows":[1,\n\n{"error":"timeout","reason":"slow"}\n', '{"error":"timeout","reason":"slow"}'),
        (b"\xff\xfe", "2 bytes"),
        (b"NaN", "3 bytes"),
    ],
)
def test_half_a_body_is_transient(body: bytes, words: str) -> None:
    """What is not whole JSON broke off, or has an error after it, whatever the status said."""
    with pytest.raises(TransientError) as caught:
        Answer(200, {}, body).json("Reading x")
    assert caught.value.outcome_unknown
    assert words in str(caught.value)
    assert "Reading x" in str(caught.value)


# -- Retry-After ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("Mon, 01 Jan 2029 00:01:00 GMT", 60.0),
        ("Mon, 01 Jan 2029 00:01:00", 60.0),
        ("Mon, 01 Jan 2029 01:01:00 +0100", 60.0),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
    ],
)
def test_how_long_to_wait(text: str, seconds: float | None) -> None:
    """Seconds or a date; nonsense counts as nothing said."""
    now = datetime(2029, 1, 1, tzinfo=UTC)
    assert retry_after_s({"Retry-After": text}, now=now) == seconds
    assert retry_after_s({}, now=now) is None


def test_every_recorded_answer_has_a_meaning() -> None:
    """Each refusal that the real server gave becomes one of the library's errors, never anything else."""
    meanings: dict[str, Any] = {}
    for name, record in RECORDED.items():
        if record["status"] >= 400:
            for bulk in (True, False):
                meanings[name] = type(refused(replayed(name), bulk=bulk))
    assert len(meanings) > 30
    assert set(meanings.values()) <= {EndpointError, TransientError, TargetMissing, Unauthorized, Forbidden}
