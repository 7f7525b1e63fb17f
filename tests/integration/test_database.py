"""The document store that applications use: the same cases for memory and CouchDB."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.database import (
    CouchDatabase,
    DatabaseError,
    DatabaseService,
    DocumentConflict,
    DocumentNotFound,
    MemoryDatabase,
    Settings,
    get_database_service,
)
from migrator.errors import ConfigError, MigratorError
from migrator.jobs.run import run_job
from tests import support

pytestmark = pytest.mark.usefixtures("no_credentials")

COLLECTIONS = ("agents", "deployments", "users", "sessions", "tickets", "demos")


def couch_service(server_url: str) -> CouchDatabase:
    """A service on the server under test."""
    return CouchDatabase(CouchClient(parse_endpoint(server_url)[0]))


def plain(found: Any) -> Any:
    """A document, or some, without the revision that CouchDB's have."""
    if isinstance(found, list):
        return [plain(each) for each in found]
    return {key: value for key, value in found.items() if key != "_rev"} if found else found


@pytest.fixture(params=["memory", "couchdb"])
def service(request: pytest.FixtureRequest, server_url: str) -> Iterator[DatabaseService]:
    """A service of each kind."""
    if request.param == "memory":
        yield MemoryDatabase()
        return
    couch = couch_service(server_url)
    yield couch
    couch.close()


@pytest.fixture
def name(database_prefix: str) -> str:
    """A database of this test's own."""
    return f"{database_prefix}a"


def test_is_a_service(service: DatabaseService) -> None:
    """It has the face that the two share."""
    assert isinstance(service, DatabaseService)


def test_gives_back_what_was_saved(service: DatabaseService, name: str) -> None:
    """A document comes out as it went in, with its id, and of CouchDB with its revision."""
    document: dict[str, Any] = {"name": "Zoë", "list": [1, 2.5, None, True, {"deep": [[]]}], "": "\u0000\u2028😀"}
    saved = service.save(name, "a-1", document)
    assert saved["id"] == "a-1"
    assert saved["rev"].startswith("1-")
    found = service.get(name, "a-1")
    assert found.pop("_rev", saved["rev"]) == saved["rev"]
    assert found == {"_id": "a-1", **document}


@pytest.mark.parametrize(
    "id", ["a b", "a/b", "a+b", "%41", "line\nbreak", "nul\x00", "日本", "😀", ".", "..", "x" * 9_000]
)
def test_any_text_is_an_id(service: DatabaseService, name: str, id: str) -> None:
    """Ids need no care: each is saved, read, listed, replaced and deleted."""
    service.save(name, id, {"n": 1})
    assert plain(service.get(name, id)) == {"_id": id, "n": 1}
    assert service.save(name, id, {"n": 2})["rev"].startswith("2-")
    assert plain(service.list_all(name)) == [{"_id": id, "n": 2}]
    service.delete(name, id)
    with pytest.raises(DocumentNotFound):
        service.get(name, id)


def test_saving_again_replaces(service: DatabaseService, name: str) -> None:
    """The second save needs no revision, and an `_id` or `_rev` inside the document counts for nothing."""
    service.save(name, "a", {"n": 1, "old": True})
    saved = service.save(name, "a", {"_id": "other", "_rev": "7-abc", "n": 2})
    assert saved["rev"].startswith("2-")
    assert plain(service.get(name, "a")) == {"_id": "a", "n": 2}
    with pytest.raises(DocumentNotFound):
        service.get(name, "other")


def test_takes_and_gives_copies(service: DatabaseService, name: str) -> None:
    """The caller's objects stay the caller's, deep down."""
    document: dict[str, Any] = {"_id": "a", "_rev": "1-x", "nested": {"list": [1]}}
    before = copy.deepcopy(document)
    service.save(name, "a", document)
    assert document == before
    document["nested"]["list"].append(2)
    service.get(name, "a")["nested"]["list"].append(3)
    service.list_all(name)[0]["nested"]["list"].append(4)
    assert plain(service.get(name, "a")) == {"_id": "a", "nested": {"list": [1]}}


def test_what_is_missing_raises(service: DatabaseService, name: str) -> None:
    """Getting and deleting what was never there, or no more, is the documented error, which is a KeyError too."""
    with pytest.raises(DocumentNotFound, match="a-1"):
        service.get(name, "a-1")
    with pytest.raises(KeyError):
        service.delete(name, "a-1")
    service.save(name, "a-1", {})
    service.delete(name, "a-1")
    for action in (service.get, service.delete):
        with pytest.raises(DocumentNotFound) as caught:
            action(name, "a-1")
        assert caught.value.hint
        assert "a-1" in str(caught.value)


def test_a_deleted_document_can_be_saved_again(service: DatabaseService, name: str) -> None:
    """Its generation goes on."""
    service.save(name, "a", {"n": 1})
    service.delete(name, "a")
    assert service.save(name, "a", {"n": 2})["rev"].startswith("3-")
    assert plain(service.get(name, "a")) == {"_id": "a", "n": 2}


def test_lists_all_in_order_of_ids(service: DatabaseService, name: str) -> None:
    """Every document, ordered by id; design documents are none of the application's."""
    for id in ("b", "é", "日本", "a", "B", "😀", "_design/x"):
        service.save(name, id, {"was": id})
    assert [document["was"] for document in service.list_all(name)] == ["B", "a", "b", "é", "日本", "😀"]
    assert plain(service.get(name, "_design/x")) == {"_id": "_design/x", "was": "_design/x"}


def test_an_untouched_database_is_empty(service: DatabaseService, name: str) -> None:
    """A database is there from its first access on."""
    assert service.list_all(name) == []


@pytest.mark.parametrize("id", ["", "_a", "_local/x", 5, None, "\ud800"])
def test_refuses_what_is_no_id(service: DatabaseService, name: str, id: Any) -> None:
    """An empty text, a reserved one, half a surrogate pair and other types are not ids, ever."""
    for action in (
        lambda: service.save(name, id, {}),
        lambda: service.get(name, id),
        lambda: service.delete(name, id),
    ):
        with pytest.raises(DatabaseError, match="cannot be a document's id"):
            action()


def test_refuses_reserved_fields(service: DatabaseService, name: str) -> None:
    """A field that begins with an underscore is refused by name, and nothing is saved."""
    with pytest.raises(DatabaseError, match="__v"):
        service.save(name, "a", {"__v": 1})
    assert service.list_all(name) == []


def test_concurrent_savers_all_succeed(service: DatabaseService, name: str, server_url: str) -> None:
    """Writers that race for one document all win in the end, each with a revision of its own."""
    writers, rounds = 8, 3
    barrier = threading.Barrier(writers)

    def write(writer: int) -> list[str]:
        barrier.wait(30)
        return [service.save(name, "a", {"writer": writer, "turn": turn})["rev"] for turn in range(rounds)]

    with ThreadPoolExecutor(writers) as pool:
        revs = [rev for result in pool.map(write, range(writers)) for rev in result]
    generations = sorted(int(rev.partition("-")[0]) for rev in revs)
    assert len(set(revs)) == writers * rounds
    if not isinstance(service, MemoryDatabase) and support.is_cluster(server_url):
        # There two writers over one revision may both be told that they won: both are stored, as a conflict.
        return
    assert generations == list(range(1, writers * rounds + 1))
    assert service.get(name, "a")["turn"] == rounds - 1


def test_six_collections_round_trip(service: DatabaseService, database_prefix: str) -> None:
    """The application's own collections keep apart and come back whole."""
    data = {
        collection: {f"{collection}-{n}": {"n": n, "in": collection, "tags": ["ä", n]} for n in range(5)}
        for collection in COLLECTIONS
    }
    for collection, documents in data.items():
        for id, document in documents.items():
            service.save(database_prefix + collection, id, document)
    for collection, documents in data.items():
        whole = {id: {"_id": id, **document} for id, document in documents.items()}
        assert plain(service.list_all(database_prefix + collection)) == list(whole.values())
        assert {id: plain(service.get(database_prefix + collection, id)) for id in documents} == whole


def test_a_server_refusing_a_document_is_a_database_error(server_url: str, name: str) -> None:
    """What a validation function forbids is told with the server's own words."""
    service = couch_service(server_url)
    service.save(
        name, "_design/v", {"validate_doc_update": "function (n) { if (n.bad) throw({forbidden: 'no bad'}); }"}
    )

    def save_bad_ones() -> None:
        # A cluster's nodes hear of a validation function a moment after it is stored; one node knows it at once.
        for number in range(100):
            service.save(name, f"bad{number}", {"bad": True})
            time.sleep(0.1)

    with pytest.raises(DatabaseError, match="no bad"):
        save_bad_ones()
    with pytest.raises(DatabaseError, match="value is of type object"):
        service.save(name, "b", {"value": object()})
    assert service.save(name, "a", {})["rev"].startswith("1-")
    service.close()


def test_a_race_that_is_never_won_is_a_conflict(
    server_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another writer is faster every time, the error says so, and says how often it was tried."""
    service = couch_service(server_url)
    other = couch_service(server_url)
    service.save(name, "a", {})
    monkeypatch.setattr("migrator.database.couch.MAX_RACES", 3)
    lookup = CouchClient.lookup

    def slow_lookup(self: CouchClient, *args: Any, **options: Any) -> Any:
        found = lookup(self, *args, **options)
        if self is service._client:
            other.save(name, "a", {"rev": found["a"]["rev"]})  # type: ignore[index]
        return found

    monkeypatch.setattr(CouchClient, "lookup", slow_lookup)
    with pytest.raises(DocumentConflict, match="3 times"):
        service.save(name, "a", {"mine": True})
    service.close()
    other.close()


def test_a_database_that_somebody_deleted_is_made_again(server_url: str, name: str) -> None:
    """A service that knew the database writes on."""
    service = couch_service(server_url)
    service.save(name, "a", {"n": 1})
    assert support.request("DELETE", f"{server_url}/{name}")[0] == 200
    with pytest.raises(DocumentNotFound):
        service.get(name, "a")
    assert service.save(name, "a", {"n": 2})["rev"].startswith("1-")
    assert plain(service.get(name, "a")) == {"_id": "a", "n": 2}
    service.close()


def test_two_names_never_share_a_database(server_url: str, database_prefix: str) -> None:
    """Names that CouchDB cannot tell apart are refused, not mixed."""
    service = couch_service(server_url)
    service.save(f"{database_prefix}users", "a", {"n": 1})
    with pytest.raises(ConfigError, match="would both"):
        service.save(f"{database_prefix}Users", "a", {"n": 2})
    assert plain(service.get(f"{database_prefix}users", "a")) == {"_id": "a", "n": 1}
    service.close()


def test_two_settings_give_two_services(server_url: str, name: str) -> None:
    """Nothing is shared between services, not even between two in memory."""
    first = get_database_service(Settings(database_provider="memory"))
    second = get_database_service(Settings(database_provider="memory"))
    third = get_database_service(Settings(database_provider="couchdb", couchdb_url=server_url))
    first.save(name, "a", {"in": "memory"})
    assert second.list_all(name) == []
    assert third.list_all(name) == []
    third.save(name, "a", {"in": "couchdb"})
    found = plain([first.get(name, "a"), third.get(name, "a")])
    assert found == [{"_id": "a", "in": "memory"}, {"_id": "a", "in": "couchdb"}]
    assert isinstance(third, CouchDatabase)
    third.close()


def test_settings_come_from_the_environment_when_asked(monkeypatch: pytest.MonkeyPatch, server_url: str) -> None:
    """The environment is read at each call, and its password is in no text."""
    parts = urlsplit(server_url)
    monkeypatch.setenv("DATABASE_PROVIDER", "couchdb")
    monkeypatch.setenv("COUCHDB_URL", f"{parts.scheme}://{parts.hostname}:{parts.port}")
    monkeypatch.setenv("COUCHDB_USER", parts.username or "nobody")
    monkeypatch.setenv("COUCHDB_PASSWORD", parts.password or "s3cr3t")
    settings = Settings.from_environment()
    assert (parts.password or "s3cr3t") not in repr(settings)
    service = get_database_service()
    assert isinstance(service, CouchDatabase)
    assert (parts.password or "s3cr3t") not in repr(vars(service))
    service.close()
    monkeypatch.setenv("DATABASE_PROVIDER", "memory")
    assert isinstance(get_database_service(), MemoryDatabase)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(database_provider="redis"), "redis"),
        (Settings(database_provider="couchdb", couchdb_url="host:5984"), "not the URL of one"),
        (Settings(database_provider="couchdb", couchdb_url="ada:s3cr3t@host:5984"), "not the URL of one"),
    ],
)
def test_unusable_settings_are_refused(settings: Settings, expected: str) -> None:
    """A provider that is not known, or a URL that names no server, is a mistake in configuration."""
    with pytest.raises(MigratorError, match=expected) as caught:
        get_database_service(settings)
    assert isinstance(caught.value, ConfigError)
    assert "s3cr3t" not in str(caught.value)


LIVE: dict[str, Any] = {}


def live_service() -> MemoryDatabase:
    """What `memory:` names in a running application."""
    service: MemoryDatabase = LIVE["service"]
    return service


def test_a_migration_leaves_the_source_untouched(server_url: str, database_prefix: str, tmp_path: Path) -> None:
    """Every object inside a live service is the same, and unchanged, after its documents have moved."""
    service = MemoryDatabase()
    for collection in COLLECTIONS:
        for n in range(20):
            service.save(database_prefix + collection, f"id-{n}", {"n": n, "nested": {"list": [n, {"deep": "ä"}]}})
    LIVE["service"] = service
    before = copy.deepcopy(service.dbs)
    objects = {id(part) for part in parts_of(service.dbs)}
    config = JobConfig(
        source=f"memory:{__name__}:live_service",
        target=server_url,
        checkpoint=str(tmp_path / "checkpoint.json"),
        rejects=str(tmp_path / "rejects.ndjson"),
    )
    report = run_job(config, environ={}).report
    assert (report.totals.written, report.ok) == (120, True)
    assert service.dbs == before
    assert {id(part) for part in parts_of(service.dbs)} == objects
    moved = couch_service(server_url)
    for collection, documents in before.items():
        assert {id: plain(moved.get(collection, id)) for id in documents} == documents
    moved.close()


def parts_of(value: Any) -> Iterator[Any]:
    """A value's containers, itself included."""
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from parts_of(item)
