"""Reads DynamoDB through boto3: a table is a collection, scanned page by page and gone on with after any item."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import boto3
import botocore.config
from boto3.dynamodb.types import TypeDeserializer
from botocore import exceptions

from migrator.errors import ConfigError, TransientError, Unauthorized
from migrator.extractors.base import BaseExtractor, divide, factory, foreign_position
from migrator.extractors.rows import Unreadable, document_id, mismatch_fault, row_record
from migrator.model import Position, Record

OPTIONS = {"region": "eu-west-1, …", "endpoint": "http://localhost:8000", "profile": "of ~/.aws/config"}
# Most items asked for at once; DynamoDB ends a page at 1 MB too.
PAGE_ITEMS = 500
_DENIED = ("AccessDenied", "UnrecognizedClient", "InvalidSignature", "ExpiredToken", "IncompleteSignature")
_OVERLOAD = ("ProvisionedThroughputExceeded", "Throttling", "RequestLimitExceeded", "InternalServerError")


class DynamoExtractor(BaseExtractor):
    """The tables of an account in a region, or one. A position is the key of an item, after which a scan goes on.

    Args:
        source: `TABLE` or nothing, with options after a question mark (see OPTIONS).
        collections: which to read, in this order; all where None.
        timeout_s: longest wait for an answer.
    """

    def __init__(
        self,
        source: str,
        *,
        collections: Sequence[str] | None = None,
        timeout_s: float = 90.0,
    ) -> None:
        self._table, self._options = divide(source, OPTIONS)
        self._wanted = collections
        self._timeout_s = timeout_s
        self._described: dict[str, dict[str, Any]] = {}

    def describe(self) -> str:
        """Endpoint and table."""
        with self._translated():
            return f"dynamodb:{self._client.meta.endpoint_url}/{self._table}"

    def _available(self) -> Sequence[str]:
        if self._table:
            self._description(self._table)
            return [self._table]
        with self._translated():
            pages = self._client.get_paginator("list_tables").paginate()
            return sorted(name for page in pages for name in page["TableNames"])

    def identity(self, collection: str) -> str:
        """The table's id and key: one of the same name that was created again is another."""
        table = self._description(collection)
        return f"{table.get('TableId', table.get('CreationDateTime', ''))} {','.join(self._key(collection))}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield a record for each item, in the order of a scan.

        Raises:
            CheckpointError: `after` is not a position of this table.
            TransientError: no answer, or too much was asked; reading can go on after the last record.
        """
        key = self._key(collection)
        start = None if after is None else _start(after, key)
        while True:
            more = {} if start is None else {"ExclusiveStartKey": start}
            with self._translated():
                page = self._client.scan(TableName=collection, Limit=PAGE_ITEMS, ConsistentRead=True, **more)
            for item in page["Items"]:
                yield _record(collection, item, key)
            start = page.get("LastEvaluatedKey")
            if start is None:
                return

    @cached_property
    def _client(self) -> Any:
        session = boto3.Session(profile_name=self._options.get("profile"), region_name=self._options.get("region"))
        config = botocore.config.Config(
            read_timeout=self._timeout_s, connect_timeout=10, retries={"mode": "standard", "max_attempts": 3}
        )
        return session.client("dynamodb", endpoint_url=self._options.get("endpoint"), config=config)

    def _description(self, table: str) -> dict[str, Any]:
        if table not in self._described:
            with self._translated():
                self._described[table] = self._client.describe_table(TableName=table)["Table"]
        return self._described[table]

    def _key(self, table: str) -> list[str]:
        # The hash key comes first, then the range key.
        schema = sorted(self._description(table)["KeySchema"], key=lambda part: str(part["KeyType"]))
        return [part["AttributeName"] for part in schema]

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except exceptions.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            reason = str(error.response.get("Error", {}).get("Message", error))
            if code.startswith(_DENIED):
                raise Unauthorized(f"DynamoDB refused the credentials: {reason}", hint=_HINT) from None
            if code.startswith(_OVERLOAD):
                raise TransientError(f"DynamoDB has too much to do: {reason}", overload=True) from None
            raise ConfigError(
                f"DynamoDB refused: {code}: {reason}.", hint="Look at the table's name, region and account."
            ) from None
        except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
            raise TransientError(f"DynamoDB does not answer: {error}.", hint="Is the endpoint right?") from None
        except exceptions.BotoCoreError as error:
            raise ConfigError(f"DynamoDB cannot be asked: {error}.", hint=_HINT) from None


_HINT = (
    "Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or name a profile: dynamodb:TABLE?profile=NAME."
)


def _record(collection: str, item: Mapping[str, Any], key: Sequence[str]) -> Record:
    position = json.dumps({name: _stored(item[name]) for name in key}, ensure_ascii=False)
    place = f"{collection} {position:.100}"
    id = document_id([_plain(item[name]) for name in key])
    document: dict[str, Any] = {}
    for name, value in item.items():
        try:
            document[name] = _plain(value)
        except Exception as error:  # noqa: BLE001 a type of tomorrow is a fault of its item
            reason = f"a value of the type {next(iter(value), '')!r:.80} cannot be read: {error!r}"
            document[name] = Unreadable("invalid_value", reason, json.dumps(value, default=str))
    record = row_record(position, place, {"_id": id, **document}, id)
    if record.fault is not None or "_id" not in document:
        return record
    if list(key) != ["_id"] and document["_id"] != id:
        return Record(position, fault=mismatch_fault(place, id, document, "the item"))
    return Record(position, {"_id": None} | document | {"_id": id})


def _number(text: str) -> int | float | Decimal:
    """A number as JSON has it where that is the very same number, else a decimal for the codec."""
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        return int(exact)
    near = float(text)
    return near if Decimal(repr(near)) == exact else exact


class _Values(TypeDeserializer):  # type: ignore[misc] # boto3 has no types
    """boto3's own reading of values, but for numbers and bytes, which it has other forms for."""

    def _deserialize_n(self, value: str) -> int | float | Decimal:
        return _number(value)

    def _deserialize_b(self, value: bytes) -> bytes:
        return bytes(value)


_plain = _Values().deserialize


def _stored(value: Mapping[str, Any]) -> dict[str, str]:
    (kind, content), *_ = value.items()
    return {kind: base64.b64encode(content).decode() if kind == "B" else content}


def _start(position: Position, key: Sequence[str]) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(str(position))
        start = {
            name: {kind: base64.b64decode(content) if kind == "B" else content}
            for name, value in found.items()
            for kind, content in value.items()
        }
    except (ValueError, AttributeError, TypeError):
        start = {}
    if list(start) != list(key):
        raise foreign_position(position, "no key of this table")
    return start


open_source = factory(DynamoExtractor, "dynamodb", lambda config, _: {"timeout_s": config.timeout_s})
