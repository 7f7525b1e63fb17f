"""`migrator seed` and `migrator snapshot` against a server: the same data, every time."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from migrator.couch.endpoint import parse_endpoint
from migrator.errors import RejectsError
from migrator.fixtures.folder import read_fixtures
from migrator.fixtures.options import SeedOptions
from migrator.fixtures.seeder import Seeder
from migrator.fixtures.values import parse_now
from tests import support
from tests.support.commands import Command, run

FILES = {
    "orders.ndjson": '{"_id":"o-1","customer":"ada","total":1.5,"at":"${now-3d|date}"}\n'
    '{"_id":"o-2","customer":"${ref:people/ada}","total":2}\n',
    "people/ada.json": '{"name": "Ada"}',
    "people/_security.json": '{"admins": {"names": [], "roles": ["boss"]}, "members": {"names": [], "roles": []}}',
    "orders/_design/by/views/customer/map.js": "function (doc) { emit(doc.customer, doc.total); }\n",
    "orders/_design/by/views/customer/reduce.js": "_sum\n",
    "orders/_index/by-total.json": '{"index": {"fields": ["total", {"customer": "asc"}]}}',
}
NOW = ("--now", "2024-05-01T12:00:00Z")


Write = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def command(server_url: str, no_credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs the command, in a folder of its own, against the server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUCHDB_URL", server_url)

    return lambda *arguments: run(*arguments, "--quiet", with_errors=True)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a folder of fixtures."""

    def writing(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "fixtures" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "fixtures"

    return writing


@pytest.fixture
def user(server_url: str) -> Iterator[str]:
    """A user's name, who is removed afterwards."""
    name = f"u{uuid.uuid4().hex[:12]}"
    yield name
    url = f"{server_url}/_users/org.couchdb.user:{name}"
    status, found = support.request("GET", url)
    if status == 200:
        support.request("DELETE", f"{url}?rev={found['_rev']}")


def url_of(server_url: str, database: str) -> str:
    return f"{server_url}/{quote(database, safe='')}"


def test_seeding_makes_what_the_fixtures_say(
    command: Command, write: Write, server_url: str, database_prefix: str
) -> None:
    """Documents, design documents, indexes and security are there, and answer queries at once with --wait."""
    ran = command("seed", str(write(FILES)), "--prefix", database_prefix, "--wait", "30", *NOW)
    assert ran.code == 0, ran.output
    orders = url_of(server_url, f"{database_prefix}orders")
    found = support.plain(support.documents(server_url, f"{database_prefix}orders"))
    assert found["o-1"] == {"_id": "o-1", "customer": "ada", "total": 1.5, "at": "2024-04-28"}
    assert found["o-2"] == {"_id": "o-2", "customer": "ada", "total": 2}
    assert support.get(f"{orders}/_design/by/_view/customer?group=true")["rows"] == [{"key": "ada", "value": 3.5}]
    query = {"selector": {"total": {"$gt": 1.7}}, "use_index": ["by-total", "by-total"]}
    assert [doc["_id"] for doc in support.request("POST", f"{orders}/_find", query)[1]["docs"]] == ["o-2"]
    security = support.security(url_of(server_url, f"{database_prefix}people"))
    assert security["admins"]["roles"] == ["boss"]


def test_seeding_twice_writes_nothing(
    command: Command, write: Write, server_url: str, database_prefix: str, user: str
) -> None:
    """The second time no revision and no sequence moves, for users with passwords too."""
    folder = write({**FILES, f"_users/{user}.json": '{"password": "pw", "roles": ["x"]}'})
    first = command("seed", str(folder), "--prefix", database_prefix, "--report", "-", *NOW).value["databases"]
    assert {name: found["written"] for name, found in first.items()} == {"_users": 1, "orders": 3, "people": 1}
    names = [f"{database_prefix}orders", f"{database_prefix}people", "_users"]

    def state() -> list[Any]:
        infos = [support.counts(server_url, name) for name in names[:2]]
        users = support.revisions(server_url, "_users")[f"org.couchdb.user:{user}"]
        return [*infos, users]

    before = state()
    second = command("seed", str(folder), "--prefix", database_prefix, "--exact", "--report", "-", *NOW).value
    assert state() == before
    for found in second["databases"].values():
        assert (found["written"], found["removed"], found["created"], found["others"]) == (0, 0, False, [])


def test_only_what_differs_is_written(
    command: Command, write: Write, server_url: str, database_prefix: str
) -> None:
    """A changed fixture changes its document, and no other revision moves."""
    command("seed", str(write(FILES)), "--prefix", database_prefix, *NOW)
    before = support.revisions(server_url, f"{database_prefix}orders")
    changed = {**FILES, "orders.ndjson": FILES["orders.ndjson"].replace('"total":2', '"total":3')}
    changed["orders/_index/by-total.json"] = '{"index": {"fields": ["total"]}}'
    changed["people/_security.json"] = FILES["people/_security.json"].replace("boss", "chief")
    ran = command("seed", str(write(changed)), "--prefix", database_prefix, "--report", "-", *NOW).value
    after = support.revisions(server_url, f"{database_prefix}orders")
    assert {id for id in before if before[id] != after[id]} == {"o-2", "_design/by-total"}
    assert ran["databases"]["orders"]["others"] == ["index by-total/by-total"]
    assert ran["databases"]["people"]["others"] == ["security"]
    assert command("seed", str(write(changed)), "--prefix", database_prefix, "--diff", *NOW).code == 0


def test_exact_removes_what_is_no_fixture(
    command: Command, write: Write, server_url: str, database_prefix: str
) -> None:
    """Extra documents, design documents and indexes go with --exact, and stay without it."""
    folder = str(write(FILES))
    command("seed", folder, "--prefix", database_prefix, *NOW)
    orders = url_of(server_url, f"{database_prefix}orders")
    support.request("PUT", f"{orders}/extra", {"a": 1})
    support.request("PUT", f"{orders}/_design/extra", {"views": {"v": {"map": "function(d){}"}}})
    support.request("POST", f"{orders}/_index", {"index": {"fields": ["x"]}, "ddoc": "old", "name": "old"})
    before = support.revisions(server_url, f"{database_prefix}orders")
    command("seed", folder, "--prefix", database_prefix, *NOW)
    assert support.revisions(server_url, f"{database_prefix}orders") == before
    ran = command("seed", folder, "--prefix", database_prefix, "--exact", "--report", "-", *NOW).value
    assert ran["databases"]["orders"]["removed"] == 2
    assert ran["databases"]["orders"]["others"] == ["index old/old removed"]
    left = support.revisions(server_url, f"{database_prefix}orders")
    assert set(left) == set(before) - {"extra", "_design/extra", "_design/old"}


def test_recreate_starts_from_nothing(
    command: Command, write: Write, server_url: str, database_prefix: str
) -> None:
    """The databases are new ones: what was there is gone, its history too."""
    folder = str(write(FILES))
    command("seed", folder, "--prefix", database_prefix, *NOW)
    orders = url_of(server_url, f"{database_prefix}orders")
    support.request("PUT", f"{orders}/extra", {"a": 1})
    rev = support.get(f"{orders}/o-1")["_rev"]
    support.request("PUT", f"{orders}/o-1", {"_rev": rev, "total": 0})
    command("seed", folder, "--prefix", database_prefix, "--recreate", *NOW)
    found = support.revisions(server_url, f"{database_prefix}orders")
    assert "extra" not in found
    assert found["o-1"].startswith("1-")


def test_diff_shows_what_tests_changed_and_writes_nothing(
    command: Command, write: Write, server_url: str, database_prefix: str
) -> None:
    """Each kind of change is named with its values; the exit code is 4."""
    folder = str(write(FILES))
    assert "missing" in command("seed", folder, "--prefix", database_prefix, "--diff", *NOW).output
    command("seed", folder, "--prefix", database_prefix, *NOW)
    assert command("seed", folder, "--prefix", database_prefix, "--diff", *NOW).code == 0
    name = f"{database_prefix}orders"
    orders = url_of(server_url, name)
    found = support.get(f"{orders}/o-1")
    support.request("PUT", f"{orders}/o-1", {**found, "total": 9, "paid": True})
    support.request("DELETE", f"{orders}/o-2?rev={support.get(f'{orders}/o-2')['_rev']}")
    support.request("PUT", f"{orders}/new", {})
    people = url_of(server_url, f"{database_prefix}people")
    support.request("PUT", f"{people}/_security", {"admins": {"names": [], "roles": []}})
    before = support.revisions(server_url, name)
    ran = command("seed", folder, "--prefix", database_prefix, "--diff", "--report", "-", *NOW)
    assert ran.code == 4
    assert support.revisions(server_url, name) == before
    differences = {(found["what"], found["kind"]): found.get("changes") for found in ran.value["differences"]}
    assert differences[("o-1", "different")] == [
        {"path": "paid", "fixture": "", "there": "true"},
        {"path": "total", "fixture": "1.5", "there": "9"},
    ]
    assert ("o-2", "missing") in differences
    assert ("new", "extra") in differences
    assert ("_security", "different") in differences
    text = command("seed", folder, "--prefix", database_prefix, "--diff", *NOW).output
    assert f"different: {name} o-1\n" in text
    assert "    total: fixture 1.5, database 9\n" in text
    assert "4 differences" in text


def test_passwords_are_hashed_by_the_server_and_never_shown(
    command: Command, write: Write, server_url: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password from a variable logs its user in; another one is a difference that shows neither."""
    monkeypatch.setenv("APP_PASSWORD", "s3cret-one")
    folder = str(write({f"_users/{user}.json": '{"password": "${APP_PASSWORD}"}'}))
    assert command("seed", folder, "--prefix", "x_").code == 0
    stored = support.get(f"{server_url}/_users/org.couchdb.user:{user}")
    assert "password" not in stored
    assert stored["derived_key"]
    anonymous = f"http://{server_url.removeprefix('http://').rpartition('@')[2]}"
    for password, status in (("s3cret-one", 200), ("s3cret-two", 401)):
        assert support.request("POST", f"{anonymous}/_session", {"name": user, "password": password})[0] == status
    monkeypatch.setenv("APP_PASSWORD", "s3cret-two")
    ran = command("seed", folder, "--prefix", "x_", "--diff")
    assert ran.code == 4
    assert "    password\n" in ran.output
    assert "s3cret" not in ran.output
    assert stored["derived_key"] not in ran.output
    command("seed", folder, "--prefix", "x_")
    assert support.get(f"{server_url}/_users/org.couchdb.user:{user}")["derived_key"] != stored["derived_key"]
    assert command("seed", folder, "--prefix", "x_", "--diff").code == 0


def test_faults_are_told_before_the_first_write(
    command: Command, write: Write, server_url: str, database_prefix: str
) -> None:
    """With one wrong reference no database is made, and the exit code is 2."""
    folder = write({**FILES, "people/bob.json": '{\n"boss": "${ref:people/eve}"}', "orders.csv": "_id\no-1\n"})
    ran = command("seed", str(folder), "--prefix", database_prefix)
    assert ran.code == 2
    assert "2 problems in the fixtures, so nothing was written" in ran.output
    assert "people/bob.json:2: wrong reference" in ran.output
    assert "duplicate id 'o-1'" in ran.output
    assert not [name for name in support.get(f"{server_url}/_all_dbs") if name.startswith(database_prefix)]


def test_what_the_server_refuses_is_told_by_file_and_line(
    command: Command, write: Write, server_url: str, database_prefix: str
) -> None:
    """A validation function that is there already refuses one fixture: exit 3, the others are written."""
    name = f"{database_prefix}d"
    support.request("PUT", url_of(server_url, name))
    guard = {"validate_doc_update": "function(doc) { if (doc.bad) { throw({forbidden: 'it is bad'}); } }"}
    support.request("PUT", f"{url_of(server_url, name)}/_design/guard", guard)
    folder = write({"d.ndjson": '{"_id":"a"}\n{"_id":"b","bad":true}\n{"_id":"c"}'})
    ran = command("seed", str(folder), "--prefix", database_prefix)
    enforced = "b" not in support.revisions(server_url, name)
    assert {"a", "c"} <= set(support.revisions(server_url, name))
    if enforced:
        assert ran.code == RejectsError.exit_code
        assert "d.ndjson:2: 'b': forbidden (it is bad)" in ran.output
    else:
        assert ran.code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none",), "There is no folder none"),
        (("empty",), "There are no fixtures in empty"),
        ((".", "--collection", "x"), "no database 'x'"),
        ((".", "--now", "yesterday"), "is not a time"),
        ((".", "--sample", "5%"), "migrator snapshot URL FOLDER --mask"),
        (("http://127.0.0.1:1", "--exact"), "--exact goes with a folder"),
        ((".", "--to", "http://127.0.0.1:1/db"), "the fixtures' folder names the databases"),
        ((".", "--to", "folder"), "is not a server's URL"),
    ],
)
def test_wrong_flags_are_usage_errors(
    command: Command, arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    """Each has exit code 2 and a sentence with the remedy."""
    (tmp_path / "orders.ndjson").write_text('{"_id": "a"}\n')
    (tmp_path / "empty").mkdir()
    ran = command("seed", *arguments)
    assert ran.code == 2
    assert words in ran.output


def test_an_unreachable_server_is_told_soon(command: Command, write: Write) -> None:
    """Exit code 5, without and with --wait."""
    folder = str(write({"d.ndjson": ""}))
    assert command("seed", folder, "--to", "http://127.0.0.1:1").code == 5
    assert command("seed", folder, "--to", "http://127.0.0.1:1", "--wait", "0.3").code == 5


def test_ten_thousand_documents_are_seeded_and_seeded_again(
    server_url: str, database_prefix: str, tmp_path: Path
) -> None:
    """All arrive, and the second time all are found unchanged by their revisions."""
    lines = (json.dumps({"_id": f"o-{number:05}", "n": number}) for number in range(10_000))
    (tmp_path / "orders.ndjson").write_text("\n".join(lines))
    fixtures = read_fixtures(tmp_path, environ={}, now=parse_now(None), prefix=database_prefix)
    seeder = Seeder(parse_endpoint(server_url)[0], fixtures, SeedOptions(), stopping=threading.Event())
    assert seeder.seed()["orders"].written == 10_000
    again = seeder.seed()["orders"]
    seeder.close()
    assert (again.written, again.unchanged) == (0, 10_000)


# -- snapshots ------------------------------------------------------------------------------------------------

UGLY: dict[str, dict[str, Any]] = {
    "plain": {"a": 1, "b": [1.5, None, True, {"z": 1, "y": "two\nlines"}]},
    "UPPER": {"text": "${NAME} $${now} ü 漢 \u0000"},
    "a/b c%2F": {},
    ".dot": {"_attachments": {"x.txt": {"content_type": "text/plain", "data": "aGVsbG8="}}},
    "README": {"n": 2**53},
    "x" * 240 + "é" * 5: {"long": True},
}


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("format", ["json", "ndjson"])
def test_a_snapshot_reproduces_the_database(
    command: Command, server_url: str, database_prefix: str, tmp_path: Path, format: str
) -> None:
    """Seeding a snapshot makes a database of the same content, whose snapshot is the same to the byte."""
    name = f"{database_prefix}d"
    url = url_of(server_url, name)
    support.request("PUT", url)
    support.request("POST", f"{url}/_bulk_docs", {"docs": [{"_id": id, **doc} for id, doc in UGLY.items()]})
    design = {"language": "javascript", "views": {"v": {"map": "function(doc) {\n  emit(doc.a);\n}"}}}
    support.request("PUT", f"{url}/_design/app", design)
    support.request("POST", f"{url}/_index", {"index": {"fields": ["b", "a"]}, "ddoc": "i", "name": "n"})
    security = {"admins": {"names": ["${X}"], "roles": []}, "members": {"names": [], "roles": []}}
    support.request("PUT", f"{url}/_security", security)
    support.request("PUT", f"{url_of(server_url, database_prefix + 'empty')}")
    chosen = ["--collection", name, "--collection", f"{database_prefix}empty", "--format", format]
    ran = command("snapshot", server_url, str(tmp_path / "one"), *chosen)
    assert ran.code == 0, ran.output
    first = files_of(tmp_path / "one")
    ours = [path for path in first if path.endswith("plain.json")]
    assert len(ours) == (1 if format == "json" else 0)
    assert first[f"{name}/_design/app/views/v/map.js"] == b"function(doc) {\n  emit(doc.a);\n}\n"
    if ours:
        assert first[ours[0]].startswith(b'{\n  "a": 1,\n  "b": [\n    1.5,\n')

    assert command("seed", str(tmp_path / "one"), "--diff").code == 0
    before = support.plain(support.documents(server_url, name))
    assert command("seed", str(tmp_path / "one"), "--recreate").code == 0
    assert support.plain(support.documents(server_url, name)) == before
    assert support.security(url) == security
    attached = support.get(f"{url}/.dot?attachments=true")["_attachments"]["x.txt"]["data"]
    assert attached == "aGVsbG8="
    assert command("snapshot", url, str(tmp_path / "two"), "--format", format).code == 0
    second = files_of(tmp_path / "two")
    assert second == {path: text for path, text in first.items() if not path.startswith(f"{database_prefix}empty")}


def test_a_snapshot_replaces_what_is_gone(
    command: Command, server_url: str, database_prefix: str, tmp_path: Path
) -> None:
    """A document that is gone has no file any more; other databases' files stay."""
    url = url_of(server_url, f"{database_prefix}d")
    support.request("PUT", url)
    for id in ("a", "b"):
        support.request("PUT", f"{url}/{id}", {})
    folder = tmp_path / "snap"
    folder.mkdir()
    (folder / "other.ndjson").write_text("")
    command("snapshot", url, str(folder))
    support.request("DELETE", f"{url}/a?rev={support.get(f'{url}/a')['_rev']}")
    command("snapshot", url, str(folder))
    assert set(files_of(folder)) == {f"{database_prefix}d/b.json", "other.ndjson"}
    command("snapshot", url, str(folder), "--format", "ndjson")
    assert files_of(folder) == {f"{database_prefix}d.ndjson": b'{"_id": "b"}\n', "other.ndjson": b""}


def test_users_survive_a_snapshot(
    command: Command, write: Write, server_url: str, user: str, tmp_path: Path
) -> None:
    """Users are written only where named, with their hashes, and are the same after seeding."""
    command("seed", str(write({f"_users/{user}.json": '{"password": "pw"}'})))
    command("snapshot", server_url, str(tmp_path / "snap"), "--collection", "_users")
    assert f"_users/{user}.json" in files_of(tmp_path / "snap")
    for path in (tmp_path / "snap" / "_users").iterdir():
        if path.name != f"{user}.json":
            path.unlink()
    before = support.get(f"{server_url}/_users/org.couchdb.user:{user}")
    assert command("seed", str(tmp_path / "snap")).code == 0
    assert support.get(f"{server_url}/_users/org.couchdb.user:{user}") == before
    support.request("DELETE", f"{server_url}/_users/org.couchdb.user:{user}?rev={before['_rev']}")
    assert command("seed", str(tmp_path / "snap")).code == 0
    again = support.get(f"{server_url}/_users/org.couchdb.user:{user}")
    assert again["derived_key"] == before["derived_key"]


def test_a_snapshot_of_nothing_is_an_error(command: Command, server_url: str, tmp_path: Path) -> None:
    """A database that is not there, or a source that is not a server."""
    assert command("snapshot", f"{server_url}/no-such-database", str(tmp_path / "snap")).code == 2
    assert command("snapshot", server_url, str(tmp_path / "snap"), "--collection", "nosuch").code == 2
    assert command("snapshot", "folder", str(tmp_path / "snap")).code == 2


def test_partitioned_databases_are_created_so(
    command: Command, write: Write, server_url: str, database_prefix: str, is_couchdb: bool, tmp_path: Path
) -> None:
    """_database.json makes it partitioned where the server can, and the snapshot says so."""
    folder = write(
        {
            "d/_database.json": '{"partitioned": true}',
            "d.ndjson": '{"_id":"a:b","n":1}\n{"_id":"c:d","n":2}',
            "d/_design/by/views/n/map.js": "function(doc) { emit(doc.n); }",
            "d/_index/by-n.json": '{"index": {"fields": ["n"]}}',
        }
    )
    ran = command("seed", str(folder), "--prefix", database_prefix, "--wait", "20")
    assert ran.code == 0, ran.output
    assert command("seed", str(folder), "--prefix", database_prefix, "--diff").code == 0
    props = support.get(url_of(server_url, f"{database_prefix}d")).get("props", {})
    assert props.get("partitioned", False) is is_couchdb
    (folder / "d" / "_database.json").write_text('{"partitioned": false}')
    other = command("seed", str(folder), "--prefix", database_prefix)
    assert other.code == (2 if is_couchdb else 0)
    assert ("--recreate" in other.output) is is_couchdb
    command("snapshot", url_of(server_url, f"{database_prefix}d"), str(tmp_path / "snap"))
    assert (f"{database_prefix}d/_database.json" in files_of(tmp_path / "snap")) is is_couchdb
