"""Compaction, least-privilege users and replications on a server: done, proven, and nothing done in a dry run."""

from __future__ import annotations

import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from migrator.server.admin.connection import Server
from migrator.server.admin.replications import set_up
from tests import support
from tests.support.commands import Command, run
from tests.support.processes import wait_until


@pytest.fixture
def command(no_credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    return lambda *arguments: run(*arguments, "--log-level", "warning")


@pytest.fixture
def user(server_url: str) -> Iterator[str]:
    """A user's name, who is removed afterwards."""
    name = f"u{uuid.uuid4().hex[:12]}"
    yield name
    url = f"{server_url}/_users/org.couchdb.user:{name}"
    status, found = support.request("GET", url)
    if status == 200:
        support.request("DELETE", f"{url}?rev={found['_rev']}")


@pytest.fixture
def job(server_url: str) -> Iterator[str]:
    """A replication's name, which is removed afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    yield name
    url = f"{server_url}/_replicator/{name}"
    status, found = support.request("GET", url)
    if status == 200:
        support.request("DELETE", f"{url}?rev={found['_rev']}")


@pytest.fixture
def database(server_url: str, database_prefix: str, is_couchdb: bool) -> str:
    """A database whose name needs quoting, with documents; the sandbox loses a slash from its list."""
    name = f"{database_prefix}a/b+c" if is_couchdb else f"{database_prefix}a"
    support.request("PUT", url_of(server_url, name))
    support.request(
        "POST", f"{url_of(server_url, name)}/_bulk_docs", {"docs": [{"_id": f"d{n}"} for n in range(50)]}
    )
    return name


def url_of(server_url: str, database: str) -> str:
    return f"{server_url}/{quote(database, safe='')}"


def as_user(server_url: str, user: str, password: str) -> str:
    parts = urlsplit(server_url)
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}").geturl()


# -- compact ----------------------------------------------------------------------------------------------------


def rewrite(server_url: str, database: str, times: int) -> None:
    """Make many old revisions of large documents, and an index over them."""
    url = url_of(server_url, database)
    for number in range(times):
        revisions = support.revisions(server_url, database)
        docs = [
            {"_id": f"d{n}", "_rev": revisions[f"d{n}"], "text": f"{number}" * 2_000, "n": number}
            for n in range(50)
        ]
        support.request("POST", f"{url}/_bulk_docs", {"docs": docs})
        if number == 0:
            views = {"v": {"map": "function (doc) { emit(doc.n, doc.text); }"}}
            support.request("PUT", f"{url}/_design/by", {"views": views})
        support.get(f"{url}/_design/by/_view/v?limit=1")


def test_compaction_gives_back_space(
    command: Command, server_url: str, database: str, database_prefix: str, is_couchdb: bool
) -> None:
    """Database and index are smaller afterwards, the stale index is gone, and every document is as it was."""
    rewrite(server_url, database, 8)
    before = support.documents(server_url, database)
    looked = command("compact", server_url, "--database", f"{database_prefix}*", "--dry-run", "--json")
    assert looked.code == 0, looked.output
    assert looked.value["dry_run"]
    ran = command("compact", server_url, "--database", f"{database_prefix}*", "--json")
    assert ran.code == 0, ran.output
    (done,) = ran.value["databases"].values()
    assert done["design_documents"] == ["by"]
    assert before == support.documents(server_url, database)
    if is_couchdb:
        assert done["after"]["file"] < done["before"]["file"] / 2
        assert done["after"]["views_file"] < done["before"]["views_file"]
        # The dry run left all as it was.
        assert done["before"]["file"] == looked.value["databases"][database]["before"]["file"]
        info = support.get(url_of(server_url, database))
        assert not info["compact_running"]
        assert done["after"]["file"] == info["sizes"]["file"]
    else:
        # The sandbox tells no sizes.
        assert done["after"]["file"] is None


def test_a_stale_index_is_removed(command: Command, server_url: str, database: str, is_couchdb: bool) -> None:
    """Index files of design documents that are gone give back their space."""
    rewrite(server_url, database, 1)
    url = url_of(server_url, database)
    design = support.get(f"{url}/_design/by")
    design["views"]["v"]["map"] = "function (doc) { emit(doc._id); }"
    support.request("PUT", f"{url}/_design/by", design)
    folder = (
        support.get(f"{server_url}/_node/_local/_config/couchdb").get("view_index_dir") if is_couchdb else None
    )

    def files() -> list[Path]:
        return list(Path(folder).glob(f".shards/*/{database}.*_design/mrview/*.view")) if folder else []

    support.get(f"{url}/_design/by/_view/v?limit=1")
    stale = len(files())
    ran = command("compact", url)
    assert ran.code == 0, ran.output
    assert "1 database compacted" in ran.output
    if stale:
        # On another machine the files cannot be seen.
        assert len(files()) == stale / 2


def test_a_database_that_is_not_there_is_told(command: Command, server_url: str, database_prefix: str) -> None:
    """A mistyped name or pattern does not pass for done."""
    for arguments in (
        (url_of(server_url, f"{database_prefix}none"),),
        (server_url, "--database", f"{database_prefix}none*"),
    ):
        ran = command("compact", *arguments)
        assert ran.code == 2
        assert "no database" in ran.output


# -- secure -----------------------------------------------------------------------------------------------------


def test_a_database_that_goes_meanwhile_says_nothing(
    command: Command, server_url: str, database: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others delete theirs on a busy server; the user is made and proven all the same."""
    monkeypatch.setattr(Server, "databases", lambda _: [f"{database}-gone", database])
    ran = command("secure", url_of(server_url, database), "--user", user, "--json")
    assert ran.code == 0, ran.output
    assert not any("gone" in proof for proof in ran.value["proofs"])


def test_a_user_for_a_job(
    command: Command, server_url: str, database: str, user: str, is_couchdb: bool, tmp_path: Path
) -> None:
    """It can read and write one database, is proven to do no more, and its password is in a private file."""
    url = url_of(server_url, database)
    neighbour = f"{database}2"
    support.request("PUT", url_of(server_url, neighbour))
    support.request("PUT", f"{url_of(server_url, neighbour)}/_security", {"members": {"roles": ["other"]}})
    before = support.security(url)
    dry = command("secure", url, "--user", user, "--dry-run", "--json")
    assert dry.code == 0, dry.output
    assert len(dry.value["changes"]) == 2
    assert before == support.security(url)
    assert not (tmp_path / f"{user}.password").exists()
    ran = command("secure", url, "--user", user, "--json")
    assert ran.code == 0, ran.output
    file = tmp_path / f"{user}.password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    password = file.read_text().strip()
    assert password not in ran.output
    assert f"{user} can write to {database}" in ran.value["proofs"]
    assert f"{user} cannot read {neighbour}" in ran.value["proofs"]
    said = "admin-only default" if is_couchdb else "Admin party"
    assert any(said in warning for warning in ran.value["warnings"])
    theirs = as_user(server_url, user, password)
    assert support.request("PUT", f"{url_of(theirs, database)}/new", {})[0] == 201
    assert support.request("PUT", f"{url_of(theirs, database)}/_design/no", {})[0] in {401, 403}
    assert support.request("GET", url_of(theirs, neighbour))[0] in {401, 403}
    # Once more: nothing is left to do, and the password of the file is the user's.
    again = command("secure", url, "--user", user, "--json")
    assert again.code == 0, again.output
    assert again.value["changes"] == []
    # Databases of others come and go meanwhile.
    first, second = ([text for text in value["proofs"] if database in text] for value in (ran.value, again.value))
    assert first == second


def test_a_user_with_a_role_as_a_databases_admin(
    command: Command, server_url: str, database: str, user: str, is_couchdb: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role is let in, in place of the name; a database's admin can write design documents."""
    monkeypatch.setenv("MIGRATOR_USER_PASSWORD", "p: /@+")
    url = url_of(server_url, database)
    # A server's databases may hold the role that another test gives, which would be a right too many.
    role = f"{user}_role"
    before = support.security(url)
    ran = command("secure", url, "--user", user, "--role", role, "--admin", "--json")
    assert ran.code == 0, ran.output
    security = support.security(url)
    assert security["admins"]["roles"] == [*before.get("admins", {}).get("roles", []), role]
    assert security["members"] == before.get("members", {})
    assert any("names no members" in warning for warning in ran.value["warnings"]) is not is_couchdb
    theirs = as_user(server_url, user, "p: /@+")
    assert support.request("PUT", f"{url_of(theirs, database)}/_design/yes", {})[0] == 201
    assert not Path(f"{user}.password").exists()


def test_a_user_that_can_do_more_is_told(
    command: Command, server_url: str, database: str, user: str, is_couchdb: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user whose other rights reach further fails the proof, with exit code 4."""
    monkeypatch.setenv("MIGRATOR_USER_PASSWORD", "secret-enough")
    other = f"{database}2"
    support.request("PUT", url_of(server_url, other))
    support.request("PUT", f"{url_of(server_url, other)}/_security", {"members": {"names": [user]}})
    ran = command("secure", url_of(server_url, database), "--user", user)
    assert ran.code == 4, ran.output
    assert f"{user} can read {other}" in ran.output


def test_what_cannot_be_is_told_before_anything_is_done(
    command: Command, server_url: str, database: str, user: str, is_couchdb: bool, tmp_path: Path
) -> None:
    """Names that cannot be, files that cannot be read, and a URL without a database are faults of usage."""
    (tmp_path / "empty").write_text("\n")
    url = url_of(server_url, database)
    for arguments, word in (
        ((url, "--user", "_x"), "legal user name"),
        ((url, "--user", user, "--role", "_admin"), "role"),
        ((url, "--user", user, "--password-file", "empty"), "empty"),
        ((server_url, "--user", user), "no database"),
        ((f"{url}_none", "--user", user), "There is no database"),
    ):
        ran = command("secure", *arguments)
        assert ran.code == 2, ran.output
        assert word in ran.output


# -- replicate --------------------------------------------------------------------------------------------------


def test_a_replication_is_laid_down_listed_and_removed(
    command: Command,
    server_url: str,
    database: str,
    database_prefix: str,
    job: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether the server runs it or not, as the sandbox may not."""
    monkeypatch.setattr(set_up, "__kwdefaults__", {**(set_up.__kwdefaults__ or {}), "wait_s": 1.0})
    places = ("--from", url_of(server_url, database), "--to", url_of(server_url, f"{database_prefix}copy"))
    arguments = ("replicate", "set-up", *places, "--name", job, "--create-target", "--continuous")
    assert command(*arguments, "--json").code == 0
    listed = command("replicate", "list", server_url, "--json").value["replications"]
    assert any(item["name"] == job for item in listed)
    assert command("replicate", "stop", server_url, job).code == 0


@pytest.mark.couchdb("the sandbox keeps the document and may not run it; the test above removes it there")
def test_a_replication_from_set_up_to_stop(
    command: Command, server_url: str, database: str, database_prefix: str, job: str
) -> None:
    """It copies, is listed with its state and without credentials, and is gone when stopped."""
    target = f"{database_prefix}copy"
    places = ("--from", url_of(server_url, database), "--to", url_of(server_url, target))
    arguments = ("replicate", "set-up", *places, "--name", job, "--create-target", "--continuous")
    dry = command(*arguments, "--dry-run")
    assert dry.code == 0, dry.output
    assert support.request("GET", f"{server_url}/_replicator/{job}")[0] == 404
    ran = command(*arguments, "--json")
    assert ran.code == 0, ran.output
    assert ran.value["replications"][0]["state"] == "running"
    wait_until(lambda: support.request("GET", url_of(server_url, target))[1].get("doc_count") == 50)
    listed = command("replicate", "list", server_url)
    assert listed.code == 0
    assert job in listed.output
    password = urlsplit(server_url).password or "-"
    assert f":{password}@" not in listed.output + ran.output
    again = command(*arguments, "--json")
    assert (again.code, again.value["replications"][0]["state"]) == (0, "running"), "the same command goes on"
    assert command(*[word for word in arguments if word != "--continuous"]).code == 2
    assert command("replicate", "stop", server_url, job, "--dry-run").code == 0
    assert support.request("GET", f"{server_url}/_replicator/{job}")[0] == 200
    stopped = command("replicate", "stop", server_url, job)
    assert stopped.code == 0
    assert "stopped" in stopped.output
    assert support.request("GET", f"{server_url}/_replicator/{job}")[0] == 404
    assert all(item["doc_id"] != job for item in support.get(f"{server_url}/_scheduler/jobs")["jobs"])
    assert command("replicate", "stop", server_url, job).code == 2


@pytest.mark.couchdb("the sandbox may not run a replication, so that it does not fail")
def test_a_replication_that_fails_is_told(
    command: Command, server_url: str, database: str, database_prefix: str, job: str
) -> None:
    """A source that is not there ends with exit code 5, and the list gives the server's reason, masked."""
    source = url_of(server_url, f"{database_prefix}none")
    ran = command("replicate", "set-up", "--from", source, "--to", url_of(server_url, database), "--name", job)
    listed = command("replicate", "list", server_url)
    assert ran.code == 5, ran.output
    assert "replicate stop" in ran.output
    assert "db_not_found" in listed.output
    assert f":{urlsplit(server_url).password}@" not in listed.output + ran.output


def test_wrong_credentials_are_not_left_to_the_replicator(
    command: Command, server_url: str, database: str, job: str, user: str
) -> None:
    """The server would try a wrong password until the account is locked; it is tried once, and no job is made."""
    document = {"name": user, "type": "user", "roles": [], "password": "right"}
    support.request("PUT", f"{server_url}/_users/org.couchdb.user:{user}", document)
    url = url_of(server_url, database)
    support.request("PUT", f"{url}/_security", {"members": {"names": [user]}})
    wrong = url_of(as_user(server_url, user, "wrong"), database)
    ran = command("replicate", "set-up", "--from", wrong, "--to", url, "--name", job, "--dry-run")
    assert ran.code == 5, ran.output
    assert "credentials were refused" in ran.output
    ran = command("replicate", "set-up", "--from", wrong, "--to", url, "--name", job)
    assert ran.code == 5, ran.output
    assert support.request("GET", f"{server_url}/_replicator/{job}")[0] == 404
    time.sleep(1)
    right = url_of(as_user(server_url, user, "right"), database)
    assert support.request("GET", right)[0] == 200, "the account is locked"


def test_a_replication_that_is_not_there_is_not_started(command: Command, server_url: str, job: str) -> None:
    """Exit 2."""
    assert command("replicate", "start", server_url, job).code == 2


@pytest.mark.couchdb("the sandbox has no scheduler that could tell")
def test_a_paused_replication_does_not_start(
    command: Command, server_url: str, database: str, database_prefix: str, job: str
) -> None:
    """No job of it is made and nothing is copied until it is started by name."""
    target = f"{database_prefix}copy"
    places = ("--from", url_of(server_url, database), "--to", url_of(server_url, target))
    ran = command("replicate", "set-up", *places, "--name", job, "--create-target", "--paused", "--json")
    assert ran.code == 0, ran.output
    assert ran.value["replications"][0]["state"] == "paused"
    time.sleep(3)
    assert support.request("GET", url_of(server_url, target))[0] == 404
    assert all(item["doc_id"] != job for item in support.get(f"{server_url}/_scheduler/jobs")["jobs"])
    started = command("replicate", "start", server_url, job, "--json")
    assert started.code == 0, started.output
    wait_until(lambda: support.request("GET", url_of(server_url, target))[1].get("doc_count") == 50)
