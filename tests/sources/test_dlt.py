"""This product as a destination of dlt: real pipelines of dlt into a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import ConfigError
from migrator.integrations.dlt import couchdb
from tests import support
from tests.support.processes import LIMIT_S

pytestmark = pytest.mark.usefixtures("no_credentials")

PROGRAM = """
import datetime, decimal, json, sys
import dlt
from migrator.integrations.dlt import couchdb

url, users, orders, version = sys.argv[1:]

@dlt.resource(name=users, primary_key="id")
def people():
    for number in range(120):
        name = version if number == 7 else "Zoë"
        yield {"id": number, "firstName": name, "deep": {"list": [1, {"x": None}]}, "n": decimal.Decimal("1.50"),
               "at": datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)}

@dlt.resource(name=orders, primary_key=("country", "no"))
def parts():
    yield [{"country": "a:b", "no": 1}, {"country": "c", "no": 2}]
    if version == "bad":
        yield {"country": "_c", "no": 3}

pipeline = dlt.pipeline("p", destination=couchdb(url, piece_items=50), pipelines_dir="pipelines")
try:
    pipeline.run([people(), parts()])
except Exception as error:
    sys.exit(f"failed: {error}")
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A pipeline in a process of its own, which tells nobody."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env={**os.environ, "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )


def test_a_pipeline_writes_documents(tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """Nested values, names and keys stay as they are; a second run changes what changed and nothing else."""
    users, orders = f"{database_prefix}users", f"{database_prefix}orders"
    done = run(tmp_path, server_url, users, orders, "Ada")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = support.documents(server_url, users)
    assert sorted(map(int, found)) == list(range(120))
    document = {name: value for name, value in found["7"].items() if name != "_rev"}
    assert document.pop("at").startswith("2024-02-29T12:30:00")
    assert document == {"_id": "7", "id": 7, "firstName": "Ada", "deep": {"list": [1, {"x": None}]}, "n": "1.50"}
    assert sorted(support.documents(server_url, orders)) == ["a%3Ab:1", "c:2"]
    before = support.revisions(server_url, users)
    done = run(tmp_path, server_url, users, orders, "Grace")
    assert done.returncode == 0, done.stderr
    after = support.revisions(server_url, users)
    assert {id for id in after if after[id] != before[id]} == {"7"}
    assert support.documents(server_url, users)["7"]["firstName"] == "Grace"


def test_a_rejected_document_fails_the_package_after_the_others_are_written(
    tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """An id that CouchDB refuses is in the reject file, the rest is written, and dlt says that it failed."""
    users, orders = f"{database_prefix}users", f"{database_prefix}orders"
    done = run(tmp_path, server_url, users, orders, "bad")
    assert done.returncode == 1
    assert "rejected" in done.stderr
    assert sorted(support.documents(server_url, orders)) == ["a%3Ab:1", "c:2"]
    rejects = (tmp_path / "migrator-dlt.rejects.ndjson").read_text().splitlines()
    assert [json.loads(line)["id"] for line in rejects] == ["_c:3"]


def test_mistakes_are_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An option that cannot be, a target that is not a server, and a missing package."""
    monkeypatch.setitem(sys.modules, "dlt", None)
    with pytest.raises(ConfigError, match=r"couchdb-migrator\[dlt\]"):
        couchdb("http://localhost:5984")
