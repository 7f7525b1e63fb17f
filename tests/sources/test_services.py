"""An application's own service over Firestore or DynamoDB as a source: the four methods, and a move."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from fake_firestore import MockFirestore
from moto import mock_aws

import migrator
from migrator.errors import ConfigError
from tests import support
from tests.docs.pages import ROOT

pytestmark = pytest.mark.usefixtures("no_credentials")

WHEN = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)


def example(name: str) -> ModuleType:
    """A script of `examples/`, imported."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def firestore(monkeypatch: pytest.MonkeyPatch) -> MockFirestore:
    """Firestore in memory, which `google.cloud.firestore` opens."""
    client = MockFirestore()
    monkeypatch.setitem(sys.modules, "google.cloud.firestore", SimpleNamespace(Client=lambda: client))
    package = SimpleNamespace(firestore=sys.modules["google.cloud.firestore"])
    monkeypatch.setitem(sys.modules, "google.cloud", package)
    return client


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """DynamoDB in memory, with two tables."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        resource = boto3.resource("dynamodb")
        for name in ("users", "orders"):
            resource.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        yield resource


@pytest.mark.parametrize("kind", ["firestore", "dynamodb"])
def test_the_four_methods(kind: str, request: pytest.FixtureRequest) -> None:
    """As the application's own service has them."""
    request.getfixturevalue(kind)
    service = example(f"{kind}_service").service()
    given = {"_id": "ada", "name": "Ada", "hours": 1.5, "n": 7, "tags": ["a"], "by": {"age": 36}}
    assert service.save("users", "ada", given)["id"] == "ada"
    service.save("users", "bob", {"name": "Bob"})
    assert service.get("users", "ada") == given
    assert [each["_id"] for each in service.list_all("users")] == ["ada", "bob"]
    service.save("users", "bob", {"name": "Robert"})
    assert service.get("users", "bob") == {"_id": "bob", "name": "Robert"}
    service.delete("users", "bob")
    assert service.list_all("users") == [given]
    assert service.list_all("orders") == []
    with pytest.raises(KeyError):
        service.get("users", "bob")


def moved(kind: str, url: str, prefix: str) -> dict[str, dict[str, Any]]:
    """Move users and orders from the service to a server, once and again, and read them there."""
    service = example(f"{kind}_service").service()
    names = {name: f"{prefix}{name}" for name in ("users", "orders")}
    first = migrator.run(service, url, collection=list(names), map=names, verify=True)
    assert first.ok
    again = migrator.run(service, url, collection=list(names), map=names, verify=True)
    assert again.ok
    assert (again.totals.written, again.totals.unchanged) == (0, first.totals.written)
    found = {}
    for name in names.values():
        for row in support.get(f"{url}/{name}/_all_docs?include_docs=true")["rows"]:
            found[row["id"]] = {field: value for field, value in row["doc"].items() if field[0] != "_"}
    return found


def test_documents_of_firestore_arrive(firestore: MockFirestore, server_url: str, database_prefix: str) -> None:
    """With what Firestore has and JSON lacks, and those of a collection below a document."""
    users, orders = firestore.collection("users"), firestore.collection("orders")
    place = SimpleNamespace(latitude=52.5, longitude=13.4)
    users.document("ada").set({"born": WHEN, "raw": b"\x00\x01", "at": [place], "deep": {"n": 2**50}})
    # The fake copies all it has with each of its own references.
    ada = SimpleNamespace(path=users.document("ada").path)
    for number in range(300):
        orders.document(f"o-{number:04}").set({"of": ada, "n": number})
    found = moved("firestore", server_url, database_prefix)
    assert len(found) == 301
    assert found["ada"] == {
        "born": "2026-11-28T12:30:00+00:00",
        "raw": "AAE=",
        "at": [{"latitude": 52.5, "longitude": 13.4}],
        "deep": {"n": 2**50},
    }
    assert found["o-0007"] == {"of": "users/ada", "n": 7}


def test_documents_of_dynamodb_arrive(dynamodb: Any, server_url: str, database_prefix: str) -> None:
    """In more than one page of a scan, with the very numbers."""
    item = {"key": "ada", "n": 2**50, "half": Decimal("0.5"), "long": Decimal("1.00000000000000000001")}
    dynamodb.Table("users").put_item(Item={**item, "raw": b"\x00\x01", "set": {"b", "a"}})
    with dynamodb.Table("orders").batch_writer() as batch:
        for number in range(260):
            batch.put_item(Item={"key": f"o-{number:04}", "n": number, "text": "x" * 5000})
    found = moved("dynamodb", server_url, database_prefix)
    assert len(found) == 261
    assert found["o-0007"]["n"] == 7
    assert found["ada"] == {
        "n": 2**50,
        "half": 0.5,
        "long": "1.00000000000000000001",
        "raw": "AAE=",
        "set": ["a", "b"],
    }


def test_a_service_that_fails_is_named(dynamodb: Any, tmp_path: Path) -> None:
    """A table that is named and not there; where none is named, those that are not there are no error."""
    service = example("dynamodb_service").service()
    service.save("users", "ada", {"name": "Ada"})
    with pytest.raises(ConfigError, match=r"gone: list_all\(\) failed with KeyError"):
        migrator.run(service, tmp_path / "out", collection="gone")
    assert migrator.run(service, tmp_path / "out").totals.written == 1
    service.list_all = lambda _: 1 / 0
    with pytest.raises(ConfigError, match=r"agents: list_all\(\) failed with ZeroDivisionError"):
        migrator.run(service, tmp_path / "out")


def test_a_value_that_nobody_knows_is_a_reject(firestore: MockFirestore, tmp_path: Path) -> None:
    """The others are moved, and the reject says where it is."""
    users = firestore.collection("users")
    users.document("ada").set({"name": "Ada"})
    users.document("bob").set({"odd": {"deep": object()}})
    service = example("firestore_service").service()
    rejects = tmp_path / "rejects.ndjson"
    result = migrator.run(service, tmp_path / "out", collection="users", rejects=rejects)
    assert (result.totals.written, result.totals.rejected, result.exit_code) == (1, 1, 3)
    (reject,) = map(json.loads, rejects.read_text().splitlines())
    assert reject["id"] == "bob"
    assert "odd.deep" in reject["reason"]
