"""Each script in `examples/` does what it says, against a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from tests import support
from tests.docs.pages import ROOT
from tests.support.processes import LIMIT_S

pytestmark = pytest.mark.usefixtures("no_credentials")
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


# Google's own package, which knows the service alone.
FIRESTORE = """\
from fake_firestore import MockFirestore
def Client():
    client = MockFirestore()
    client.collection("{name}").document("ada").set({{"name": "Ada"}})
    return client
"""


@pytest.fixture
def words(
    server_url: str, s3_server: str, database_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[str]]:
    """What each is called with, once there is something to work with."""
    package = tmp_path / "packages" / "google" / "cloud"
    package.mkdir(parents=True)
    (package / "firestore.py").write_text(FIRESTORE.format(name=f"{database_prefix}users"))
    monkeypatch.setenv("PYTHONPATH", f"{package.parents[1]}:{ROOT}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    # The same server answers for all services of AWS.
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(
        TableName=f"{database_prefix}tickets",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName=f"{database_prefix}tickets", Item={"id": {"S": "t-1"}, "n": {"N": "1"}})
    support.request("PUT", f"{server_url}/{database_prefix}orders")
    support.request("PUT", f"{server_url}/{database_prefix}orders/o-1", {"total": 3})
    fixtures = tmp_path / "fixtures" / "goods"
    fixtures.mkdir(parents=True)
    (fixtures / "o-2.json").write_text('{"total": 4}')
    pattern = f"{database_prefix}orders*"
    return {
        "backup.py": [server_url, pattern, "place"],
        "dynamodb_service.py": [server_url, f"{database_prefix}tickets"],
        "firestore_service.py": [server_url, f"{database_prefix}users"],
        "migrate.py": [server_url, database_prefix],
        "move_server.py": [server_url, server_url, pattern, f"{database_prefix}moved*"],
        "seed.py": [server_url, "fixtures", database_prefix],
    }


EXPECTED = {
    "backup.py": ["1 documents", "RevisionsResult ok: 1 leaves, 1 written"],
    "dynamodb_service.py": ["<RunResult ok: 1 read, 1 written"],
    "firestore_service.py": ["<RunResult ok: 1 read, 1 written"],
    "migrate.py": [
        "<JobPlan ok: 4 documents",
        "<RunResult not ok (exit code 3): 4 read, 3 written, 1 rejected",
        '"id":"t-2"',
        "<RunResult ok: 1 read, 1 written",
    ],
    "move_server.py": ["<ServerPlan ok: 1 documents", "<Applied ok: 1 read, 1 written>"],
    "seed.py": ["<SeedResult ok: 1 written>", "<SeedResult ok: 1 unchanged>", "<SeedResult ok: nothing>"],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_it_says(name: str, words: dict[str, list[str]], tmp_path: Path) -> None:
    """Its lines come in order, and it ends with 0."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *words[name]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    place = 0
    for text in EXPECTED[name]:
        assert text in done.stdout[place:], done.stdout
        place = done.stdout.index(text, place) + len(text)
    if name == "migrate.py":
        assert json.loads((tmp_path / "report.json").read_text())["verification"]["totals"]["missing"] == 0
