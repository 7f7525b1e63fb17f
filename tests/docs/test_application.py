"""The page for applications: what its commands alone do not prove, and what they may not do on others' server."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from migrator.database import CouchDBService, DatabaseService, DocumentConflict, MemoryDBService, Settings
from migrator.database import couch as couch_module
from migrator.database.couch_bulk import MAX_RACES
from migrator.database.operators import COMPARISONS, TESTS
from migrator.database.settings import read_env_file
from migrator.errors import EndpointError, TransientError, Unauthorized
from tests import support
from tests.docs.pages import ROOT, SHELL, blocks
from tests.support.stub_server import Asked, Reply, StubServer

pytestmark = pytest.mark.usefixtures("no_credentials")

PAGE = ROOT / "docs" / "application.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [command for block in blocks(PAGE, *SHELL) for command in block.commands()]
ACCOUNT = {"COUCHDB_USER": "admin", "COUCHDB_PASSWORD": "password"}


def titled(title: str) -> str:
    """What is saved under a name."""
    (block,) = [block for block in blocks(PAGE) if block.title == title]
    return block.body


def command(part: str) -> str:
    """The first command of the page with this in it."""
    return next(command for command in COMMANDS if part in command)


def curl(printed: str, folder: Path, server: str, database: str = "agents") -> str:
    """Type a command of the page with another server and database; what it printed."""
    local = "http://admin:password@localhost:5984"
    printed = printed.replace(f"{local}/agents", f"{server}/{database}").replace(local, server)
    done = subprocess.run(
        shlex.split(printed), cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "part",
    [
        "docker run ",
        "curl -fsS http://admin:password@localhost:5984/",
        "curl -sS -X PUT http://admin:password@localhost:5984/agents",
        "/agents/_all_docs?include_docs=true",
        "/_design/agents/_view/by_name?key=",
        "/agents/_compact",
        "/_replicate",
        "docker ps ",
        "docker logs ",
        "df -h",
        "migrator wait ",
        "migrator doctor ",
        "migrator compact ",
        "migrator run --from memory:app:service",
    ],
)
def test_the_page_has_the_command(part: str) -> None:
    """Each thing that one types by hand is shown; the page's own test types it where it can be."""
    assert command(part)


def test_docker_and_compose_start_the_same() -> None:
    """One image, port, volume and account in both; the settings log in with that account."""
    compose = yaml.safe_load(titled("compose.yaml"))
    service = compose["services"]["couchdb"]
    words = shlex.split(command("docker run").replace("\\\n", " "))
    flags = [tuple(words[at : at + 2]) for at in range(len(words)) if words[at].startswith("--")]
    assert words[-1] == service["image"]
    assert service["image"].startswith("couchdb:")
    assert not service["image"].endswith("latest")
    assert [value for flag, value in flags if flag == "--publish"] == service["ports"] == ["127.0.0.1:5984:5984"]
    assert [value for flag, value in flags if flag == "--volume"] == service["volumes"]
    assert [volume.partition(":")[0] for volume in service["volumes"]] == list(compose["volumes"])
    assert dict(value.split("=") for flag, value in flags if flag == "--env") == service["environment"] == ACCOUNT
    own = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["couchdb"]
    assert (own["image"], own["ports"]) == (service["image"], service["ports"])


def test_the_settings_are_read(tmp_path: Path) -> None:
    """The file's four lines are the four arguments of the code."""
    (tmp_path / ".env").write_text(titled(".env"))
    found = read_env_file(tmp_path / ".env", {"DATABASE_PROVIDER", "COUCHDB_URL", *ACCOUNT})
    assert found == {"DATABASE_PROVIDER": "couchdb", "COUCHDB_URL": "http://localhost:5984", **ACCOUNT}
    assert Settings.from_environment(found) == Settings(**found)
    for name, value in found.items():
        assert f'{name}="{value}"' in TEXT


def test_the_view_answers(server_url: str, database_prefix: str, tmp_path: Path) -> None:
    """The design document as printed finds an agent by its name, and leaves out what has none."""
    database = f"{database_prefix}agents"
    service = CouchDBService(server_url)
    service.save_many(
        database, [{"_id": "a", "name": "Updated Agent"}, {"_id": "b", "name": "Other"}, {"_id": "c"}]
    )
    # A view is answered by one copy of a cluster's, which the documents reach a moment later.
    support.settle(server_url, database)
    (tmp_path / "agents.json").write_text(titled("agents.json"))
    assert json.loads(
        curl(command("-X PUT http://admin:password@localhost:5984/agents/_design"), tmp_path, server_url, database)
    )
    found = json.loads(curl(command("_view/by_name"), tmp_path, server_url, database))
    assert [(row["id"], row["key"], row["doc"]["name"]) for row in found["rows"]] == [
        ("a", "Updated Agent", "Updated Agent")
    ]
    everyone = support.get(f"{server_url}/{database}/_design/agents/_view/by_name")
    assert [row["key"] for row in everyone["rows"]] == ["Other", "Updated Agent"]
    assert [document["_id"] for document in service.list_all(database)] == ["a", "b", "c"]
    service.close()


@pytest.fixture
def agents(server_url: str, database_prefix: str) -> str:
    """The name of a database with a document."""
    database = f"{database_prefix}agents"
    service = CouchDBService(server_url)
    service.save(database, "a", {})
    service.close()
    return database


def test_compaction_begins(server_url: str, agents: str, tmp_path: Path) -> None:
    """With the header."""
    answer = curl(command("/agents/_compact"), tmp_path, server_url, agents)
    assert json.loads(answer)["ok"] is True


@pytest.mark.couchdb("the sandbox wants no header")
def test_compaction_wants_the_header(server_url: str, agents: str, tmp_path: Path) -> None:
    """Without it CouchDB says 415, as the page tells."""
    bare = re.sub(r" -H '[^']*'", "", command("/agents/_compact")).replace("-fsS", "-sS")
    assert "bad_content_type" in curl(bare, tmp_path, server_url, agents)


COMPACTION = ["local.d/compaction.ini", "local.d/compaction-before-3.ini"]


def settings_in(title: str) -> configparser.RawConfigParser:
    """What a file of the page sets."""
    parser = configparser.RawConfigParser()
    parser.read_string(titled(title))
    return parser


@pytest.mark.parametrize("title", COMPACTION)
def test_bounds_of_compaction_can_be_read(title: str) -> None:
    """As a file of CouchDB's settings."""
    parser = settings_in(title)
    assert parser.sections()
    if "before-3" in title:
        assert parser["compactions"]["_default"] == '[{db_fragmentation, "70%"}, {view_fragmentation, "60%"}]'


@pytest.mark.couchdb("the sandbox has no settings")
@pytest.mark.parametrize("title", COMPACTION)
def test_bounds_of_compaction_are_settings(title: str, server_url: str) -> None:
    """CouchDB takes each and gives it back."""
    parser = settings_in(title)
    for section in parser.sections():
        for key, value in parser.items(section):
            url = f"{server_url}/_node/_local/_config/{section}/{key}"
            before = support.request("GET", url)
            assert support.request("PUT", url, value)[0] == 200
            assert support.request("GET", url) == (200, value)
            # As it was: the server is everybody's.
            last = support.request("PUT", url, before[1]) if before[0] == 200 else support.request("DELETE", url)
            assert last[0] == 200


def test_the_replication_is_asked_for(tmp_path: Path) -> None:
    """The command sends the file as printed, to the right address, with the header that CouchDB wants."""
    (tmp_path / "replicate.json").write_text(titled("replicate.json"))
    with StubServer(lambda _asked: Reply(202, {"ok": True})) as server:
        curl(command("/_replicate"), tmp_path, server.url)
        (asked,) = server.asked
    assert (asked.method, asked.path, asked.headers["Content-Type"]) == ("POST", "/_replicate", "application/json")
    assert asked.json == json.loads(titled("replicate.json"))
    assert asked.json["continuous"] is True
    assert set(asked.json) == {"source", "target", "create_target", "continuous"}


@pytest.mark.couchdb("the sandbox replicates nothing by HTTP, and has the test above")
def test_the_replication_goes_on_until_it_is_cancelled(
    server_url: str, database_prefix: str, tmp_path: Path
) -> None:
    """A document that comes later arrives, too."""
    source, target = f"{database_prefix}agents", f"{database_prefix}copy"
    service = CouchDBService(server_url)
    service.save(source, "a", {"name": "First"})
    job = titled("replicate.json").replace("http://admin:password@localhost:5984/agents", f"{server_url}/{source}")
    job = job.replace("http://admin:password@b:5984/agents", f"{server_url}/{target}")
    (tmp_path / "replicate.json").write_text(job)
    curl(command("/_replicate"), tmp_path, server_url)
    try:
        arrives(service, target, "a")
        service.save(source, "later", {"name": "Second"})
        arrives(service, target, "later")
    finally:
        (tmp_path / "replicate.json").write_text(job.replace("{", '{"cancel": true, ', 1))
        curl(command("/_replicate"), tmp_path, server_url)
    service.close()


def arrives(service: DatabaseService, database: str, id: str) -> None:
    """Wait for a document."""
    for _ in range(600):
        if service.get_many(database, [id])[0]:
            return
        time.sleep(0.1)
    pytest.fail(f"{id} did not arrive")


# -- when something is wrong --------------------------------------------------------------------------------------


def section(title: str) -> str:
    """What the page says below a heading."""
    return TEXT.partition(f"### {title}\n")[2].partition("\n### ")[0]


def test_refused_is_as_told() -> None:
    """The class and the words that the page names."""
    with pytest.raises(EndpointError, match=r"Connection refused\.") as caught:
        CouchDBService("http://127.0.0.1:1", "admin", "password").list_all("agents")
    assert "migrator wait" in caught.value.hint
    told = section("Connection refused")
    assert "`EndpointError`" in told
    assert "Connection refused" in told


def test_unauthorized_is_as_told(server_url: str, is_couchdb: bool) -> None:
    """By a stub, and by CouchDB itself with a user whom nobody else has."""
    told = section("Unauthorized: the credentials were refused")
    assert "`Unauthorized`" in told

    def refuse(_asked: Asked) -> Reply:
        return Reply(401, {"error": "unauthorized", "reason": "Name or password is incorrect."})

    with StubServer(refuse) as server:
        urls = [server.url, server_url] if is_couchdb else [server.url]
        for url in urls:
            service = CouchDBService(url, f"nobody-{uuid.uuid4().hex}", "wr0ng")
            with pytest.raises(Unauthorized, match="the credentials were refused") as caught:
                service.list_all("agents")
            assert "wr0ng" not in str(caught.value)
            service.close()
        assert len(server.asked) == 1, "a refused password must not be tried again"


def test_a_conflict_is_as_told(server_url: str, database_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many races must be lost as the page says."""
    told = section("409 Conflict: Document update conflict")
    assert f"after {MAX_RACES} lost races (`DocumentConflict`)" in told.replace("\n", " ")
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    monkeypatch.setattr(couch_module, "MAX_RACES", 2)
    service = CouchDBService(server_url)
    service.save(f"{database_prefix}a", "a", {})
    conflict = {"id": "a", "error": "conflict", "reason": "Document update conflict."}
    monkeypatch.setattr("migrator.couch.client.CouchClient.bulk_docs", lambda *_a, **_o: [conflict])
    with pytest.raises(DocumentConflict, match="2 times"):
        service.save(f"{database_prefix}a", "a", {"n": 1})
    service.close()


def test_a_full_disk_is_as_told(server_url: str, database_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No document is blamed, and reading goes on."""
    told = section("The disk is full")
    service = CouchDBService(server_url)
    service.save(f"{database_prefix}a", "a", {"n": 1})
    row = {"id": "a", "error": "error", "reason": "internal_server_error"}
    monkeypatch.setattr("migrator.couch.client.CouchClient.bulk_docs", lambda *_a, **_o: [row])
    with pytest.raises(TransientError, match="the server does not store") as caught:
        service.save(f"{database_prefix}a", "a", {"n": 2})
    assert type(caught.value).__name__ in told
    assert "the server does not store" in told
    assert service.get(f"{database_prefix}a", "a")["n"] == 1
    service.close()


# -- what the page lists ------------------------------------------------------------------------------------------


def test_every_method_is_in_the_table() -> None:
    """With its arguments; `close` is nobody's daily business."""
    listed = set(re.findall(r"^\| `(\w+)\(", TEXT, re.MULTILINE))
    methods: set[str] = {name for name in vars(DatabaseService) if not name.startswith("_")}
    assert listed == methods - {"close"}


def test_every_operator_is_named() -> None:
    """Those that the service in memory knows, and no others."""
    named = set(
        re.findall(r"`(\$\w+)`", TEXT.partition("The service in memory finds the same:")[2].partition(".")[0])
    )
    known: set[str] = {*COMPARISONS, *TESTS, "$and", "$or", "$nor", "$not"}
    assert named == known | {"$elemMatch", "$allMatch", "$keyMapMatch"}
    examples: list[dict[str, Any]] = [
        {operator: {"n": 1}} if operator == "$not" else {operator: []}
        for operator in sorted(named & {"$and", "$or", "$nor", "$not"})
    ]
    find: Callable[[dict[str, Any]], Any] = lambda selector: MemoryDBService().find("a", selector)  # noqa: E731
    assert [find(example) for example in examples] == [[]] * 4
