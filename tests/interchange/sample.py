"""A small database with all that tools stumble over, and its leaves as the server itself gives them."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

from tests.support import request

TEXT = "Zeile eins\r\nline two \u2028 線 😀\n" * 20
BINARY = bytes(range(256)) * 9
REVS = ["a" * 32, "b" * 32, "c" * 32, "d" * 32]


def attachment(data: bytes, content_type: str) -> dict[str, str]:
    """An inline attachment."""
    return {"content_type": content_type, "data": base64.b64encode(data).decode()}


def leaf(id: str, start: int, ids: list[str], **fields: Any) -> dict[str, Any]:
    """A document with its ancestry."""
    return {"_id": id, "_rev": f"{start}-{ids[0]}", "_revisions": {"start": start, "ids": ids}, **fields}


LEAVES: list[dict[str, Any]] = [
    leaf("plain", 1, [REVS[0]], title="keep me", doc={"k": 1}),
    leaf("older", 3, [REVS[2], REVS[1], REVS[0]], n=3),
    leaf("été 日本/a b", 1, [REVS[1]], text='\u2028\u2029 \u0000 \x7f é 線 😀 "quoted" \\ /', empty={}),
    leaf(
        "numbers", 1, [REVS[2]], big=12345678901234567890, neg=-98765432109876543210, one=1.0, small=1e-7, e=1e22
    ),
    leaf("conflicted", 2, [REVS[3], REVS[0]], side="left"),
    leaf("conflicted", 2, [REVS[1], REVS[0]], side="right 線"),
    leaf("conflicted", 3, [REVS[2], REVS[2][:31] + "0", REVS[0]], _deleted=True),
    leaf("gone", 2, [REVS[3], REVS[0]], _deleted=True),
    leaf("gone with a body", 2, [REVS[1], REVS[0]], _deleted=True, why="moved 線"),
    leaf("_design/app", 1, [REVS[0]], language="javascript", views={"all": {"map": "function(d){emit(d._id)}"}}),
    leaf(
        "attached",
        2,
        [REVS[0], REVS[1]],
        _attachments={
            "text.txt": attachment(TEXT.encode(), "text/plain; charset=utf-8"),
            "bytes": attachment(BINARY, "application/octet-stream"),
            "empty": attachment(b"", "image/png"),
            "é 線.bin": attachment(b"\r\n--==\r\n", "application/x-thing"),
        },
    ),
]


def without_empty(document: dict[str, Any]) -> dict[str, Any]:
    """The document without empty attachments, at which couchdb-dump of couchdb-python breaks off."""
    if "_attachments" not in document:
        return document
    kept = {name: each for name, each in document["_attachments"].items() if name != "empty"}
    return {**document, "_attachments": kept}


def fill(server: str, database: str, *, attachments: bool = True, empty: bool = True) -> None:
    """Make the database."""
    url = f"{server}/{quote(database, safe='')}"
    status, answer = request("PUT", url)
    assert status in {201, 202}, answer
    docs = [each for each in LEAVES if attachments or "_attachments" not in each]
    docs = docs if empty else [without_empty(each) for each in docs]
    status, answer = request("POST", f"{url}/_bulk_docs", {"new_edits": False, "docs": docs})
    assert (status, answer) == (201, []), answer


def leaves(server: str, database: str) -> dict[tuple[str, str], dict[str, Any]]:
    """All leaves of a database by id and revision, attachments as content type and decoded length and bytes."""
    url = f"{server}/{quote(database, safe='')}"
    _, changes = request("GET", f"{url}/_changes?style=all_docs")
    asked = [{"id": row["id"], "rev": change["rev"]} for row in changes["results"] for change in row["changes"]]
    _, answer = request("POST", f"{url}/_bulk_get?revs=true&attachments=true", {"docs": asked})
    found = {}
    for result in answer["results"]:
        for row in result["docs"]:
            document = row["ok"]
            found[document["_id"], document["_rev"]] = normal(document)
    return found


def normal(document: dict[str, Any]) -> dict[str, Any]:
    """A document whose attachments are what they mean: content type and base64."""
    copy = dict(document)
    if "_attachments" in copy:
        copy["_attachments"] = {
            name: [each.get("content_type"), each["data"]] for name, each in copy["_attachments"].items()
        }
    return copy


def as_json(found: dict[tuple[str, str], dict[str, Any]]) -> str:
    """One leaf a line, for a file."""
    return "".join(json.dumps(found[key], ensure_ascii=True, sort_keys=True) + "\n" for key in sorted(found))
