"""The doctor: each trouble of a server is found, with its remedy, and no account is locked by looking."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from migrator.cli import cli
from migrator.config import JobConfig
from migrator.server.admin import doctor, probes
from migrator.server.admin.connection import Server, open_server
from migrator.server.admin.doctor import examine
from migrator.server.admin.probes import ADVICE, OK, PROBLEM, UNREACHABLE, Diagnosis
from tests import support
from tests.support.fault_proxy import FaultProxy, Request
from tests.support.processes import SOON_S, ended
from tests.support.stub_server import Asked, Reply, StubServer

pytestmark = pytest.mark.usefixtures("no_credentials")


def look(url: str, *, probe: bool = True) -> Diagnosis:
    """Examine a server, with few tries."""
    config = JobConfig(max_attempts=2, max_outage_s=2.0, timeout_s=5.0)
    server, database = open_server(url, config=config, environ={})
    try:
        return examine(server, database, probe=probe)
    finally:
        server.close()


def level(diagnosis: Diagnosis, check: str) -> str:
    """How bad a check's finding is; the finding has a remedy where it is bad."""
    finding = diagnosis.find(check)
    assert finding is not None, [f.check for f in diagnosis.findings]
    assert finding.remedy or finding.level not in {PROBLEM, ADVICE, UNREACHABLE}, finding
    return finding.level


def command(*arguments: str) -> tuple[int, str]:
    """Exit code and standard output of the command."""
    result = CliRunner().invoke(cli, ["doctor", *arguments, "--quiet"])
    return result.exit_code, result.stdout


def test_a_server_in_order(server_url: str, is_couchdb: bool) -> None:
    """Nothing needs fixing at a plain server; the sandbox's admin party does. The scratch database is gone."""
    diagnosis = look(server_url)
    for check in ("reachable", "clock", "slow writes", "body limit", "TLS"):
        assert level(diagnosis, check) == OK, diagnosis
    if is_couchdb:
        assert level(diagnosis, "credentials") == OK
        assert level(diagnosis, "admin party") == OK
    else:
        assert level(diagnosis, "admin party") == PROBLEM
    code, output = command(server_url, "--json")
    assert code == (0 if diagnosis.ok else 4)
    assert json.loads(output)["ok"] is diagnosis.ok


def test_a_scratch_database_that_a_kill_left_is_removed(server_url: str) -> None:
    """A doctor that is killed at its writes leaves a database; one that comes an hour later removes just that."""
    written = threading.Event()

    def hang(request: Request) -> None:
        if request.method == "PUT" and "/probe-" in request.path:
            written.set()
            time.sleep(2)

    old = f"{probes.SCRATCH_PREFIX}{int(time.time() - probes.STALE_S - 60)}_{secrets.token_hex(6)}"
    young = f"{probes.SCRATCH_PREFIX}{int(time.time() - probes.STALE_S + 600)}_{secrets.token_hex(6)}"
    other = f"{probes.SCRATCH_PREFIX}{secrets.token_hex(6)}_of_somebody_else"
    # The one that is killed is put back in time, as nobody can wait for an hour.
    code = f"from migrator.server.admin import probes; probes.scratch_name = lambda: {old!r}; "
    code += "from migrator.cli import cli; cli()"

    def there() -> set[str]:
        return {old, young, other}.intersection(support.get(f"{server_url}/_all_dbs"))

    with FaultProxy(server_url, hang) as proxy:
        words = [sys.executable, "-c", code, "doctor", proxy.url, "--quiet"]
        with ended(subprocess.Popen(words)):
            assert written.wait(SOON_S)
    support.request("PUT", f"{server_url}/{young}")
    support.request("PUT", f"{server_url}/{other}")
    try:
        # Somebody else's doctor may have come by already.
        assert there() >= {young, other}
        look(server_url, probe=False)
        look(server_url)
        assert there() == {young, other}
    finally:
        for name in there():
            support.request("DELETE", f"{server_url}/{name}")


def test_without_probing_nothing_is_written(server_url: str) -> None:
    """A dry run sends only questions."""
    methods: list[str] = []

    def note(request: Request) -> None:
        methods.append(f"{request.method} {request.path}")

    with FaultProxy(server_url, note) as proxy:
        look(proxy.url, probe=False)
    assert methods
    # `_all_docs` is asked by POST for the documents that are in conflict.
    assert all(line.startswith("GET ") or line.split("?")[0].endswith("/_all_docs") for line in methods)


def test_connection_refused() -> None:
    """Where nothing listens, exit code 5 and how to wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    diagnosis = look(url)
    (finding,) = diagnosis.findings
    assert finding.level == UNREACHABLE
    assert "refused" in finding.message
    assert f"migrator wait {url}" in finding.remedy
    assert command(url)[0] == 5


def test_what_is_no_couchdb_is_told() -> None:
    """A web server that answers is not taken for one."""
    with StubServer(lambda _asked: Reply(body=b"<html>")) as stub:
        diagnosis = look(stub.url)
    assert not diagnosis.reachable
    assert "not as a CouchDB server" in diagnosis.findings[0].message


@pytest.mark.parametrize(
    ("status", "reason", "check"),
    [
        (401, "Name or password is incorrect.", "credentials"),
        (403, "Account is temporarily locked due to multiple authentication failures", "account locked"),
    ],
)
def test_refused_credentials_are_tried_once(status: int, reason: str, check: str) -> None:
    """Whatever the server says to them, the credentials are sent in one request only."""

    def answer(asked: Asked) -> Reply:
        if "Authorization" in asked.headers:
            return Reply(status, {"error": "unauthorized", "reason": reason})
        if asked.path == "/":
            return Reply(body={"couchdb": "Welcome", "version": "3.5.0"}, headers={})
        return Reply(401, {"error": "unauthorized", "reason": "You are not authorized."})

    with StubServer(answer) as stub:
        diagnosis = look(stub.url.replace("//", "//admin:wrong@"))
        sent = [asked for asked in stub.asked if "Authorization" in asked.headers]
        code, output = command(stub.url.replace("//", "//admin:wrong@"))
    assert len(sent) == 1
    assert level(diagnosis, check) == UNREACHABLE
    assert not diagnosis.reachable
    assert code == 5
    assert "wrong@" not in output


@pytest.mark.couchdb("the sandbox locks nobody; what CouchDB answers is played in the test above")
def test_a_locked_account_of_a_real_server(server_url: str, database_prefix: str) -> None:
    """Five failures from this address lock a user; the doctor tells that from a wrong password."""
    name = f"{database_prefix}locked"
    document = {"name": name, "type": "user", "roles": [], "password": "right"}
    support.request("PUT", f"{server_url}/_users/org.couchdb.user:{name}", document)
    base = server_url.rpartition("@")[2].rpartition("//")[2]
    try:
        wrong = look(f"http://{name}:wrong@{base}", probe=False)
        assert level(wrong, "credentials") == UNREACHABLE
        right = look(f"http://{name}:right@{base}", probe=False)
        assert level(right, "credentials") == OK
        for _ in range(5):
            support.request("GET", f"http://{name}:wrong@{base}/_session")
        locked = look(f"http://{name}:right@{base}", probe=False)
        assert level(locked, "account locked") == UNREACHABLE
    finally:
        url = f"{server_url}/_users/org.couchdb.user:{name}"
        support.request("DELETE", f"{url}?rev={support.get(url)['_rev']}")


def test_conflicts_are_counted(server_url: str, database_prefix: str) -> None:
    """Two living leaves are a conflict; one living and one deleted leaf are none any more."""
    url = f"{server_url}/{database_prefix}a"
    support.request("PUT", url)
    docs = [
        {"_id": "a", "_rev": "1-aa", "n": 1},
        {"_id": "a", "_rev": "1-bb", "n": 2},
        {"_id": "b", "_rev": "1-aa", "n": 1},
        {"_id": "b", "_rev": "2-bb", "_revisions": {"start": 2, "ids": ["bb", "cc"]}, "_deleted": True},
    ]
    support.request("POST", f"{url}/_bulk_docs", {"new_edits": False, "docs": docs})
    finding = look(url).find("conflicts")
    assert finding is not None
    assert finding.level == ADVICE
    assert "1 document in conflict" in finding.message
    assert "such as a" in finding.message
    assert "conflicts=true" in finding.remedy


def test_rights_to_a_database(server_url: str, database_prefix: str) -> None:
    """A database that is not there is told."""
    assert level(look(f"{server_url}/{database_prefix}none", probe=False), "rights") == PROBLEM


def test_slow_writes(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that take longer than they may are a problem; a proxy before the server delays each."""
    monkeypatch.setattr(probes, "SLOW_WRITE_S", 0.05)

    def delay(request: Request) -> None:
        if request.method == "PUT" and "/probe-" in request.path:
            time.sleep(0.08)

    with FaultProxy(server_url, delay) as proxy:
        finding = look(proxy.url).find("slow writes")
    assert finding is not None
    assert finding.level == PROBLEM
    assert "--batch-docs" in finding.remedy


def test_a_proxy_with_a_small_limit(server_url: str) -> None:
    """The size that passed and the one that did not are told, with the flag that fits."""

    def refuse_large(request: Request) -> str | None:
        return "page_413" if len(request.body) > 2_000_000 else None

    with FaultProxy(server_url, refuse_large) as proxy:
        finding = look(proxy.url).find("body limit")
    assert finding is not None
    assert finding.level == PROBLEM
    assert "4,500,000 bytes is refused" in finding.message
    assert "--batch-bytes 1500000" in finding.remedy


class Usage(NamedTuple):
    """What `shutil.disk_usage` gives."""

    total: int
    used: int
    free: int


@pytest.fixture
def stub_server(tmp_path: Any) -> Iterator[Callable[[Mapping[str, Reply]], str]]:
    """A server that greets an admin, and answers what a test adds."""
    stubs = []

    def started(more: Mapping[str, Reply]) -> str:
        (tmp_path / "_dbs.couch").touch()
        replies = {
            "/": Reply(body={"couchdb": "Welcome", "version": "3.5.0"}),
            "/_session": Reply(body={"ok": True, "userCtx": {"name": "admin", "roles": ["_admin"]}}),
            "/_all_dbs": Reply(body=[]),
            "/_node/_local/_config/couchdb/database_dir": Reply(body=str(tmp_path)),
            **more,
        }

        def answer(asked: Asked) -> Reply:
            named = asked.headers.get("Authorization")
            if asked.path == "/_session" and not named:
                return Reply(body={"ok": True, "userCtx": {"name": None, "roles": []}})
            return replies.get(asked.path, Reply(404, {"error": "not_found", "reason": "missing"}))

        stubs.append(StubServer(answer))
        return stubs[-1].url.replace("//", "//admin:pass@")

    yield started
    for stub in stubs:
        stub.close()


def test_a_full_disk(stub_server: Callable[[Mapping[str, Reply]], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of a server on this machine is looked at itself."""
    url = stub_server({})
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(1_000, 950, 50))
    assert level(look(url, probe=False), "disk") == PROBLEM
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(1_000, 500, 500))
    assert level(look(url, probe=False), "disk") == OK


def test_a_server_that_refuses_to_write_for_its_disk(server_url: str) -> None:
    """`insufficient_storage`, as a server with `[disk_monitor]` answers, is a matter of the disk."""
    full = Reply(507, {"error": "insufficient_storage", "reason": "enospc"})

    def answer(asked: Asked) -> Reply:
        if asked.path == "/":
            return Reply(body={"couchdb": "Welcome", "version": "3.5.0"})
        if asked.method == "PUT" and "probe" in asked.path:
            return full
        return Reply(201 if asked.method == "PUT" else 200, {"ok": True})

    with StubServer(answer) as stub:
        server = Server(open_server(stub.url, environ={})[0].endpoint)
        findings = list(probes.writing(server))
        server.close()
    assert (findings[0].check, findings[0].level) == ("disk", PROBLEM)
    assert "migrator compact" in findings[0].remedy


def test_a_server_whose_disk_is_full(
    stub_server: Callable[[Mapping[str, Reply]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CouchDB without a byte left makes no database any more (500): a problem, and no matter of rights."""
    full = Reply(500, {"error": "error", "reason": "internal_server_error"})
    monkeypatch.setattr(probes, "scratch_name", lambda: "migrator_scratch_full")
    finding = look(stub_server({"/migrator_scratch_full": full})).find("writes")
    assert finding is not None
    assert finding.level == PROBLEM
    assert "df -h" in finding.remedy
    refused = Reply(401, {"error": "unauthorized", "reason": "You are not a server admin."})
    finding = look(stub_server({"/migrator_scratch_full": refused})).find("writes")
    assert finding is not None
    assert finding.level == ADVICE
    assert "admin" in finding.remedy


def test_the_usual_document_limit_is_told(stub_server: Callable[[Mapping[str, Reply]], str]) -> None:
    """What nobody has set is what the program has; admins are told."""
    finding = look(stub_server({}), probe=False).find("max_document_size")
    assert finding is not None
    assert (finding.level, finding.message) == (OK, "8,000,000 bytes")


@pytest.mark.parametrize(("ahead_s", "word"), [(120.0, "behind"), (-120.0, "ahead")])
def test_a_clock_that_is_wrong(
    stub_server: Callable[[Mapping[str, Reply]], str], monkeypatch: pytest.MonkeyPatch, ahead_s: float, word: str
) -> None:
    """The server's Date beside this machine's clock, which is put forward and back."""
    monkeypatch.setattr("migrator.server.admin.doctor.time", SimpleNamespace(time=lambda: time.time() + ahead_s))
    finding = look(stub_server({}), probe=False).find("clock")
    assert finding is not None
    assert finding.level == PROBLEM
    assert f"s {word}" in finding.message
    assert "NTP" in finding.remedy


def test_exposure(stub_server: Callable[[Mapping[str, Reply]], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Listening everywhere, open databases, an old version and a small document limit each have a remedy."""
    url = stub_server(
        {
            "/": Reply(body={"couchdb": "Welcome", "version": "2.3.1"}),
            "/_all_dbs": Reply(body=["a", "b"]),
            "/a/_security": Reply(body={}),
            "/b/_security": Reply(body={"members": {"roles": ["_admin"]}}),
            "/_node/_local/_config/chttpd": Reply(body={"bind_address": "0.0.0.0", "port": "5984"}),
            "/_node/_local/_config/couchdb/max_document_size": Reply(body="1000000"),
        }
    )
    diagnosis = look(url, probe=False)
    assert level(diagnosis, "version") == PROBLEM
    assert level(diagnosis, "bind_address") == ADVICE
    assert level(diagnosis, "require_valid_user") == ADVICE
    assert level(diagnosis, "anonymous") == ADVICE
    assert level(diagnosis, "max_document_size") == ADVICE
    finding = diagnosis.find("_security")
    assert finding is not None
    assert "1 database" in finding.message
    assert "/a --user" in finding.remedy


def test_another_host_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain HTTP to another host, and ports that nobody else should reach."""
    with StubServer(lambda _asked: Reply(401, {"error": "unauthorized", "reason": "no"})) as stub:
        port = int(stub.url.rpartition(":")[2])
        monkeypatch.setattr(doctor, "PORTS", {port: "the stub"})
        server, _ = open_server(f"http://{socket.gethostname()}.invalid:5984", environ={})
        # The name leads nowhere; the stub stands in for it.
        local, _ = open_server(stub.url, environ={})
        monkeypatch.setattr(type(server.endpoint), "local", property(lambda _self: False))
        found = list(doctor.from_outside(local))
        server.close()
        local.close()
    levels = {finding.check: finding.level for finding in found}
    assert levels["TLS"] == PROBLEM
    assert levels["open ports"] == PROBLEM
    assert levels["admin party"] == OK
