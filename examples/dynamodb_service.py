"""Move an application's documents from DynamoDB to CouchDB, through the application's own service.

python examples/dynamodb_service.py http://localhost:5984 TABLE…

Without a service of its own, `migrator run --from dynamodb:TABLE` reads the same page by page, and resumes in the
middle of a table. With one, what moves is what the application sees. By the command:
`migrator run --from memory:dynamodb_service:service --collection TABLE --to http://localhost:5984`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import boto3

import migrator


class DynamoService:
    """Documents of DynamoDB by table and key; a table's only key is a text."""

    def __init__(self, resource: Any) -> None:
        self._resource = resource

    def get(self, db_name: str, doc_id: str) -> dict[str, Any]:
        """One document; KeyError where there is none."""
        table = self._resource.Table(db_name)
        found = table.get_item(Key={_key(table): doc_id}, ConsistentRead=True)
        if "Item" not in found:
            raise KeyError(doc_id)
        return _document(found["Item"], _key(table))

    def save(self, db_name: str, doc_id: str, doc: Mapping[str, Any]) -> dict[str, str]:
        """Create or replace a document."""
        table = self._resource.Table(db_name)
        fields = {name: _stored(value) for name, value in doc.items() if name not in {"_id", "_rev"}}
        table.put_item(Item={**fields, _key(table): doc_id})
        return {"id": doc_id, "rev": ""}

    def delete(self, db_name: str, doc_id: str) -> None:
        """Remove a document."""
        table = self._resource.Table(db_name)
        table.delete_item(Key={_key(table): doc_id})

    def list_all(self, db_name: str) -> list[dict[str, Any]]:
        """All documents, ordered by id; KeyError where there is no such table."""
        table = self._resource.Table(db_name)
        try:
            key = _key(table)
        except table.meta.client.exceptions.ResourceNotFoundException:
            raise KeyError(db_name) from None
        items: list[dict[str, Any]] = []
        more: dict[str, Any] = {"ConsistentRead": True}
        while more:
            page = table.scan(**more)
            items += page["Items"]
            start = page.get("LastEvaluatedKey")
            more = {"ConsistentRead": True, "ExclusiveStartKey": start} if start else {}
        return sorted((_document(item, key) for item in items), key=lambda document: document["_id"])


def _key(table: Any) -> str:
    return str(table.key_schema[0]["AttributeName"])


def _document(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {**{name: _plain(value) for name, value in item.items() if name != key}, "_id": item[key]}


def _plain(value: Any) -> Any:
    """Numbers as JSON has them, where that is the very same; sets and bytes are written as `--codec` says."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | set):
        return type(value)(map(_plain, value))
    if isinstance(value, Decimal):
        whole = value == value.to_integral_value()
        return int(value) if whole else float(value) if Decimal(repr(float(value))) == value else value
    return value.value if hasattr(value, "value") else value


def _stored(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _stored(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_stored(item) for item in value]
    return Decimal(repr(value)) if isinstance(value, float) else value


def service() -> DynamoService:
    """The service, with the credentials that every tool of AWS uses."""
    return DynamoService(boto3.resource("dynamodb"))


def main(url: str, *tables: str) -> int:
    """Move tables, and compare both sides; the exit code is that of the command."""
    moved = migrator.run(service(), url, collection=tables, verify=True)
    print(moved)
    return moved.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
