"""Whom a real server's answers blame: what validation functions throw, and documents that come twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.support.commands import run

pytestmark = pytest.mark.usefixtures("no_credentials")

# What a function throws, and what CouchDB makes of it: a row of a 201, or a 500 for the whole request.
THROWN = {
    "throw({forbidden: 'no'})": "forbidden",
    "throw({unauthorized: 'who'})": "unauthorized",
    "throw({other: 'bar'})": "unknown_error",
    "throw('a text')": "unknown_error",
    "doc.a.b.c": "TypeError",
    "throw(new Error('boo'))": "Error",
    "throw(['error', 'own', 'word'])": "own",
    "throw({error: 'own', reason: 'word'})": "unknown_error",
    "throw({a: 1, b: 2})": "unknown_error",
    "throw(12)": "unknown_error",
}
WAYS = ["run", "convert"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where checkpoints and files of rejects go that nobody named."""
    monkeypatch.chdir(tmp_path)


def carry(way: str, documents: list[dict[str, Any]], server: str, database: str) -> tuple[int, dict[str, int]]:
    """Carry documents, with or without their revisions; the exit code and the counts."""
    lines = "".join(json.dumps(document) + "\n" for document in documents)
    Path(f"{database}.ndjson").write_text(lines, encoding="utf-8")
    if way == "run":
        options = ("--checkpoint", "c", "--rejects", "r.ndjson", "--report", "report.json")
        ran = run("run", "-q", "--from", f"{database}.ndjson", "--to", f"{server}/{database}", *options)
        return ran.code, json.loads(Path("report.json").read_text())["totals"]
    to = ("--to", f"{server}/{database}", "--into-existing", "--rejects", "r.ndjson")
    ran = run("convert", "-q", "--json", "--from", f"{database}.ndjson", *to)
    return ran.code, next(json.loads(line) for line in ran.output.splitlines() if line.startswith("{"))


def rejects() -> list[tuple[str, str]]:
    """Ids and words of what was rejected."""
    lines = Path("r.ndjson").read_text(encoding="utf-8").splitlines()
    return [(reject["id"], reject["error"]) for reject in map(json.loads, lines)]


def validated(server: str, database: str, code: str) -> None:
    """Make a database with a function that throws at documents with a field `bad`."""
    assert support.request("PUT", f"{server}/{database}")[0] in {201, 202}
    design = {"validate_doc_update": f"function (doc, old, user) {{ if (doc.bad) {{ {code}; }} }}"}
    assert support.request("PUT", f"{server}/{database}/_design/v", design)[0] in {201, 202}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("code", THROWN)
def test_whatever_a_validation_function_throws_blames_just_its_document(
    code: str, way: str, server_url: str, database_prefix: str, is_couchdb: bool
) -> None:
    """One of ten is named, with the server's word; the others are written."""
    name = f"{database_prefix}a"
    validated(server_url, name, code)
    documents = [{"_id": f"d{n}", "_rev": "1-a", **({"bad": True} if n == 4 else {})} for n in range(10)]
    exit_code, counts = carry(way, documents, server_url, name)
    # After a 500 for the whole request some are there already.
    assert (exit_code, counts["written"] + counts["unchanged"], counts["rejected"]) == (3, 9, 1)
    ((id, word),) = rejects()
    assert id == "d4"
    if is_couchdb:
        assert word == THROWN[code]
    assert len(support.documents(server_url, name)) == 10


REVISION = "1-967a00dff5e02add41819138abb3284d"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ids", ["aa", "aba", "abcabc", "aaaaaa"])
def test_the_same_document_twice_is_one(way: str, ids: str, server_url: str, database_prefix: str) -> None:
    """The first is written, the others are unchanged, and again with all there."""
    name = f"{database_prefix}a"
    documents = [{"_id": id, "_rev": REVISION} for id in ids]
    distinct = len(set(ids))
    for written in (distinct, 0):
        Path("c").unlink(missing_ok=True)
        code, counts = carry(way, documents, server_url, name)
        assert (code, counts["read"], counts["rejected"]) == (0, len(ids), 0)
        assert (counts["written"], counts["unchanged"]) == (written, len(ids) - written)
    assert set(support.revisions(server_url, name)) == set(ids)


ROW = {"_id": "a", "_rev": REVISION}
DUMPS = {
    "view.json": {
        "total_rows": 2,
        "offset": 0,
        "rows": [{"id": "a", "key": key, "value": 1, "doc": ROW} for key in ("k", "k2")],
    },
    "bulk.json": {"new_edits": False, "docs": [ROW, ROW]},
    "changes.json": {
        "results": [{"seq": n, "id": "a", "changes": [{"rev": REVISION}], "doc": ROW} for n in (1, 2)],
        "last_seq": 2,
    },
}
HEAD = {"name": "@cloudant/couchbackup", "version": "2.11.12", "mode": "full", "attachments": False}
TEXTS = {
    "resumed.backup": "\n".join(map(json.dumps, [HEAD, [ROW], [ROW]])),
    "resumed_in_one_line.backup": "\n".join(map(json.dumps, [HEAD, [ROW, ROW]])),
    **{name: json.dumps(value) for name, value in DUMPS.items()},
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_dump_that_names_a_document_twice(name: str, server_url: str, database_prefix: str) -> None:
    """A view that emits twice, a backup that was gone on with, two files put together: one document."""
    Path(name).write_text(TEXTS[name] + "\n", encoding="utf-8")
    target = f"{server_url}/{database_prefix}a"
    ran = run("convert", "-q", "--json", "--from", name, "--to", target, "--rejects", "r")
    value = ran.value
    assert (ran.code, value["read"], value["rejected"]) == (0, 2, 0)
    assert value["written"] == 1
    assert value["unchanged"] + sum(value["left_out"].values()) == 1
    assert support.revisions(server_url, f"{database_prefix}a") == {"a": REVISION}
