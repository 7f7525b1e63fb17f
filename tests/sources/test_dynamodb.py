"""DynamoDB as a source: moto behind a socket, asked by boto3 as the service is."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import boto3
import botocore.exceptions
import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.loaders import JSONFileLoader
from moto.server import ThreadedMotoServer

import migrator
from migrator.codec import encode
from migrator.errors import CheckpointError, ConfigError, TransientError, Unauthorized
from migrator.extractors import dynamodb
from migrator.extractors.dynamodb import DynamoExtractor
from migrator.testing import ExtractorContract, Source
from tests.sources.killing import killed_and_resumed
from tests.sources.missing import opened_without

ITEMS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "tickets": [{"_id": f"t{n:03}", "number": n, "open": n % 2 == 0} for n in range(12)],
    "users": [
        {"_id": "!", "empty": {}, "list": [], "text": ""},
        {"_id": "a b/c", "text": 'tab \t, quote ", \u2028', "deep": [[{"x": None}]]},
        {"_id": "é", "big": 2**70 + 1, "small": -(10**30), "float": 1.5},
        {"_id": "\U0001f600", "text": "\U0001f600" * 100},
    ],
    "nothing": [],
}
ENVIRON = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "s3cr3t-key",
    "AWS_DEFAULT_REGION": "eu-west-1",
}
STRING = {"_id": "S"}


@pytest.fixture(scope="module", autouse=True)
def _read_once() -> Iterator[None]:
    """Each client reads boto3's descriptions of the service again, which takes longer than a test."""
    read = functools.cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        yield


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server of moto."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty account."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("dynamodb", endpoint_url=endpoint)
    for name in client.list_tables()["TableNames"]:
        client.delete_table(TableName=name)
    yield client
    client.close()


def table(client: Any, name: str, items: Sequence[Mapping[str, Any]], key: Mapping[str, str] = STRING) -> None:
    """A table with items as DynamoDB writes them."""
    kinds = zip(key, ("HASH", "RANGE"), strict=False)
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": attribute, "KeyType": kind} for attribute, kind in kinds],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in key.items()],
        BillingMode="PAY_PER_REQUEST",
    )
    for item in items:
        client.put_item(TableName=name, Item=item)


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as boto3's own serializer writes it."""
    exact = json.loads(json.dumps(document), parse_float=Decimal)
    return {name: TypeSerializer().serialize(value) for name, value in exact.items()}


class Account:
    """An account with a table for each collection."""

    secrets: Sequence[str] = ("s3cr3t-key",)

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def open(self, collections: Sequence[str] | None = None) -> DynamoExtractor:
        """A new extractor."""
        return DynamoExtractor(f"?endpoint={self._endpoint}", collections=collections)

    def collection(self, name: str) -> str:
        """The same."""
        return name


class TestDynamo(ExtractorContract):
    """Of tables with a text key, in pages of five."""

    contents: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = ITEMS

    @pytest.fixture
    def source(self, endpoint: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> Source:
        """Three tables."""
        monkeypatch.setattr("migrator.extractors.dynamodb.PAGE_ITEMS", 5)
        for name, documents in ITEMS.items():
            table(client, name, [plain(document) for document in documents])
        return Account(endpoint)


def records(endpoint: str, name: str, after: Any = None) -> list[Any]:
    """All records of a table."""
    with pytest.MonkeyPatch.context() as few, closing(DynamoExtractor(f"{name}?endpoint={endpoint}")) as extractor:
        few.setattr("migrator.extractors.dynamodb.PAGE_ITEMS", 2)
        return list(extractor.extract(name, after=after))


def test_values_come_exactly(endpoint: str, client: Any, tmp_path: Path) -> None:
    """Numbers are integers, floats where that is the very same, else decimals; sets and bytes are values."""
    numbers = [
        "7",
        "-0.5",
        "1.1",
        "0.1234567890123456789",
        "12345678901234567890123456789012345678",
        "1E+20",
        "1E-100",
    ]
    item = {
        "_id": {"S": "a"},
        "numbers": {"L": [{"N": number} for number in numbers]},
        "raw": {"B": b"\x00\xff"},
        "nothing": {"NULL": True},
        "yes": {"BOOL": True},
        "texts": {"SS": ["x", "y"]},
        "ints": {"NS": ["1", "2.5"]},
        "bytes": {"BS": [b"\xff"]},
        "map": {"M": {"k": {"S": ""}}},
    }
    table(client, "t", [item])
    (record,) = records(endpoint, "t")
    found = dict(record.document)
    assert [repr(number) for number in found.pop("numbers")] == [
        "7",
        "-0.5",
        "1.1",
        "Decimal('0.1234567890123456789')",
        "12345678901234567890123456789012345678",
        "100000000000000000000",
        "1e-100",
    ]
    assert found == {
        "_id": "a",
        "raw": b"\x00\xff",
        "nothing": None,
        "yes": True,
        "texts": {"x", "y"},
        "ints": {1, 2.5},
        "bytes": {b"\xff"},
        "map": {"k": ""},
    }
    migrator.run(f"dynamodb:t?endpoint={endpoint}", str(tmp_path / "out"), checkpoint=str(tmp_path / "c"))
    written = json.loads((tmp_path / "out" / "t.ndjson").read_text())
    assert written["ints"] == [1, 2.5]
    assert written["raw"] == "AP8="


def test_keys_of_two_parts_make_ids_and_positions(endpoint: str, client: Any) -> None:
    """A range key joins the id; bytes and numbers in keys come back from a position."""
    items = [{"pk": {"B": bytes([n % 3])}, "sk": {"N": str(n)}, "v": {"S": "x"}} for n in range(7)]
    table(client, "t", items, {"pk": "B", "sk": "N"})
    found = records(endpoint, "t")
    assert {record.document["_id"] for record in found} == {
        f"{['AA==', 'AQ==', 'Ag=='][n % 3]}:{n}" for n in range(7)
    }
    for number, record in enumerate(found, 1):
        assert records(endpoint, "t", after=json.loads(json.dumps(record.position))) == found[number:]


def test_an_id_that_is_not_the_key_is_a_fault(endpoint: str, client: Any) -> None:
    """An attribute _id beside the key would be overwritten, so the item is rejected."""
    items = [{"k": {"S": "a"}, "_id": {"S": "b"}}, {"k": {"S": "c"}, "_id": {"S": "c"}}]
    table(client, "t", items, {"k": "S"})
    found = {str(record.position): record for record in records(endpoint, "t")}
    assert found['{"k": {"S": "a"}}'].fault.error == "id_mismatch"
    assert found['{"k": {"S": "c"}}'].document["_id"] == "c"


def test_mistakes_are_said(endpoint: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No table, no endpoint, foreign positions, refused credentials, overload: each has its error."""
    with pytest.raises(ConfigError, match="none-such"):
        DynamoExtractor(f"none-such?endpoint={endpoint}").collections()
    with pytest.raises(ConfigError, match="not known"):
        DynamoExtractor(f"t?endpont={endpoint}")
    with pytest.raises(TransientError, match="does not answer"):
        DynamoExtractor("?endpoint=http://127.0.0.1:9").collections()
    table(client, "t", [])
    for position in ("x", 5, '{"other":{"S":"a"}}', "[1]", '{"_id":5}'):
        with pytest.raises(CheckpointError):
            records(endpoint, "t", after=position)
    extractor = DynamoExtractor(f"t?endpoint={endpoint}")
    for code, kind in (("AccessDeniedException", Unauthorized), ("ThrottlingException", TransientError)):
        error = botocore.exceptions.ClientError({"Error": {"Code": code, "Message": "m"}}, "Scan")
        with pytest.raises(kind), extractor._translated():
            raise error
    extractor.close()
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigError, match="AWS_REGION"):
        DynamoExtractor("t").collections()
    with pytest.raises(ConfigError, match=r"A DynamoDB source needs boto3.*couchdb-migrator\[dynamodb\]"):
        opened_without(monkeypatch, "boto3", "dynamodb", "dynamodb:t")


def test_a_killed_run_goes_on(endpoint: str, client: Any, tmp_path: Path) -> None:
    """After SIGKILL in the middle and --resume, every item is at the target once."""
    table(client, "t", [])
    for begin in range(0, 3_000, 25):
        puts = [{"PutRequest": {"Item": {"_id": {"S": f"{n:05}"}}}} for n in range(begin, begin + 25)]
        client.batch_write_item(RequestItems={"t": puts})
    found = killed_and_resumed(f"dynamodb:t?endpoint={endpoint}", tmp_path, environ=ENVIRON)
    assert sorted(document["_id"] for document in found) == [f"{n:05}" for n in range(3_000)]


VALUES: list[tuple[dict[str, Any], Any]] = [
    ({"N": "9" * 38}, int("9" * 38)),
    ({"N": "-" + "9" * 38}, -int("9" * 38)),
    ({"N": "9." + "9" * 37}, Decimal("9." + "9" * 37)),
    ({"N": "1E+125"}, 10**125),
    ({"N": "9.9999999999999999999999999999999999999E+125"}, int("9" * 38) * 10**88),
    ({"N": "1E-130"}, 1e-130),
    (
        {"N": "1.2345678901234567890123456789012345678E-130"},
        Decimal("1.2345678901234567890123456789012345678E-130"),
    ),
    ({"N": "0.1"}, 0.1),
    ({"N": "0.10000000000000000001"}, Decimal("0.10000000000000000001")),
    ({"N": "9007199254740993"}, 9007199254740993),
    ({"N": "1.50"}, 1.5),
    ({"N": "0"}, 0),
    ({"N": "-0"}, 0),
    ({"S": ""}, ""),
    ({"S": "\x00\U0001f600"}, "\x00\U0001f600"),
    ({"B": b""}, b""),
    ({"B": b"\x00\xff"}, b"\x00\xff"),
    ({"BOOL": False}, False),
    ({"NULL": True}, None),
    ({"SS": ["b", "a"]}, {"a", "b"}),
    ({"NS": ["1", "1.5", "9." + "9" * 37]}, {1, 1.5, Decimal("9." + "9" * 37)}),
    ({"BS": [b"\xff", b""]}, {b"\xff", b""}),
    ({"L": [{"M": {"a": {"L": []}}}, {"NULL": True}]}, [{"a": []}, None]),
    ({"M": {}}, {}),
]


@pytest.mark.parametrize(("stored", "value"), VALUES, ids=[str(stored) for stored, _ in VALUES])
def test_a_value_comes_with_every_digit(stored: dict[str, Any], value: Any) -> None:
    """Numbers of 38 digits, bytes, sets and what is empty, and it can be written."""
    found = dynamodb._record("t", {"k": {"S": "a"}, "v": stored}, ["k"])
    assert found.document is not None
    assert found.document["v"] == value
    assert type(found.document["v"]) is type(value)
    assert json.loads(encode(found.document))["_id"] == "a"


@pytest.mark.parametrize(
    ("key", "id"),
    [({"S": "a:b"}, "a:b"), ({"N": "1.50"}, "1.5"), ({"N": "9" * 38}, "9" * 38), ({"B": b"\xff"}, "/w==")],
)
@pytest.mark.parametrize("bad", [{"X": 1}, {"N": "many"}, {"M": {"a": {"L": [{"N": ""}]}}}, {}, {"N": None}])
def test_a_value_that_cannot_be_read_is_a_fault_of_its_item(key: Any, id: str, bad: Any) -> None:
    """It names table, key and attribute; the position is the item's."""
    found = dynamodb._record("t", {"k": key, "v": bad}, ["k"])
    assert found.fault is not None
    assert (found.fault.error, found.fault.id) == ("invalid_value", id)
    assert found.fault.reason.startswith('t {"k": ')
    assert ": v: a value of the type " in found.fault.reason
    assert dynamodb._start(found.position, ["k"]) == {"k": key}
