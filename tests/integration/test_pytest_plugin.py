"""The pytest plugin, in pytest sessions of their own against the server of the tests."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from migrator.couch.endpoint import parse_endpoint
from migrator.fixtures.folder import read_fixtures
from migrator.fixtures.servers import SeededDatabases
from migrator.fixtures.values import parse_now
from tests import support

pytest_plugins = ["pytester"]

SESSION = """
    import json, os, urllib3
    from tests import support

    def put(seeded, id, body):
        return support.request("PUT", f"{seeded.url_of('orders')}/{id}", body)[0]

    def ids(seeded):
        return sorted(id for id in support.revisions(seeded.url, seeded.name("orders")))
"""


@pytest.fixture
def session(pytester: pytest.Pytester, server_url: str, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with fixtures, an ini file and what tests share, against the server."""
    monkeypatch.setenv("COUCHDB_TEST_URL", server_url)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    # Other plugins import what they like, and cost these sessions their time.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\ncouchdb_fixtures = data\ncouchdb_now = 2024-05-01\nfilterwarnings = error\n")
    data = pytester.mkdir("data")
    (data / "orders.ndjson").write_text('{"_id":"a","n":1,"at":"${now|date}"}\n{"_id":"b","n":2}\n')
    (data / "people.yaml").write_text("ada: {name: Ada}\n")
    pytester.makepyfile(helping=SESSION)
    return pytester


def run(session: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return session.runpytest_subprocess("-p", "migrator.pytest_plugin", "-p", "no:cacheprovider", *arguments)


def left(server_url: str, prefix: str = "t") -> set[str]:
    return {name for name in support.get(f"{server_url}/_all_dbs") if name.startswith(prefix)}


def test_each_test_begins_with_the_fixtures(session: pytest.Pytester, server_url: str) -> None:
    """Whatever a test did, the next one sees the fixtures; at the end the databases are gone."""
    session.makepyfile(
        """
        import pathlib
        from helping import ids, put
        from tests import support

        def test_first(seeded, couchdb_url):
            assert ids(seeded) == ["a", "b"]
            assert support.get(seeded.url_of("orders") + "/a")["at"] == "2024-05-01"
            assert put(seeded, "new", {}) == 201
            rev = support.get(seeded.url_of("orders") + "/a")["_rev"]
            assert put(seeded, "a", {"_rev": rev, "n": 7}) == 201
            rev = support.get(seeded.url_of("orders") + "/b")["_rev"]
            assert support.request("DELETE", seeded.url_of("orders") + "/b?rev=" + rev)[0] == 200
            assert len(seeded.differences()) == 3
            pathlib.Path("prefix").write_text(seeded.name("orders").removesuffix("orders"))

        def test_second(seeded):
            assert ids(seeded) == ["a", "b"]
            assert support.get(seeded.url_of("orders") + "/a")["n"] == 1
            assert seeded.differences() == []
            support.request("DELETE", seeded.url_of("orders"))

        def test_third(seeded):
            assert ids(seeded) == ["a", "b"]
        """
    )
    run(session).assert_outcomes(passed=3)
    prefix = (session.path / "prefix").read_text()
    assert prefix.startswith("t")
    assert left(server_url, prefix) == set()


def test_a_module_keeps_its_changes_and_the_next_starts_over(session: pytest.Pytester) -> None:
    """Databases by module and by test are apart from each other."""
    body = """
        from helping import ids, put

        def test_one(seeded_module):
            assert ids(seeded_module) == ["a", "b"]
            put(seeded_module, "new", {})

        def test_two(seeded_module, seeded):
            assert ids(seeded_module) == ["a", "b", "new"]
            assert ids(seeded) == ["a", "b"]
    """
    session.makepyfile(test_x=body, test_y=body)
    run(session).assert_outcomes(passed=4)


def test_workers_have_databases_of_their_own(session: pytest.Pytester) -> None:
    """Under pytest-xdist no test sees what another worker writes."""
    session.makepyfile(
        """
        import pytest
        from helping import ids, put

        @pytest.mark.parametrize("number", range(6))
        def test_alone(seeded, number, worker_id):
            assert f"_{worker_id}_" in seeded.name("orders")
            assert ids(seeded) == ["a", "b"]
            assert put(seeded, f"x{number}", {}) == 201
            assert ids(seeded) == ["a", "b", f"x{number}"]
        """
    )
    run(session, "-p", "xdist.plugin", "-n", "2").assert_outcomes(passed=6)


def test_broken_fixtures_are_told_once_and_clearly(session: pytest.Pytester) -> None:
    """The file and line are in the output; no traceback of the library is."""
    (session.path / "data" / "more.ndjson").write_text('{"_id":"x","o":"${ref:orders/none}"}')
    session.makepyfile("def test_any(seeded): pass")
    result = run(session)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*more.ndjson:1: wrong reference*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_folder_is_named_or_asked_for(session: pytest.Pytester) -> None:
    """The command line wins over the ini file; without both, the message says what to set."""
    other = session.mkdir("other")
    (other / "things.ndjson").write_text('{"_id":"t"}')
    session.makepyfile("def test_any(seeded): assert list(seeded.names) == ['things']")
    run(session, "--couchdb-fixtures", "other").assert_outcomes(passed=1)
    session.makeini("[pytest]\n")
    result = run(session)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*set couchdb_fixtures in pytest.ini*"])


def test_a_server_that_does_not_answer_is_a_failure(
    session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a skip, and no password in the output."""
    monkeypatch.setenv("COUCHDB_TEST_URL", "http://a:secret-word@127.0.0.1:1")
    session.makepyfile("def test_any(seeded): pass\ndef test_url(couchdb_url): pass")
    result = run(session)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*These tests need a server*"])
    result.stdout.no_fnmatch_line("*secret-word*")


def test_the_plugin_imports_nothing_until_used(session: pytest.Pytester) -> None:
    """A pytest session that needs no database does not pay for it."""
    session.makepyfile(
        """
        import sys

        def test_light():
            heavy = {"couchdb", "urllib3", "click", "orjson", "faker", "yaml", "testcontainers"}
            assert not heavy & sys.modules.keys()
            assert not [name for name in sys.modules if name.startswith("migrator.fixtures")]
        """
    )
    (session.path / "helping.py").unlink()
    run(session).assert_outcomes(passed=1)


# -- resetting ------------------------------------------------------------------------------------------------


@pytest.fixture
def databases(server_url: str, database_prefix: str, tmp_path: Path) -> SeededDatabases:
    """Seeded databases with everything that fixtures can hold."""
    user = f"u{uuid.uuid4().hex[:12]}"
    files = {
        "d.ndjson": '{"_id":"a","n":1}\n{"_id":"b","n":2}\n{"_id":"c","n":3}',
        "d/_security.json": '{"admins": {"names": [], "roles": ["x"]}, "members": {"names": [], "roles": []}}',
        "d/_design/v/views/v/map.js": "function(doc) { emit(doc.n); }",
        "d/_index/n.json": '{"index": {"fields": ["n"]}}',
        "e.ndjson": '{"_id":"a"}',
        f"_users/{user}.json": '{"password": "pw"}',
    }
    for name, text in files.items():
        path = tmp_path / "fixtures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    fixtures = read_fixtures(tmp_path / "fixtures", environ={}, now=parse_now(None), prefix=database_prefix)
    made = SeededDatabases(parse_endpoint(server_url)[0], fixtures, server_url)
    made.seed()
    return made


def test_a_reset_of_nothing_writes_nothing(databases: SeededDatabases, server_url: str) -> None:
    """Nothing changed, so nothing is reset and no revision moves."""
    before = support.revisions(server_url, databases.name("d"))
    assert databases.reset() == []
    assert support.revisions(server_url, databases.name("d")) == before
    databases.remove()


def test_a_reset_touches_only_what_changed(databases: SeededDatabases, server_url: str) -> None:
    """Changed, deleted and new documents are set right; the others keep their revisions."""
    url = databases.url_of("d")
    before = support.revisions(server_url, databases.name("d"))
    support.request("PUT", f"{url}/a", {"_rev": before["a"], "n": 9})
    support.request("DELETE", f"{url}/b?rev={before['b']}")
    support.request("PUT", f"{url}/new", {})
    assert databases.reset() == ["d"]
    after = support.revisions(server_url, databases.name("d"))
    assert set(after) == set(before)
    assert {id for id in after if after[id] != before[id]} == {"a", "b"}
    assert support.get(f"{url}/a")["n"] == 1
    assert databases.differences() == []
    assert databases.reset() == []
    databases.remove()


@pytest.mark.parametrize("change", ["design", "index", "security", "gone", "again", "user"])
def test_a_reset_sets_right_whatever_a_test_did(databases: SeededDatabases, server_url: str, change: str) -> None:
    """Design documents, indexes, security, a database that is gone or another, and users."""
    url = databases.url_of("d")
    if change == "design":
        rev = support.get(f"{url}/_design/v")["_rev"]
        support.request("PUT", f"{url}/_design/v", {"_rev": rev})
        support.request("PUT", f"{url}/_design/w", {})
    elif change == "index":
        support.request("DELETE", f"{url}/_design/n?rev={support.get(f'{url}/_design/n')['_rev']}")
    elif change == "security":
        support.request("PUT", f"{url}/_security", {"admins": {"names": ["me"], "roles": []}})
        support.request("PUT", f"{databases.url_of('e')}/_security", {"admins": {"names": ["me"], "roles": []}})
    elif change in {"gone", "again"}:
        support.request("DELETE", url)
        if change == "again":
            support.request("PUT", url)
            for number in range(40):
                support.request("PUT", f"{url}/x{number}", {})
    else:
        id = next(iter(databases.fixtures.databases["_users"].documents)).id
        user = support.get(f"{server_url}/_users/{id}")
        support.request("PUT", f"{server_url}/_users/{id}", {**user, "roles": ["boss"]})
    assert databases.differences() != []
    expected = {"security": ["d", "e"], "user": ["_users"]}.get(change, ["d"])
    assert sorted(databases.reset()) == expected
    assert databases.differences() == []
    assert databases.reset() == []
    databases.remove()
