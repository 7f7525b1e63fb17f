"""The page by error message: each message that it names is said, and ends with the exit code that is told."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

import migrator
from migrator import errors
from migrator.couch.responses import Answer, refuse, refuse_bulk
from migrator.couch.trouble import SERVER_TROUBLE
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
PACKAGE = Path(migrator.__file__).parent
ANSWERS = ROOT / "tests" / "data" / "couchdb-3.5.0-answers.ndjson"
# Said by CouchDB's sources, where no answer was recorded; what becomes of each is tried below all the same.
UNRECORDED = {
    "You are not allowed to access this db.",
    "Account is temporarily locked due to multiple authentication failures",
    "the request entity is too large",
    "No DB shards could be opened.",
    "The request could not be processed in a reasonable amount of time.",
    "…",
}
# Answers to requests for a database, not to a batch of documents.
ABOUT_DATABASES = {"file_exists", "illegal_database_name"}
STATUS = re.compile(r"(\d{3}) (\w+): (.+)", re.DOTALL)


def entries() -> dict[str, str]:
    """What the page says of each message."""
    text = PAGE.read_text(encoding="utf-8")
    parts = re.split(r"^#{2,3} (.*)$", text, flags=re.MULTILINE)[1:]
    found = zip(parts[::2], parts[1::2], strict=True)
    return {title[1:-1]: body for title, body in found if title.startswith("`")}


SERVERS = [message for message in entries() if STATUS.match(message)]
OWN = [message for message in entries() if message not in SERVERS and not re.match(r"\d{3} ", message)]


@cache
def templates() -> frozenset[str]:
    """Every text in the package's code, with … for what is filled in."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.add("".join(map(_part, node.values)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return frozenset(found)


def _part(value: ast.expr) -> str:
    """A constant as it is; what is filled in as …, in quotes where it is shown as Python shows a text."""
    if isinstance(value, ast.Constant):
        return str(value.value)
    return "'…'" if isinstance(value, ast.FormattedValue) and value.conversion == ord("r") else "…"


def has_in_order(text: str, parts: list[str]) -> bool:
    """Whether a text has these parts one after the other, with anything between them."""
    end = 0
    for part in parts:
        begin = text.find(part, end)
        if begin < 0:
            return False
        end = begin + len(part)
    return True


@pytest.mark.parametrize("message", OWN)
def test_a_message_is_in_the_code(message: str) -> None:
    """What the page quotes is said by the code, word for word but for what is filled in."""
    letters = re.sub(r"[\W\d]", "", message)
    assert len(letters) > 8, f"{message}: too little to be looked for"
    # A connection's own words come from the system.
    said = {*templates(), "…: Connection refused."}
    assert any(has_in_order(text, message.split("…")) for text in said), message


@pytest.mark.parametrize("message", SERVERS)
def test_an_answer_of_the_server_is_treated_as_told(message: str) -> None:
    """What CouchDB says was recorded or is in its sources, and becomes the exit code or reject that is told."""
    match = STATUS.match(message)
    assert match
    status, error, reason = int(match[1]), match[2], match[3]
    recorded = ANSWERS.read_text(encoding="utf-8").replace('\\"', '"')
    assert reason in UNRECORDED or f'"error":"{error}","reason":"{reason}' in recorded, message
    body = json.dumps({"error": error, "reason": reason}).encode()
    told = entries()[message]
    refused = refuse if error in ABOUT_DATABASES else refuse_bulk
    with pytest.raises(errors.MigratorError) as raised:
        refused(Answer(status, {}, body), "Writing", "http://localhost:5984")
    if isinstance(raised.value, errors.BatchRefused):
        assert "reject" in told, message
        if status == 500:
            assert error not in SERVER_TROUBLE
    else:
        assert f"Exit code {raised.value.exit_code}" in told.replace("\n", " ") or "other programs" in told, (
            message
        )
    with pytest.raises(errors.EndpointError) as raised_reading:
        refuse(Answer(status, {}, body), "Reading", "http://localhost:5984")
    assert isinstance(raised_reading.value, errors.TransientError) is (status >= 500 or status == 429)


def test_a_rejects_word_is_in_the_code() -> None:
    """Each word in the table of rejects is one that a reject can have: the code's, or the server's."""
    page = (ROOT / "docs" / "rejected.md").read_text(encoding="utf-8")
    words = [
        word
        for cell in re.findall(r"^\| (`\w+`.*?) \|", page, re.MULTILINE)
        for word in re.findall(r"`(\w+)`", cell)
    ]
    assert len(words) > 12
    recorded = ANSWERS.read_text(encoding="utf-8").replace('\\"', '"')
    missing = [word for word in words if word not in templates() and f'"error":"{word}"' not in recorded]
    assert missing == []


def test_every_kind_of_error_is_there() -> None:
    """Of each exit code that an error has, some message is explained."""
    text = " ".join(PAGE.read_text(encoding="utf-8").split()).lower()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.MigratorError)}
    assert {code for code in codes if f"exit code {code}" not in text} == {errors.EXIT_INTERRUPTED}
    assert len(OWN) + len(SERVERS) > 55


def test_codes_are_those_of_the_errors() -> None:
    """The table of exit codes has each code of the library once."""
    table = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert listed == sorted(value for name, value in vars(errors).items() if name.startswith("EXIT_"))
