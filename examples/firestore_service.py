"""Move an application's documents from Firestore to CouchDB, through the application's own service.

python examples/firestore_service.py http://localhost:5984 COLLECTION…

What `migrator` needs of a service is `list_all`; the application itself calls the other three. The command is
`migrator run --from memory:firestore_service:service --collection COLLECTION --to http://localhost:5984`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import migrator


class FirestoreService:
    """Documents of Firestore by collection and id; `users/ada/orders` is a collection below a document."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, db_name: str, doc_id: str) -> dict[str, Any]:
        """One document; KeyError where there is none."""
        snapshot = self._client.collection(db_name).document(doc_id).get()
        if not snapshot.exists:
            raise KeyError(doc_id)
        return _document(snapshot)

    def save(self, db_name: str, doc_id: str, doc: Mapping[str, Any]) -> dict[str, str]:
        """Create or replace a document."""
        fields = {name: value for name, value in doc.items() if name not in {"_id", "_rev"}}
        self._client.collection(db_name).document(doc_id).set(fields)
        return {"id": doc_id, "rev": ""}

    def delete(self, db_name: str, doc_id: str) -> None:
        """Remove a document."""
        self._client.collection(db_name).document(doc_id).delete()

    def list_all(self, db_name: str) -> list[dict[str, Any]]:
        """All documents, ordered by id."""
        return [_document(snapshot) for snapshot in self._client.collection(db_name).stream()]


def _document(snapshot: Any) -> dict[str, Any]:
    return {**_plain(snapshot.to_dict()), "_id": snapshot.id}


def _plain(value: Any) -> Any:
    """What Firestore has and JSON lacks; dates and bytes are written as `--codec` says."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "latitude"):
        return {"latitude": value.latitude, "longitude": value.longitude}
    # A reference to another document.
    return value.path if hasattr(value, "path") else value


def service() -> FirestoreService:
    """The service, with the credentials that Google's own tools use."""
    from google.cloud import firestore  # pip install google-cloud-firestore

    return FirestoreService(firestore.Client())


def main(url: str, *collections: str) -> int:
    """Move collections, and compare both sides; the exit code is that of the command."""
    moved = migrator.run(service(), url, collection=collections, verify=True)
    print(moved)
    return moved.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
