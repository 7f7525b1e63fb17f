"""The extractor and the loader of servers keep to the contracts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.extractors.couchdb import CouchExtractor
from migrator.loaders.couchdb import CouchLoader
from migrator.loaders.target import OnConflict
from migrator.model import Extractor, Loader
from tests import support

from .extractor_contract import DOCUMENTS, ExtractorContract, Source
from .loader_contract import LoaderContract, Target

pytestmark = pytest.mark.usefixtures("no_credentials")


class Server:
    """Databases of one test on the server, as a source and as a target."""

    def __init__(self, url: str, prefix: str, *, keeps_numbers: bool) -> None:
        self._url = url
        self._prefix = prefix
        self._keeps_numbers = keeps_numbers
        self.secrets: Sequence[str] = [secret for secret in (urlsplit(url).password,) if secret]

    def collection(self, name: str) -> str:
        """Its own database."""
        return f"{self._prefix}{name}"

    def client(self) -> CouchClient:
        """A new client."""
        return CouchClient(parse_endpoint(self._url)[0])

    def documents(self, collection: str) -> list[Mapping[str, Any]]:
        """As another client than the library's own reads them."""
        found: list[Mapping[str, Any]] = list(support.plain(support.documents(self._url, collection)).values())
        return found if self._keeps_numbers else restored(found)


class CouchSource(Server):
    """Extractors of the server."""

    def open(self, collections: Sequence[str] | None = None) -> Extractor:
        """A new extractor; without a choice, of the test's databases and not of what other tests keep there."""
        names = [self.collection(name) for name in DOCUMENTS] if collections is None else collections
        extractor = CouchExtractor(self.client(), collections=names, page_rows=7)
        return extractor if self._keeps_numbers else Restoring(extractor)


class CouchTarget(Server):
    """Loaders of the server."""

    def open(self, on_conflict: str = "fail") -> Loader:
        """A new loader."""
        return CouchLoader(self.client(), on_conflict=OnConflict(on_conflict))

    def remove(self, collection: str) -> None:
        """Without its database."""
        assert support.request("DELETE", f"{self._url}/{collection}")[0] in {200, 202}


NUMBERS = {document["_id"]: document for documents in DOCUMENTS.values() for document in documents}


def restored(documents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What a server that keeps every number as a double has made of DOCUMENTS, undone.

    A document that is equal but for that is the one of DOCUMENTS; any other stays, and fails its test.
    """
    back = []
    for document in documents:
        meant = NUMBERS.get(document["_id"])
        same = meant is not None and doubles(meant) == doubles(document)
        back.append(meant if same and meant is not None else document)
    return back


def doubles(document: Mapping[str, Any]) -> Any:
    """With every number a double."""
    fields = {name: value for name, value in document.items() if name != "_rev"}
    return json.loads(json.dumps(fields), parse_int=float)


class Restoring(CouchExtractor):
    """An extractor with such numbers undone; all else is its own."""

    def __init__(self, inner: CouchExtractor) -> None:
        self.__dict__.update(inner.__dict__)

    def extract(self, collection: str, *, after: Any = None) -> Iterator[Any]:
        """The same records."""
        for record in super().extract(collection, after=after):
            (document,) = restored([json.loads(record.text or b"")])
            yield record._replace(text=json.dumps(document).encode())


class TestCouchExtractor(ExtractorContract):
    """Of a server, page by page."""

    @pytest.fixture
    def source(self, server_url: str, database_prefix: str, is_couchdb: bool) -> Source:
        """One database for each collection."""
        source = CouchSource(server_url, database_prefix, keeps_numbers=is_couchdb)
        for name, documents in DOCUMENTS.items():
            url = f"{server_url}/{source.collection(name)}"
            assert support.request("PUT", url)[0] == 201
            assert support.request("POST", f"{url}/_bulk_docs", {"docs": list(documents)})[0] == 201
        return source


class TestCouchLoader(LoaderContract):
    """Of a server."""

    @pytest.fixture
    def target(self, server_url: str, database_prefix: str, is_couchdb: bool) -> Target:
        """Without any of its databases."""
        return CouchTarget(server_url, database_prefix, keeps_numbers=is_couchdb)
