"""Files of object stores as sources: S3 by moto and Google's by an emulator, each behind a socket."""

from __future__ import annotations

import gzip
import json
import socket
import socketserver
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from gcp_storage_emulator.server import create_server

from migrator.codec import encode
from migrator.config import JobConfig
from migrator.errors import ConfigError, EndpointError
from migrator.extractors import remote_store
from migrator.jobs.registry import open_extractor
from migrator.model import Extractor
from migrator.retry.retrier import Retrier
from migrator.testing import ExtractorContract, Source, documents_of
from tests.sources.killing import killed_and_resumed
from tests.sources.test_dynamodb import ITEMS
from tests.support.commands import run

pytestmark = pytest.mark.usefixtures("no_credentials")

DOCUMENTS = [{"_id": f"o{number:04}", "n": number, "text": "x" * 60} for number in range(500)]
LINES = b"".join(json.dumps(each).encode() + b"\n" for each in DOCUMENTS)


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """Google's storage, emulated; its bucket's URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket")
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        # Else it looks for credentials, to find out what more the bucket can.
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        # It tells of each client that goes away.
        patch.setattr(socketserver.BaseServer, "handle_error", lambda *_: None)
        yield "gs://bucket"
    server.stop()


@pytest.fixture
def google(emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a folder of Google's, read in small blocks."""
    monkeypatch.setattr(remote_store, "BLOCK_BYTES", 10_000)
    return f"{emulator}/{uuid.uuid4().hex}"


@pytest.fixture
def folder(bucket: str) -> str:
    """The URL of a folder of S3."""
    return bucket.removesuffix("/nightly")


def put(url: str, data: bytes) -> None:
    """Write an object."""
    system, path = fsspec.core.url_to_fs(url)
    system.pipe_file(path, data)


def read(source: str) -> list[dict[str, Any]]:
    """All documents of the only collection."""
    with closing(open_extractor(JobConfig(source=source))) as extractor:
        (name,) = extractor.collections()
        return documents_of(extractor.extract(name))


class _Stored:
    """A folder of files, one for each collection."""

    secrets: Sequence[str] = ("a-secret",)

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, collections: Sequence[str] | None = None) -> Extractor:
        """A new extractor."""
        return open_extractor(JobConfig(source=self._url, collection=tuple(collections or ())))

    def collection(self, name: str) -> str:
        """The same."""
        return name


class TestFolderOfS3(ExtractorContract):
    """A file for each collection, packed and not."""

    contents: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = ITEMS

    @pytest.fixture
    def source(self, folder: str) -> Source:
        """Three files, and what is none of them."""
        for name, documents in ITEMS.items():
            text = b"".join(encode(each) + b"\n" for each in documents)
            packed = name == "users"
            put(f"{folder}/{name}.ndjson{'.gz' if packed else ''}", gzip.compress(text) if packed else text)
        put(f"{folder}/README.txt", b"no documents")
        put(f"{folder}/deeper/others.ndjson", LINES)
        return _Stored(f"{folder}/")


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_of_google_is_read(google: str, slash: str) -> None:
    """By its kind, or as NDJSON; what another kind of file is, is left alone."""
    put(f"{google}/in/orders.csv", b"_id,n\na,1\n")
    put(f"{google}/in/orders.ndjson", LINES)
    assert read(f"csv:{google}/in{slash}") == [{"_id": "a", "n": "1"}]
    assert read(f"csv:{google}/in/orders.csv?types=n:int") == [{"_id": "a", "n": 1}]
    assert read(f"{google}/in{slash}") == DOCUMENTS
    assert read(f"{google.replace('gs:', 'gcs:')}/in/orders.ndjson") == DOCUMENTS


def test_no_more_than_a_block_is_asked_for(google: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, and from a position on only what follows it."""
    put(f"{google}/orders.ndjson", LINES)
    system, _ = fsspec.core.url_to_fs(google)
    asked: list[tuple[int, int]] = []

    def noted(path: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        return bytes(type(system).cat_file(system, path, start=start, end=end))

    monkeypatch.setattr(system, "cat_file", noted)
    with closing(open_extractor(JobConfig(source=f"{google}/orders.ndjson"))) as extractor:
        records = list(extractor.extract("orders"))
        assert asked[0] == (0, 1024)
        assert asked[1:] == [(at, min(at + 10_000, len(LINES))) for at in range(0, len(LINES), 10_000)]
        asked.clear()
        position = records[400].position
        assert list(extractor.extract("orders", after=position)) == records[401:]
        assert min(start for start, _ in asked) == int(str(position).partition(":")[0]) - 1


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_an_object_that_is_replaced_meanwhile_is_named(
    kind: str, request: pytest.FixtureRequest, monkeypatch: Any
) -> None:
    """No block of the new one is put after those of the old one."""
    url = f"{request.getfixturevalue('folder' if kind == 's3' else 'google')}/orders.ndjson"
    monkeypatch.setattr(remote_store, "BLOCK_BYTES", 10_000)
    put(url, LINES)
    origin = remote_store.StoreOrigin(*remote_store.open_system(url, needed_by="", needed=""), url)
    pieces = origin.pieces(origin.look(), 0, None)
    assert next(pieces) == LINES[:10_000]
    put(url, LINES[::-1])
    with pytest.raises(ConfigError, match=r"orders\.ndjson was changed while it was read"):
        next(pieces)


def test_what_is_not_there_is_said(folder: str, google: str, tmp_path: Path) -> None:
    """Exit code 2."""
    put(f"{folder}/in/README.txt", b"")
    for source, said in [
        (f"{folder}/gone.ndjson", "There is no file or folder"),
        (f"{folder}/gone.json", "There is no file"),
        (f"{folder}/in/", "has no NDJSON file"),
        (f"{google}/gone.csv", "There is no file or folder"),
        ("s3://no-such-bucket-here/x.ndjson", "There is no file or folder"),
    ]:
        ran = run("run", "--from", source, "--to", str(tmp_path / "out"))
        assert ran.code == 2
        assert said in ran.output


def test_a_store_out_of_reach_is_an_error_of_the_network(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 5."""
    monkeypatch.setattr(Retrier, "pause", lambda _self, _seconds: None)

    def broken(*_args: Any, **_more: Any) -> Any:
        raise OSError("no route to host")

    put(f"{folder}/orders.ndjson", LINES)
    system, _ = fsspec.core.url_to_fs(folder)
    monkeypatch.setattr(system, "info", broken)
    monkeypatch.setattr(system, "isfile", lambda _: False)
    with pytest.raises(EndpointError, match="cannot be read: OSError: no route"):
        read(f"{folder}/orders.ndjson")


def test_what_must_be_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package and the driver, for files as for backups."""
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ConfigError, match=r'A source in s3:// needs .*couchdb-migrator\[files\]" s3fs'):
        open_extractor(JobConfig(source="s3://bucket/orders.ndjson"))


def test_a_run_that_was_killed_goes_on(folder: str, tmp_path: Path) -> None:
    """Nothing is lost."""
    put(f"{folder}/orders.ndjson", LINES)
    found = killed_and_resumed(f"{folder}/orders.ndjson", tmp_path, "--batch-docs", "2", kills=1)
    assert found == DOCUMENTS
