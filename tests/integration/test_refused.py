"""What a CouchDB refuses for good other than documents: said at once, with the file, before a write."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import support
from tests.data.refused_for_good import DESIGNS, INDEXES, SECURITY
from tests.support import commands


@pytest.fixture
def database(server_url: str, database_prefix: str) -> str:
    """The URL of a new database."""
    url = f"{server_url}/{database_prefix}a"
    assert support.request("PUT", url)[0] in {201, 202}
    return url


@pytest.mark.couchdb("the sandbox takes much that CouchDB refuses")
def test_the_server_agrees(database: str) -> None:
    """What is said to be refused is refused, and what is not said to be is taken."""
    for taken, value in SECURITY:
        assert (support.request("PUT", f"{database}/_security", value)[0] == 200) is taken, value
    support.request("PUT", f"{database}/_security", {})
    for number, (taken, value) in enumerate(DESIGNS):
        _, rows = support.request(
            "POST", f"{database}/_bulk_docs", {"docs": [{"_id": f"_design/{number}", **value}]}
        )
        assert ("error" not in rows[0]) is taken, (value, rows)
    for taken, value in INDEXES:
        assert (support.request("POST", f"{database}/_index", value)[0] == 200) is taken, value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_security.json", {"admins": {"names": "foo"}}),
        ("_design/x.json", {"views": {"v": {}}}),
        ("_index/x.json", {"index": {"fields": [1]}}),
        *(
            pytest.param(
                "_index/x.json",
                {"type": kind, "index": {"fields": [{"name": "a", "type": "string"}]}},
                marks=pytest.mark.couchdb("the sandbox says of no such index that it cannot be"),
            )
            for kind in ("text", "nouveau")
        ),
        ("_database.json", {"q": 0}),
    ],
    ids=str,
)
def test_nothing_is_written_where_a_fixture_is_refused(
    server_url: str,
    database_prefix: str,
    tmp_path: Path,
    name: str,
    value: dict[str, object],
) -> None:
    """In seconds, not after all tries of a request."""
    if value.get("type") in {"text", "nouveau"} and {"search", "nouveau"} & set(
        support.get(f"{server_url}/")["features"]
    ):
        pytest.skip("this server has such indexes")
    path = tmp_path / f"{database_prefix}a" / name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(value))
    (tmp_path / f"{database_prefix}a" / "doc.json").write_text("{}")
    began = time.monotonic()
    ran = commands.run("seed", "-q", str(tmp_path), "--to", server_url)
    assert ran.code == 2
    assert f"{database_prefix}a/{name}:1" in ran.output
    assert time.monotonic() - began < 30
    assert support.request("GET", f"{server_url}/{database_prefix}a")[0] == 404


@pytest.mark.parametrize("name", ["Hunt22", "hunt22.x", "a b", "\u00e9", "a%"])
@pytest.mark.parametrize("command", ["run", "plan", "convert", "seed", "restore", "retry", "verify", "replicate"])
def test_an_illegal_database_is_refused_by_every_command(
    server_url: str, database_prefix: str, tmp_path: Path, command: str, name: str, no_credentials: None
) -> None:
    """Alike, and never under a name that nobody chose."""
    documents = tmp_path / "a.ndjson"
    documents.write_text('{"_id":"a","_rev":"1-967a00dff5e02add41819138abb3284d"}\n')
    rejects = tmp_path / "rejects"
    rejects.write_text(
        '{"collection":"a","id":"a","stage":"load","error":"x","reason":"","document":{"_id":"a"}}\n'
    )
    fixtures = tmp_path / "fixtures"
    (fixtures / "a").mkdir(parents=True)
    target = f"{server_url}/{quote(database_prefix + name, safe='')}"
    source = f"{server_url}/{database_prefix}a"
    words = {
        "run": ["run", "-q", "--from", str(documents), "--to", target, "--checkpoint", str(tmp_path / "c")],
        "plan": ["plan", "-q", "--from", str(documents), "--to", target],
        "verify": ["verify", "-q", "--from", str(documents), "--to", target],
        "retry": ["retry", "-q", str(rejects), "--to", target],
        "convert": ["convert", "-q", "--from", str(documents), "--from-format", "ndjson", "--to", target],
        "seed": ["seed", "-q", str(fixtures), "--to", target],
        "restore": ["restore", "-q", "--from", str(tmp_path / "backups"), "--to", target],
        "replicate": ["replicate", "set-up", "--from", source, "--to", target],
    }[command]
    if command == "restore":
        support.request("PUT", source)
        assert commands.run("backup", "-q", "--from", source, "--to", str(tmp_path / "backups")).code == 0
    ran = commands.run(*words)
    assert ran.code == 2, ran.output
    assert "not a legal name" in ran.output
    there = {name for name in support.get(f"{server_url}/_all_dbs") if name.startswith(database_prefix)}
    assert there <= {f"{database_prefix}a"}


@pytest.mark.parametrize(
    "index",
    [
        {"index": {"fields": ["a"], "partial_filter_selector": {"$bad": 1}}},
        {"index": {"fields": ["a"], "partial_filter_selector": {"a": {"$regex": "("}}}},
        {"index": {"fields": ["a", ""]}},
        {"index": {"fields": ["a"], "bogus": 1}},
    ],
    ids=str,
)
@pytest.mark.couchdb("the sandbox refuses other indexes than CouchDB")
def test_an_index_that_only_the_server_can_refuse_is_told_with_its_file(
    server_url: str, database_prefix: str, tmp_path: Path, index: object
) -> None:
    """What no look at the fixture finds out."""
    path = tmp_path / f"{database_prefix}a" / "_index" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(index))
    ran = commands.run("seed", "-q", str(tmp_path), "--to", server_url)
    assert ran.code == 2
    assert f"{database_prefix}a/_index/x.json: " in ran.output
    assert " refuses the index x/x of " in ran.output
