"""Verification against a real server and folders: finds every kind of difference, and only differences."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrator.config import JobConfig
from migrator.errors import CheckpointError, ConfigError, Interrupted
from migrator.extractors.memory import MemoryExtractor
from migrator.jobs.run import run_job
from migrator.model.events import DocumentRejected, DocumentsCompared, Event
from migrator.report.html import render_page
from migrator.verification.compare import Difference
from migrator.verification.job import verify_job
from migrator.verification.result import VerifyResult, result_from_json, result_to_text
from migrator.verification.run import run_whole
from tests import support
from tests.support.fault_proxy import FaultProxy, Request, at_random

pytestmark = pytest.mark.usefixtures("no_credentials")


def load(url: str, name: str, documents: Mapping[str, Any], folder: Path, **options: Any) -> None:
    """Write documents by a run."""
    config = JobConfig(target=url, checkpoint=str(folder / "run.json"), restart=True, **options)
    run_job(config, environ={}, source=MemoryExtractor({name: documents}, name="test"))


def verify(
    url: str, name: str, documents: Mapping[str, Any] | list[Any], folder: Path, **options: Any
) -> VerifyResult:
    """Compare documents of memory with a target."""
    extras = {key: options.pop(key) for key in ("listener", "stopping", "differences") if key in options}
    options.setdefault("restart", not options.get("resume"))
    config = JobConfig(target=url, checkpoint=str(folder / "verify.json"), **options)
    return verify_job(config, environ={}, source=MemoryExtractor({name: documents}, name="test"), **extras)


def change(url: str, name: str, id: str, **fields: Any) -> None:
    """Change a stored document behind our back."""
    document = support.get(f"{url}/{name}/{id}")
    assert support.request("PUT", f"{url}/{name}/{id}", {**document, **fields})[0] == 201


@pytest.fixture
def documents() -> dict[str, Any]:
    """Some hundred documents of odd content."""
    return {
        f"d{n:04}": {"n": n, "f": n / 7, "text": f"Zoë\u2028 {n}", "deep": {"list": [n, {"x": None}]}}
        for n in range(400)
    }


@pytest.fixture(params=["server", "folder"])
def target(request: pytest.FixtureRequest, server_url: str, tmp_path: Path) -> str:
    """Both kinds of target."""
    return server_url if request.param == "server" else str(tmp_path / "out")


def test_equal_sides_are_verified(
    target: str, database_prefix: str, tmp_path: Path, documents: dict[str, Any]
) -> None:
    """After a load, every document is equal and nothing else is said."""
    name = f"{database_prefix}a"
    load(target, name, documents, tmp_path)
    result = verify(target, name, documents, tmp_path)
    assert result.ok
    expected = {"source": 400, "target": 400, "equal": 400, "different": 0, "missing": 0, "extra": 0}
    assert expected == result.comparisons[name].as_dict()
    assert not (tmp_path / "verify.json").exists()


def test_every_kind_of_difference_is_named(
    target: str, database_prefix: str, tmp_path: Path, documents: dict[str, Any]
) -> None:
    """Missing, extra and different documents are found with the first differing path."""
    name = f"{database_prefix}a"
    load(target, name, documents, tmp_path)
    changed = {id: json.loads(json.dumps(document)) for id, document in documents.items()}
    changed["d0007"]["deep"]["list"][1]["x"] = 1
    changed["d0100"]["text"] += "."
    del changed["d0399"]
    changed["d0150x"] = {"new": True}
    result = verify(target, name, changed, tmp_path, differences=str(tmp_path / "differences.ndjson"))
    expected = [
        Difference(name, "d0007", "different", "deep.list[1].x"),
        Difference(name, "d0100", "different", "text"),
        Difference(name, "d0150x", "missing"),
        Difference(name, "d0399", "extra"),
    ]
    assert expected == result.differences
    lines = (tmp_path / "differences.ndjson").read_text(encoding="utf-8").splitlines()
    assert expected == [Difference(**json.loads(line)) for line in lines]
    assert not result.ok


def test_a_database_that_is_not_there_misses_everything(
    target: str, database_prefix: str, tmp_path: Path, documents: dict[str, Any]
) -> None:
    """Nothing is created; each document is missing. A folder that is not there is a mistake in the command."""
    if not target.startswith("http"):
        with pytest.raises(ConfigError, match="There is no folder"):
            verify(target, f"{database_prefix}a", documents, tmp_path)
        return
    result = verify(target, f"{database_prefix}a", documents, tmp_path)
    assert 400 == result.comparisons[f"{database_prefix}a"].missing


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_is_found_exactly(
    seed: int, server_url: str, database_prefix: str, tmp_path: Path, documents: dict[str, Any]
) -> None:
    """Whatever ids are changed, deleted and added, exactly these are reported, whichever order the source has."""
    rng = random.Random(seed)
    name = f"{database_prefix}a"
    load(server_url, name, documents, tmp_path)
    ids = rng.sample(sorted(documents), 20)
    for id in ids[:7]:
        change(server_url, name, id, text="damaged")
    for id in ids[7:14]:
        rev = support.get(f"{server_url}/{name}/{id}")["_rev"]
        support.request("DELETE", f"{server_url}/{name}/{id}?rev={rev}")
    added = {f"{id}+" for id in ids[14:]}
    support.request("POST", f"{server_url}/{name}/_bulk_docs", {"docs": [{"_id": id} for id in added]})
    listed: list[Any] = [{"_id": id, **document} for id, document in documents.items()]
    rng.shuffle(listed)
    result = verify(server_url, name, listed, tmp_path)
    found = {
        kind: {d.id for d in result.differences if d.kind == kind} for kind in ("different", "missing", "extra")
    }
    assert {"different": set(ids[:7]), "missing": set(ids[7:14]), "extra": added} == found


def test_one_changed_character_in_many(server_url: str, database_prefix: str, tmp_path: Path) -> None:
    """The revision of an updated document proves nothing, so its content is read and compared."""
    name = f"{database_prefix}a"
    documents = {f"d{n:06}": {"text": "x" * 50, "n": n} for n in range(12_000)}
    load(server_url, name, documents, tmp_path)
    change(server_url, name, "d007777", text="x" * 49 + "y")
    result = verify(server_url, name, documents, tmp_path)
    assert [Difference(name, "d007777", "different", "text")] == result.differences
    assert 11_999 == result.comparisons[name].equal


def test_types_and_order_count_as_json_has_them(
    server_url: str, database_prefix: str, tmp_path: Path, is_couchdb: bool
) -> None:
    """1, 1.0 and true are three values on a server that keeps them; the order of keys is none."""
    name = f"{database_prefix}a"
    load(server_url, name, {"a": {"v": 1, "w": 2}, "b": {"v": True}, "c": {"v": 1.5}}, tmp_path)
    result = verify(server_url, name, {"a": {"w": 2, "v": 1.0}, "b": {"v": 1}, "c": {"v": 1.5}}, tmp_path)
    expected = {"a", "b"} if is_couchdb else {"b"}
    assert expected == {difference.id for difference in result.differences}


def test_attachments_are_compared_by_their_bytes(server_url: str, database_prefix: str, tmp_path: Path) -> None:
    """Another byte in an attachment is a difference; the server's digest is not looked at."""
    name = f"{database_prefix}a"

    def document(data: str) -> dict[str, Any]:
        return {"a": {"_attachments": {"t.txt": {"content_type": "text/plain", "data": data}}}}

    load(server_url, name, document("aGVsbG8="), tmp_path)
    assert verify(server_url, name, document("aGVsbG8="), tmp_path).ok
    assert ["a"] == [d.id for d in verify(server_url, name, document("aGVsbG9v"), tmp_path).differences]


def test_design_documents_of_the_target_are_its_own(server_url: str, database_prefix: str, tmp_path: Path) -> None:
    """An index that was added after the move is not an extra document."""
    name = f"{database_prefix}a"
    load(server_url, name, {"a": {}}, tmp_path)
    support.request("PUT", f"{server_url}/{name}/_design/d", {"language": "javascript", "views": {}})
    assert verify(server_url, name, {"a": {}}, tmp_path).ok


def test_transformers_are_applied_before_comparing(server_url: str, database_prefix: str, tmp_path: Path) -> None:
    """What was changed on the way is expected to be changed, and what was filtered is not missed."""
    name = f"{database_prefix}a"
    documents = {"a": {"k": 1, "secret": 1}, "b": {"k": 2, "secret": 2}, "c": {"k": 3, "off": True}}
    specs = ("drop:secret", "id:template=key-{k}", "where:!off")
    load(server_url, name, documents, tmp_path, transform=specs)
    result = verify(server_url, name, documents, tmp_path, transform=specs)
    assert result.ok
    assert (2, 1) == (result.comparisons[name].source, result.filtered)


def test_ids_by_uuid7_can_only_be_verified_by_their_run(
    server_url: str, database_prefix: str, tmp_path: Path
) -> None:
    """A verification that could only fail is refused with what to do instead."""
    with pytest.raises(ConfigError, match=r"migrator run --to \S+ .*--transform id:uuid7 .*--verify"):
        verify(server_url, f"{database_prefix}a", {"a": {}}, tmp_path, transform=("id:uuid7",))


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_stopped_verification_goes_on(
    stop_after: int, server_url: str, database_prefix: str, tmp_path: Path
) -> None:
    """After an interruption, resuming gives the same numbers and the same differences, each once."""
    name = f"{database_prefix}a"
    documents = {f"d{n:05}": {"n": n} for n in range(600)}
    load(server_url, name, documents, tmp_path)
    for n in range(0, 600, 2):
        documents[f"d{n:05}"]["n"] += 1
    stopping = threading.Event()
    steps = 0

    def listener(event: Event) -> None:
        nonlocal steps
        steps += isinstance(event, DocumentsCompared)
        if steps == stop_after:
            stopping.set()

    path = str(tmp_path / "differences.ndjson")
    with pytest.raises(Interrupted):
        verify(server_url, name, documents, tmp_path, listener=listener, stopping=stopping, differences=path)
    result = verify(server_url, name, documents, tmp_path, resume=True, differences=path)
    expected = {"source": 600, "target": 600, "equal": 300, "different": 300, "missing": 0, "extra": 0}
    assert expected == result.comparisons[name].as_dict()
    ids = [json.loads(line)["id"] for line in (tmp_path / "differences.ndjson").read_text().splitlines()]
    assert [f"d{n:05}" for n in range(0, 600, 2)] == ids


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_a_source_that_is_in_order_but_for_its_last_document(
    stop_after: int, server_url: str, database_prefix: str, tmp_path: Path
) -> None:
    """Read as it comes it would be compared wrongly, so it is sorted; nothing is counted or reported twice."""
    name = f"{database_prefix}a"
    documents = {f"d{n:05}": {"n": n} for n in range(1, 600)}
    load(server_url, name, {**documents, "d00000": {}, "zz": {}}, tmp_path)
    listed = [
        {"_id": id, **document, "n": document["n"] + (document["n"] % 2)} for id, document in documents.items()
    ]
    listed += [{"n": 0}, {"_id": "d00000"}]
    stopping = threading.Event()
    events: list[Event] = []

    def listener(event: Event) -> None:
        events.append(event)
        if sum(isinstance(each, DocumentsCompared) for each in events) == stop_after:
            stopping.set()

    path = str(tmp_path / "differences.ndjson")
    options: dict[str, Any] = {"listener": listener, "differences": path}
    if stop_after:
        with pytest.raises(Interrupted):
            verify(server_url, name, listed, tmp_path, stopping=stopping, **options)
        events.clear()
        stop_after = -1
    result = verify(server_url, name, listed, tmp_path, resume=stop_after < 0, restart=stop_after == 0, **options)
    expected = {"source": 600, "target": 601, "equal": 300, "different": 300, "missing": 0, "extra": 1}
    assert expected == result.comparisons[name].as_dict()
    assert (1, 1) == (result.unwritable, sum(isinstance(event, DocumentRejected) for event in events))
    ids = [json.loads(line)["id"] for line in (tmp_path / "differences.ndjson").read_text().splitlines()]
    assert [f"d{n:05}" for n in range(1, 600, 2)] + ["zz"] == ids
    assert len(result.differences) == len({each.id for each in result.differences})
    compared = sum(event.documents for event in events if isinstance(event, DocumentsCompared))
    assert compared <= 600
    assert not (tmp_path / "verify.json.spool").exists()


def test_documents_at_later_revisions_are_read_by_pages(
    server_url: str, database_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where revisions prove nothing the list has the documents: a request for a page, not for each hundred."""
    monkeypatch.setattr("migrator.verification.read_target.FIRST_PAGE_ROWS", 100)
    name = f"{database_prefix}a"
    documents: dict[str, Any] = {f"d{n:05}": {"n": n, "f": 1e3} for n in range(1_000)}
    load(server_url, name, documents, tmp_path)
    for document in documents.values():
        document["n"] += 1
    documents["d00950"]["_attachments"] = {"x": {"content_type": "text/plain", "data": "AA=="}}
    load(server_url, name, documents, tmp_path, on_conflict="overwrite")
    change(server_url, name, "d00940", n=-1)
    documents["d00950"]["_attachments"]["x"]["data"] = "AQ=="
    # Another order of the keys is the same content.
    documents["d00960"] = dict(reversed(documents["d00960"].items()))
    with FaultProxy(server_url) as proxy:
        result = verify(proxy.url, name, documents, tmp_path)
        asked = [request for request in proxy.requests if request.startswith("POST")]
    differing = [Difference(name, "d00940", "different", "n")]
    differing.append(Difference(name, "d00950", "different", "_attachments.x.data"))
    assert differing == result.differences
    assert 998 == result.comparisons[name].equal
    assert len(asked) <= 2


def test_a_source_that_changed_meanwhile_is_refused(server_url: str, database_prefix: str, tmp_path: Path) -> None:
    """A position in another content would skip documents unseen."""
    name = f"{database_prefix}a"
    source = tmp_path / "source"
    source.mkdir()
    file = source / f"{name}.ndjson"
    file.write_text("".join(f'{{"_id":"d{n:04}"}}\n' for n in range(600)))
    config = JobConfig(
        source=str(source), target=server_url, checkpoint=str(tmp_path / "verify.json"), resume=True
    )
    stopping = threading.Event()

    def listener(event: Event) -> None:
        if isinstance(event, DocumentsCompared):
            stopping.set()

    with pytest.raises(Interrupted):
        verify_job(config, environ={}, stopping=stopping, listener=listener)
    file.write_text('{"_id":"other"}\n')
    with pytest.raises(CheckpointError, match="changed"):
        verify_job(config, environ={})


def test_verification_through_faults(server_url: str, database_prefix: str, tmp_path: Path) -> None:
    """Reading that breaks off is taken up again; faults are not differences."""
    name = f"{database_prefix}a"
    documents = {f"d{n:05}": {"n": n} for n in range(1_000)}
    load(server_url, name, documents, tmp_path)
    change(server_url, name, "d00500", n=-1)
    faults = at_random(3, 0.3, faults=("torn_reply", "torn_json", "reset_before", "down_503", "error_500"))

    def plan(request: Request) -> str | None:
        # Who does not get through at all is told so after a few attempts.
        return None if request.path in {"/", f"/{name}"} else faults(request)

    with FaultProxy(server_url, plan) as proxy:
        result = verify(proxy.url, name, documents, tmp_path, max_attempts=30)
    assert [Difference(name, "d00500", "different", "n")] == result.differences


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"_id": "_x"}, "illegal_docid"),
        ({"_id": "_local/x"}, "local_document"),
        ({"_id": "x", "__v": 1}, "doc_validation"),
        ({"_id": "x", "_deleted": True}, "deleted_document"),
        ({"_id": "x", "n": 10**400}, "integer_too_large"),
        ({"_id": "x", "_attachments": {"a": {"stub": True}}}, "attachment_without_data"),
        ({"_id": ""}, "empty_id"),
    ],
)
def test_what_the_target_can_never_hold_is_not_called_missing(
    server_url: str, database_prefix: str, tmp_path: Path, document: dict[str, Any], error: str
) -> None:
    """It is named with the reason that `run` gives, and it is not proof that both sides are equal."""
    name = f"{database_prefix}a"
    documents = {"a": {"n": 1}, document["_id"]: document}
    load(server_url, name, documents, tmp_path, rejects=str(tmp_path / "r"))
    (line,) = (tmp_path / "r").read_text().splitlines()
    events: list[Event] = []
    result = verify(server_url, name, documents, tmp_path, listener=events.append)
    assert result.comparisons[name].as_dict() == {
        **dict.fromkeys(("source", "target", "equal"), 1),
        **dict.fromkeys(("different", "missing", "extra"), 0),
    }
    assert (result.ok, result.unwritable, result.differences) == (False, 1, [])
    (named,) = [event.reject for event in events if isinstance(event, DocumentRejected)]
    assert (named.id, named.error, named.reason) == (document["_id"], error, json.loads(line)["reason"])
    assert "1 source document can never be written there" in result_to_text(result)


def test_a_document_beyond_a_limit_of_today_is_compared(
    server_url: str, database_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit may have been another one when it was written."""
    name = f"{database_prefix}a"
    load(server_url, name, {"a": {"text": "x" * 5_000}}, tmp_path)
    monkeypatch.setattr("migrator.loaders.couchdb.DEFAULT_MAX_DOCUMENT_BYTES", 1_000)
    assert verify(server_url, name, {"a": {"text": "x" * 5_000}}, tmp_path).ok


@pytest.mark.parametrize("transform", [(), ("set:seen=true",)])
def test_other_processes_find_what_one_finds(
    transform: tuple[str, ...], server_url: str, database_prefix: str, tmp_path: Path
) -> None:
    """Plain documents and odd ones, what is not a document, other order, and every kind of difference."""
    name = f"{database_prefix}a"
    lines = [f'{{"_id":"d{n:04}","n":{n}}}' for n in range(400)]
    lines[7] = '{ "n": 7,\r "_id": "d0007" }'
    lines[8] = '{"_id":"d0008","_rev":"3-abc","n":8}'
    lines[9] = '{"_id":"d0009","n":9.0,"x":12345678901234567890123}'
    source = tmp_path / f"{name}.ndjson"
    source.write_bytes("\n".join(lines).encode())
    settings: dict[str, Any] = {
        "source": str(source),
        "target": server_url,
        "transform": transform,
        "restart": True,
    }
    run_job(JobConfig(**settings, checkpoint=str(tmp_path / "run.json")), environ={})
    change(server_url, name, "d0100", n=-1)
    rev = support.get(f"{server_url}/{name}/d0200")["_rev"]
    assert support.request("DELETE", f"{server_url}/{name}/d0200?rev={rev}")[0] == 200
    lines += ["{torn", '{"_id":"_wrong"}', '{"_id":"a"}']
    source.write_bytes("\n".join(lines).encode())
    found = [
        verify_job(
            JobConfig(**settings, transform_workers=workers, checkpoint=str(tmp_path / "verify.json")), environ={}
        )
        for workers in (0, 2)
    ]
    expected = {"source": 401, "target": 399, "equal": 398, "different": 1, "missing": 2, "extra": 0}
    assert expected == found[0].comparisons[name].as_dict() == found[1].comparisons[name].as_dict()
    assert found[0].differences == found[1].differences
    assert (2, 2) == (found[0].unwritable, found[1].unwritable)


def test_a_database_is_equal_to_itself(server_url: str, database_prefix: str, tmp_path: Path) -> None:
    """Nothing is written, so nobody is kept from comparing it."""
    name = f"{database_prefix}a"
    load(server_url, name, {"a": {"n": 1}, "b": {}}, tmp_path)
    url = f"{server_url}/{name}"
    assert verify_job(JobConfig(source=url, target=url), environ={}).comparisons[name].equal == 2
    with pytest.raises(ConfigError, match="Source and target are one database"):
        run_job(JobConfig(source=url, target=url, checkpoint=str(tmp_path / "c.json")), environ={})


def test_a_run_names_its_own_rejects_among_the_differences(
    server_url: str, database_prefix: str, tmp_path: Path
) -> None:
    """A document that was refused for another's content differs, which is no news; what else differs is."""
    name = f"{database_prefix}a"
    documents: dict[str, Any] = {f"d{n}": {"n": n} for n in range(20)}
    load(server_url, name, documents, tmp_path)
    change(server_url, name, "d3", n=-1)
    source = MemoryExtractor({name: documents}, name="test")
    config = JobConfig(target=server_url, checkpoint=str(tmp_path / "c.json"), rejects=str(tmp_path / "r.ndjson"))
    config = replace(config, verify=True, report=str(tmp_path / "report.json"))
    result = run_whole(config, source=source, environ={})
    assert result.verification is not None
    assert (result.exit_code, result.verification.own_rejects) == (3, {name: 1})
    assert "1 of the differences is a document that this run rejected" in result_to_text(result.verification)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verification"]["own_rejects"] == {name: 1}
    assert "1 of the differences: documents that this run rejected." in render_page(report)
    assert "1 of the differences rejected by this run" in render_page(report, short=True)
    assert result_from_json(report["verification"], name="r").own_rejects == {name: 1}
