"""A whole server moves by a plan: nothing is missing afterwards, users log in, and nobody was let in too early."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
import urllib3

from migrator.server.admin import compact, probes
from migrator.server.move import survey
from tests import support
from tests.support import leaf_states, whole_server
from tests.support.commands import Command, Ran, run
from tests.support.leaf_states import leaf
from tests.support.whole_server import Pair, url_of


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("COUCHDB_") and not name.startswith("COUCHDB_TEST_"):
            monkeypatch.delenv(name)

    return run


def apply(command: Command, pair: Pair, *arguments: str) -> Ran:
    """Do the plan `plan.json`."""
    return command("apply", "plan.json", "--from", pair.source, "--to", pair.target, "--quiet", *arguments)


def planned(command: Command, pair: Pair, *arguments: str) -> Any:
    """Make the plan `plan.json`."""
    ran = command(
        "plan-server", *pair.arguments, "--no-users", "--no-probe", "--output", "plan.json", "--json", *arguments
    )
    assert ran.code == 0, ran.output
    return ran.value


def test_a_whole_server(command: Command, pair: Pair, tmp_path: Path) -> None:
    """Twenty databases with everything in them are at the target afterwards, and all works there."""
    names = whole_server.odd_names(pair.source_prefix, is_couchdb=pair.is_couchdb)
    whole_server.fill(pair.source, names, is_couchdb=pair.is_couchdb)
    plan = planned(command, pair)
    assert plan["ok"]
    assert not [name for name in support.get(f"{pair.target}/_all_dbs") if name.startswith(pair.target_prefix)]
    assert sorted(item["source"] for item in plan["databases"]) == sorted(names)
    assert {item["attachments"] for item in plan["databases"]} == {3}
    assert {item["conflicts"] for item in plan["databases"]} == {1}
    leaves = {name: len(whole_server.state(pair.source, name)["leaves"]) for name in names}
    assert {item["source"]: item["leaves"] for item in plan["databases"]} == leaves
    assert b"secret" not in (tmp_path / "plan.json").read_bytes()
    ran = apply(command, pair, "--report", "report.json")
    assert ran.code == 0, ran.output
    report = json.loads((tmp_path / "report.json").read_text())
    totals = report["totals"]
    assert totals["read"] == totals["written"] == sum(leaves.values())
    assert report["verification"]["ok"]
    assert sum(item["leaves"] for item in report["verification"]["databases"].values()) == sum(leaves.values())
    whole_server.assert_same(pair, names)
    if pair.is_couchdb:
        # The views are built already: nothing is left to do for who asks first.
        for number, name in enumerate(names):
            if number % 2 == 0:
                url = url_of(pair.target, pair.at_target(name))
                pending = support.get(f"{url}/_design/by/_info")["view_index"]["updates_pending"]["total"]
                # Writing _security counts as a change of each copy of a shard, which has no document to index.
                # CouchDB itself looks at some copies again by then.
                cluster = support.get(url)["cluster"]
                assert pending <= cluster["q"] * cluster["n"]
    whole_server.assert_queries(pair, names)
    # Done once more, it is refused, as what it made stands there; and the files of the way are gone.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "report.json"]
    again = apply(command, pair)
    assert again.code == 6
    assert "is there at the target by now" in again.output


def limit_of(pair: Pair, size: int) -> str:
    """Have the target take documents of so many bytes only; where the limit stands."""
    limit = f"{pair.target}/_node/_local/_config/couchdb/max_document_size"
    assert support.request("PUT", limit, str(size))[0] == 200
    return limit


def test_the_usual_limit_is_planned_with_where_the_server_tells_none(command: Command, pair: Pair) -> None:
    """A document over it is named by the plan; the server writes it."""
    if pair.is_couchdb:
        pytest.skip("CouchDB tells its limit, and has the test below")
    names = whole_server.odd_names(pair.source_prefix, is_couchdb=False)[:2]
    whole_server.fill(pair.source, names, is_couchdb=False, documents=3)
    leaf_states.write(pair.source, names[1], leaf("large", "2-b", "1-a", text="x" * 8_000_100))
    made = command("plan-server", *pair.arguments, "--no-users", "--no-probe", "--output", "plan.json", "--json")
    assert made.code == 3, made.output
    assert [(item["id"], item["rev"]) for item in made.value["cannot_go"]] == [("large", "2-b")]
    assert "8,000,000" in made.value["cannot_go"][0]["reason"]
    assert apply(command, pair).code == 0
    whole_server.assert_same(pair, names)


@pytest.mark.couchdb("the sandbox tells no limit, and has the test above")
def test_what_cannot_go_is_planned_and_rejected_by_name(command: Command, pair: Pair, tmp_path: Path) -> None:
    """Documents over the target's limit are named by the plan and in the reject file; all others are there.

    When the limit is raised, the same plan done over writes them, too.
    """
    names = whole_server.odd_names(pair.source_prefix, is_couchdb=pair.is_couchdb)[:2]
    whole_server.fill(pair.source, names, is_couchdb=pair.is_couchdb, documents=3)
    large = [leaf("large", "2-b", "1-a", text="x" * 50_000), leaf("large", "2-c", "1-a")]
    leaf_states.write(pair.source, names[1], *large)
    limit = limit_of(pair, 40_000)
    try:
        made = command(
            "plan-server", *pair.arguments, "--no-users", "--no-probe", "--output", "plan.json", "--json"
        )
        assert made.code == 3, made.output
        assert [(item["id"], item["rev"]) for item in made.value["cannot_go"]] == [("large", "2-b")]
        assert "all documents of 2 databases were read" in made.value["found_by"]
        shown = command("plan-server", *pair.arguments, "--no-users", "--no-probe")
        assert "cannot go" in shown.output
        quick = command("plan-server", *pair.arguments, "--no-users", "--no-probe", "--quick", "--json").value
        if pair.single:
            # One server has one limit: it was lowered after the document had come, which only reading tells.
            assert "none should be" in quick["found_by"]
        else:
            # Only the database that holds more than one document may is read.
            assert "1 of 2 databases were read" in quick["found_by"]
            assert quick["cannot_go"] == made.value["cannot_go"]
            counted = {item["source"]: item["attachments"] for item in quick["databases"]}
            assert counted == {names[0]: None, names[1]: 3}
        ran = apply(command, pair, "--report", "-")
    finally:
        support.request("DELETE", limit)
    assert ran.code == 3, ran.output
    assert ran.value["totals"]["rejected"] == 1
    verification = ran.value["verification"]["databases"]
    assert [verification[name]["missing"] for name in names] == [0, 1]
    assert verification[names[1]]["named"] == ["'large' 2-b is missing"]
    (reject,) = [json.loads(line) for line in (tmp_path / "plan.json.rejects.ndjson").read_text().splitlines()]
    assert (reject["id"], reject["error"]) == ("large", "document_too_large")
    assert "2-b" in reject["reason"]
    whole_server.assert_same(pair, names[:1])
    there = whole_server.state(pair.target, pair.at_target(names[1]))["leaves"]
    assert whole_server.state(pair.source, names[1])["leaves"].keys() - there.keys() == {("large", "2-b")}
    retried = command("retry", "plan.json.rejects.ndjson", "--to", pair.target)
    assert retried.code == 2
    assert "migrator apply plan.json" in retried.output
    assert "--restart" in retried.output
    # What is told to be typed next works.
    again = apply(command, pair, "--restart", "--report", "-")
    assert again.code == 0, again.output
    assert again.value["totals"]["written"] == 1
    whole_server.assert_same(pair, names)


def test_a_plan_that_does_not_fit_any_more(command: Command, pair: Pair) -> None:
    """New, lost and re-made databases and names that are taken by now are named, and nothing is written."""
    names = [f"{pair.source_prefix}{name}" for name in ("gone", "remade", "taken", "kept")]
    for name in names:
        support.request("PUT", url_of(pair.source, name))
    planned(command, pair)
    support.request("DELETE", url_of(pair.source, names[0]))
    support.request("PUT", url_of(pair.source, f"{pair.source_prefix}new"))
    support.request("PUT", url_of(pair.target, pair.at_target(names[2])))
    if pair.is_couchdb:
        # The time that CouchDB keeps has whole seconds; the sandbox keeps none.
        whole_server.pause(1.1)
        support.request("DELETE", url_of(pair.source, names[1]))
        support.request("PUT", url_of(pair.source, names[1]))
    ran = apply(command, pair)
    assert ran.code == 6, ran.output
    for text in (f"{names[0]} is gone", f"{pair.source_prefix}new is new", f"{pair.at_target(names[2])} is there"):
        assert text in ran.output
    assert (f"{names[1]} was deleted and created again" in ran.output) is pair.is_couchdb
    assert "migrator plan-server" in ran.output
    assert support.request("GET", url_of(pair.target, pair.at_target(names[3])))[0] == 404


def test_a_source_that_has_become_another(command: Command, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few documents more are carried; many more, and other design documents, want a new look."""
    names = [f"{pair.source_prefix}{name}" for name in ("grown", "designed", "lives")]
    for name in names:
        support.request("PUT", url_of(pair.source, name))
    planned(command, pair)
    monkeypatch.setattr(survey, "MIN_GROWN_DOCUMENTS", 20)
    for name, count in ((names[0], 30), (names[2], 10)):
        body = {"docs": [{"_id": f"d{number}"} for number in range(count)]}
        support.request("POST", f"{url_of(pair.source, name)}/_bulk_docs", body)
    design = {"validate_doc_update": whole_server.VALIDATE}
    support.request("PUT", f"{url_of(pair.source, names[1])}/_design/late", design)
    ran = apply(command, pair)
    assert ran.code == 6, ran.output
    assert f"{names[0]} has grown from 0 documents to 30" in ran.output
    assert f"{names[1]} has other design documents by now: _design/late" in ran.output
    assert names[2] not in ran.output
    assert support.request("GET", url_of(pair.target, pair.at_target(names[0])))[0] == 404
    planned(command, pair)
    assert apply(command, pair).code == 0


def test_a_plan_that_was_changed_by_hand(command: Command, pair: Pair) -> None:
    """Two databases that an edited plan sends to one place would become one; it is refused."""
    for name in ("a", "b"):
        support.request("PUT", url_of(pair.source, f"{pair.source_prefix}{name}"))
    plan = planned(command, pair)
    plan["databases"][1]["target"] = plan["databases"][0]["target"]
    Path("plan.json").write_text(json.dumps(plan))
    ran = apply(command, pair)
    assert ran.code == 6, ran.output
    assert "would both go to" in ran.output
    plan["databases"][1]["target"] = "../_users"
    Path("plan.json").write_text(json.dumps(plan))
    assert "not a legal name" in apply(command, pair).output


def test_another_server_is_refused(command: Command, pair: Pair) -> None:
    """A plan is for the two servers that it was made for, told by their own ids."""
    support.request("PUT", url_of(pair.source, f"{pair.source_prefix}a"))
    planned(command, pair)
    if pair.single:
        other = json.loads(Path("plan.json").read_text())
        other["source"]["uuid"] = "0" * 32
        Path("plan.json").write_text(json.dumps(other))
        ran = apply(command, pair)
    else:
        ran = command("apply", "plan.json", "--from", pair.target, "--to", pair.source, "--quiet")
    assert ran.code == 6, ran.output
    assert "the source was" in ran.output


def test_what_stands_in_the_way_of_a_plan(command: Command, pair: Pair) -> None:
    """Occupied targets, collisions and illegal names are problems: exit code 2, and apply refuses."""
    names = [f"{pair.source_prefix}{name}" for name in "abc"]
    for name in names:
        support.request("PUT", url_of(pair.source, name))
    support.request("PUT", url_of(pair.target, pair.at_target(names[0])))
    support.request("PUT", f"{url_of(pair.target, pair.at_target(names[0]))}/x", {})
    more = ["--map", f"{names[1]}={pair.target_prefix}c", "--output", "plan.json"]
    ran = command("plan-server", *pair.arguments, *more, "--no-probe")
    assert ran.code == 2, ran.output
    assert "holds 1 document" in ran.output
    assert "would both go to" in ran.output
    refused = apply(command, pair)
    assert refused.code == 6
    assert "would both go to" in refused.output
    illegal = command("plan-server", *pair.arguments, "--map", f"{names[1]}=Upper", "--no-probe")
    assert illegal.code == 2
    assert "not a legal name" in illegal.output
    wrong = command("plan-server", *pair.arguments, "--map", "nobody=x", "--no-probe")
    assert wrong.code == 2
    assert "fits no database" in wrong.output


def test_a_plan_leaves_nothing_behind(command: Command, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample for the time expected is taken in a scratch database that is gone afterwards."""
    names = whole_server.odd_names(pair.source_prefix, is_couchdb=pair.is_couchdb)[:1]
    whole_server.fill(pair.source, names, is_couchdb=pair.is_couchdb)
    made: list[str] = []
    scratch_name = probes.scratch_name

    def noted() -> str:
        made.append(scratch_name())
        return made[-1]

    monkeypatch.setattr(probes, "scratch_name", noted)
    ran = command("plan-server", *pair.arguments, "--json")
    assert ran.code == 0, ran.output
    assert ran.value["estimate"]["sample_documents"] > 10
    assert len(made) == 1
    assert made[0] not in support.get(f"{pair.target}/_all_dbs")


def test_what_changes_while_it_is_carried_is_caught_up(
    command: Command, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that is written behind the reading's back is at the target in the end."""
    names = whole_server.odd_names(pair.source_prefix, is_couchdb=pair.is_couchdb)[:2]
    whole_server.fill(pair.source, names, is_couchdb=pair.is_couchdb)
    planned(command, pair)
    written: list[int] = []

    def late(*arguments: Any, **more: Any) -> Any:
        if not written:
            written.append(support.request("PUT", f"{url_of(pair.source, names[1])}/late", {"n": 1})[0])
        return compact.warm(*arguments, **more)

    monkeypatch.setattr("migrator.server.move.apply.warm", late)
    ran = apply(command, pair, "--report", "-")
    assert written == [201]
    assert ran.code == 0, ran.output
    assert ran.value["caught_up"] == 1
    whole_server.assert_same(pair, names)


def test_a_user_goes_along(command: Command, pair: Pair) -> None:
    """Also where one server is both sides, and its users are there already."""
    name = whole_server.fresh_name()
    support.request("PUT", user_url(pair.source, name), user(name))
    try:
        ran = move_users(command, pair)
        assert ran.code == 0, ran.output
        assert support.request("GET", user_url(pair.target, name))[0] == 200
    finally:
        for server in {pair.source, pair.target}:
            whole_server.remove_document(server, "_users", f"org.couchdb.user:{name}")


@pytest.mark.couchdb("the sandbox hashes in another way and asks nobody for a password")
def test_users_log_in_afterwards(command: Command, pair: Pair) -> None:
    """Users go along with the hashes of their passwords; one who is there with another past stays and is named."""
    if pair.single:
        pytest.skip("one server's users are there already: COUCHDB_TEST_URL_2 names another")
    names = [whole_server.fresh_name() for _ in range(3)]
    try:
        for name in names:
            assert support.request("PUT", user_url(pair.source, name), user(name))[0] == 201
        assert support.request("PUT", user_url(pair.target, names[2]), user(names[2], "another"))[0] == 201
        ran = move_users(command, pair)
        assert ran.code == 3, ran.output
        for name in names[:2]:
            assert logs_in(pair.target, name, f"pass of {name}")
            assert support.get(user_url(pair.target, name)) == support.get(user_url(pair.source, name))
        assert logs_in(pair.target, names[2], "another")
        rejects = [json.loads(line) for line in Path("plan.json.rejects.ndjson").read_text().splitlines()]
        assert [reject["id"] for reject in rejects] == [f"org.couchdb.user:{names[2]}"]
        # Nobody was let in before the end: a new database was for admins only until its own _security came.
        name = f"{pair.target_prefix}a"
        assert support.security(url_of(pair.target, name)) == whole_server.security(0)
    finally:
        for server in (pair.source, pair.target):
            for name in names:
                whole_server.remove_document(server, "_users", f"org.couchdb.user:{name}")


def move_users(command: Command, pair: Pair) -> Ran:
    """Plan and apply a move of one database and the users."""
    name = f"{pair.source_prefix}a"
    support.request("PUT", url_of(pair.source, name))
    support.request("PUT", f"{url_of(pair.source, name)}/_security", whole_server.security(0))
    made = command("plan-server", *pair.arguments, "--output", "plan.json", "--no-probe", "--json")
    assert made.code == 0, made.output
    assert made.value["users"] >= 1
    return apply(command, pair)


def user(name: str, password: str = "") -> dict[str, Any]:
    """A user's document."""
    return {"name": name, "type": "user", "roles": ["readers"], "password": password or f"pass of {name}"}


def user_url(server: str, name: str) -> str:
    """Where it stands."""
    return f"{server}/_users/org.couchdb.user:{name}"


def logs_in(server: str, name: str, password: str) -> bool:
    """True when the server takes the password."""
    pool = urllib3.PoolManager(retries=False)
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    base = server.rpartition("@")[2]
    answer = pool.request("GET", f"http://{base}/_session", headers={"Authorization": f"Basic {pair}"})
    return answer.status == 200 and bool(json.loads(answer.data)["userCtx"]["name"] == name)


@pytest.mark.couchdb("the sandbox starts whatever stands in its _replicator")
def test_replications_go_along_paused(command: Command, pair: Pair) -> None:
    """A job of the source is at the target with its fields, and no job of it is started there."""
    job, copy = whole_server.fresh_name(), f"{pair.target_prefix}copy"
    name = f"{pair.source_prefix}a"
    support.request("PUT", url_of(pair.source, name))
    places = {"source": url_of(pair.source, name), "target": url_of(pair.target, copy), "create_target": True}
    document = {**places, "continuous": True, "_replication_state": "failed"}
    assert support.request("PUT", f"{pair.source}/_replicator/{job}", document)[0] == 201
    try:
        made = command(
            "plan-server", *pair.arguments, "--no-users", "--no-probe", "--replicator", "--output", "plan.json"
        )
        assert made.code == 0, made.output
        ran = apply(command, pair, "--report", "-")
        if pair.single:
            # It meets itself, which is another than its paused copy, and stays.
            assert ran.code == 3, ran.output
            rejects = Path("plan.json.rejects.ndjson").read_text().splitlines()
            assert job in [json.loads(line)["id"] for line in rejects]
            return
        assert ran.value["replications"]["written"] >= 1
        assert ran.value["verification"]["databases"]["_replicator"]["missing"] == 0
        there = support.get(f"{pair.target}/_replicator/{job}")
        assert there["source"] == places["source"]
        assert there["_replication_state"] == "failed"
        whole_server.pause(3)
        assert all(item["doc_id"] != job for item in support.get(f"{pair.target}/_scheduler/jobs")["jobs"])
        assert support.request("GET", url_of(pair.target, copy))[0] == 404
    finally:
        for server in (pair.source, pair.target):
            whole_server.remove_document(server, "_replicator", job)
