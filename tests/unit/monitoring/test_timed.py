"""A run on a timer: metrics, pings and the line of JSON say what happened, and change nothing."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families

import migrator
from migrator.cli import cli
from migrator.errors import ConfigError, EndpointError, RejectsError
from migrator.model import Counts, Reject
from migrator.model.events import BatchLoaded, CollectionStarted, DocumentRejected, LagMeasured
from migrator.monitoring.ping import Ping
from migrator.monitoring.timed import TELL_EVERY_S, TimedRun, exit_code_of, read_last_success
from tests.support.stub_server import Reply, StubServer

TLS = Path(__file__).parents[2] / "data" / "tls"


@pytest.fixture
def watchdog() -> Iterator[StubServer]:
    """A server that takes every ping."""
    with StubServer(lambda _: Reply(200, b"OK")) as server:
        yield server


def samples(path: Path) -> dict[tuple[str, ...], float]:
    """The numbers of a metrics file by name and labels but the job's, which is the file's name."""
    found = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            assert sample.labels["job"] == path.stem
            labels = [sample.labels[key] for key in sorted(sample.labels) if key != "job"]
            found[sample.name.removeprefix("migrator_"), *labels] = sample.value
    return found


def source(folder: Path, *lines: str) -> str:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "agents.ndjson").write_text("".join(line + "\n" for line in lines))
    return str(folder / "in")


def run(folder: Path, *arguments: str) -> Result:
    words = ["run", "--to", str(folder / "out"), "--quiet", "--rejects", str(folder / "rejects.ndjson")]
    return CliRunner().invoke(cli, [*words, *arguments], catch_exceptions=True)


def test_a_good_run_tells_its_numbers(tmp_path: Path, watchdog: StubServer) -> None:
    """Start and success are pinged, the file holds the numbers, and one line of JSON is all there is to read."""
    path = tmp_path / "nightly.prom"
    watched = ["--metrics", str(path), "--ping", f"{watchdog.url}/uuid", "--json"]
    result = run(tmp_path, "--from", source(tmp_path, '{"_id":"a"}', '{"_id":"b"}'), *watched)
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    value = json.loads(line)
    assert (value["ok"], value["exit_code"], value["command"]) == (True, 0, "run")
    assert value["totals"]["written"] == value["collections"]["agents"]["written"] == 2
    assert [asked.path for asked in watchdog.asked] == ["/uuid/start", "/uuid"]
    assert json.loads(watchdog.asked[1].body) == value
    numbers = samples(path)
    assert numbers["documents", "agents", "written"] == 2
    assert numbers["documents", "agents", "rejected"] == 0
    assert numbers["bytes", "agents"] == len('{"_id":"a"}{"_id":"b"}')
    assert numbers["exit_code",] == 0
    assert numbers["last_success_timestamp_seconds",] == numbers["last_run_timestamp_seconds",] > 1.7e9


def test_a_failed_run_is_no_success(tmp_path: Path, watchdog: StubServer) -> None:
    """Rejected documents: 3 everywhere, and the time of the last success stays that of the good run before."""
    path = tmp_path / "nightly.prom"
    watched = ["--metrics", str(path), "--ping", f"{watchdog.url}/uuid", "--json"]
    assert run(tmp_path, "--from", source(tmp_path, '{"_id":"a"}'), *watched).exit_code == 0
    before = samples(path)["last_success_timestamp_seconds",]
    result = run(tmp_path, "--from", source(tmp_path, '{"_id":"a"}', '{"x":1}'), *watched)
    assert result.exit_code == 3
    value = json.loads(result.stdout)
    assert (value["ok"], value["exit_code"], value["totals"]["rejected"]) == (False, 3, 1)
    numbers = samples(path)
    assert numbers["exit_code",] == 3
    assert numbers["documents", "agents", "rejected"] == 1
    assert numbers["last_success_timestamp_seconds",] == before < numbers["last_run_timestamp_seconds",]
    assert [asked.path for asked in watchdog.asked][2:] == ["/uuid/start", "/uuid/fail"]
    assert watchdog.asked[3].body.startswith(b"exit code 3")


def test_a_run_that_cannot_begin_has_failed_too(
    tmp_path: Path, watchdog: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server out of reach: the line of JSON, the file and the ping say 5, and none of them a password."""
    monkeypatch.setenv("COUCHDB_USER", "ada")
    monkeypatch.setenv("COUCHDB_PASSWORD", "s3cret-word")
    path = tmp_path / "nightly.prom"
    watched = ["--metrics", str(path), "--ping", f"{watchdog.url}/uuid", "--json", "--max-attempts", "1"]
    result = run(tmp_path, "--from", "http://ada:s3cret-word@127.0.0.1:1/db", *watched)
    assert exit_code_of(result.exception or SystemExit(0)) == 5
    value = json.loads(result.stdout)
    assert (value["ok"], value["exit_code"]) == (False, 5)
    assert "127.0.0.1:1" in value["error"]
    assert samples(path)["exit_code",] == 5
    assert ("last_success_timestamp_seconds",) not in samples(path)
    assert watchdog.asked[1].path == "/uuid/fail"
    assert watchdog.asked[1].body.startswith(b"exit code 5\n")
    everything = result.output + path.read_text() + "".join(str(asked) for asked in watchdog.asked)
    assert "s3cret-word" not in everything


@pytest.mark.parametrize("status", [404, 503, None])
def test_a_ping_that_fails_changes_nothing(tmp_path: Path, status: int | None) -> None:
    """The job ends well; what the watchdog said is on standard error, without the secret path."""
    with StubServer(lambda _: None if status is None else Reply(status)) as server:
        result = run(tmp_path, "--from", source(tmp_path, '{"_id":"a"}'), "--ping", f"{server.url}/s3cret-uuid")
    assert result.exit_code == 0
    assert (tmp_path / "out" / "agents.ndjson").read_text() == '{"_id":"a"}\n'
    assert result.stderr.count("The ping failed") == 2
    assert "s3cret" not in result.stderr
    assert str(status or "connection broke") in result.stderr
    # What cannot get better is said once; for the rest it is tried three times.
    assert len(server.asked) == (2 if status == 404 else 6)


def test_a_web_hook_gets_a_small_json(tmp_path: Path, watchdog: StubServer) -> None:
    """Once, when the run has ended: a sentence for a chat, and the numbers without the collections' own."""
    url = watchdog.url.replace("//", "//ada:p%40ss@") + "/services/T0/s3cret/?thread=7"
    result = run(tmp_path, "--from", source(tmp_path, '{"_id":"a"}', '{"_id":"b"}'), "--webhook", url, "--json")
    assert result.exit_code == 0, result.output
    (asked,) = watchdog.asked
    assert (asked.method, asked.path) == ("POST", "/services/T0/s3cret/?thread=7")
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.headers["Authorization"] == "Basic YWRhOnBAc3M="
    value, printed = json.loads(asked.body), json.loads(result.stdout)
    assert value["text"].startswith("migrator run ended well after 0 s (1 collection: 2 read, 2 written")
    assert value.pop("text").endswith(").")
    assert (value.pop("version"), value.pop("host")) == (1, socket.gethostname())
    assert value == {name: printed[name] for name in printed if name not in {"schema", "collections"}}


def test_a_function_tells_a_web_hook_too(tmp_path: Path, watchdog: StubServer) -> None:
    """As its command does, and what goes wrong with that is a warning."""
    where = source(tmp_path, '{"_id":"a"}')
    assert migrator.run(where, str(tmp_path / "out"), webhook=f"{watchdog.url}/x").ok
    assert [asked.json["totals"]["written"] for asked in watchdog.asked] == [1]
    with pytest.warns(UserWarning, match="web hook failed"):
        assert migrator.run(where, str(tmp_path / "other"), webhook="http://127.0.0.1:1/s3cret").ok


def test_a_web_hook_hears_of_failures(
    tmp_path: Path, watchdog: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rejected documents, a server out of reach, and no secret of the URL or the environment in either."""
    monkeypatch.setenv("COUCHDB_USER", "ada")
    monkeypatch.setenv("COUCHDB_PASSWORD", "s3cret-word")
    hook = ["--webhook", f"{watchdog.url}/x"]
    assert run(tmp_path, "--from", source(tmp_path, '{"_id":"a"}', '{"x":1}'), *hook).exit_code == 3
    down = run(tmp_path, "--from", "http://ada:s3cret-word@127.0.0.1:1/db", *hook, "--max-attempts", "1")
    rejected, failed = (asked.json for asked in watchdog.asked)
    assert (rejected["ok"], rejected["exit_code"], rejected["totals"]["rejected"]) == (False, 3, 1)
    assert "failed with exit code 3" in rejected["text"]
    assert "1 rejected" in rejected["text"]
    assert (failed["exit_code"], failed["totals"]["read"]) == (5, 0)
    assert "127.0.0.1:1" in failed["error"]
    assert failed["error"] in failed["text"]
    assert "s3cret-word" not in f"{watchdog.asked}{down.output}"


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, 3), (None, 3)])
def test_a_web_hook_that_fails_changes_nothing(tmp_path: Path, status: int | None, requests: int) -> None:
    """The job ends well; what went wrong is on standard error, without the address, which is a secret."""
    with StubServer(lambda _: None if status is None else Reply(status)) as server:
        words = ["--from", source(tmp_path, '{"_id":"a"}'), "--webhook", f"{server.url}/s3cret"]
        result = run(tmp_path, *words, "--checkpoint", str(tmp_path / "cp.json"), "--report", str(tmp_path / "r"))
    assert result.exit_code == 0
    assert result.stderr.count("The web hook failed, which changes nothing else") == 1
    assert len(server.asked) == requests
    assert "s3cret" not in result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]


@pytest.mark.parametrize(
    "url", ["hooks.slack.com/services/s3cret", "ftp://host/s3cret", "https://", "http://[::1/s3cret"]
)
def test_an_address_that_is_none_is_refused_before_anything_is_done(tmp_path: Path, url: str) -> None:
    """By either flag, with an example and without what may be a secret."""
    for flag in ("--ping", "--webhook"):
        result = run(tmp_path, "--from", source(tmp_path, '{"_id":"a"}'), flag, url)
        assert exit_code_of(result.exception or SystemExit(0)) == 2
        assert f"{flag} is not a URL" in str(result.exception)
        assert "s3cret" not in str(result.exception) + result.output
        assert not (tmp_path / "out").exists()


def test_a_watchdog_must_prove_who_it_is(tmp_path: Path) -> None:
    """TLS is verified: a certificate that nobody trusts gets no ping."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    with StubServer(lambda _: Reply(200), context) as server:
        result = run(tmp_path, "--from", source(tmp_path, '{"_id":"a"}'), "--ping", f"{server.url}/uuid")
        assert server.asked == []
    assert result.exit_code == 0
    assert "not trusted" in result.stderr


def test_what_the_url_holds_is_sent_as_it_is_meant(watchdog: StubServer) -> None:
    """Path, query and a user of its own; words go between path and query."""
    ping = Ping(watchdog.url.replace("//", "//ada:p%40ss@") + "/key/orders/?create=1")
    ping.send("/start")
    ping.send("/fail", "x" * 20_000)
    assert [asked.path for asked in watchdog.asked] == ["/key/orders/start?create=1", "/key/orders/fail?create=1"]
    assert watchdog.asked[0].headers["Authorization"] == "Basic YWRhOnBAc3M="
    assert len(watchdog.asked[1].body) == 10_000


def test_the_environments_credentials_go_to_no_watchdog(
    watchdog: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COUCHDB_USER is for databases."""
    monkeypatch.setenv("COUCHDB_USER", "ada")
    monkeypatch.setenv("COUCHDB_PASSWORD", "secret")
    Ping(f"{watchdog.url}/x").send("")
    assert "Authorization" not in watchdog.asked[0].headers


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--ping", "hc-ping.com/uuid"], "not a URL"),
        (["--ping", "https://"], "not a URL"),
        (["--metrics", "missing/nightly.prom"], "no folder"),
        (["--metrics", "."], "is a folder"),
        (["--json", "--report", "-"], "--report -"),
        (["--dry-run", "--metrics", "a.prom"], "dry run"),
        (["--metrics", "a.prom", "--report", "a.prom"], "same file"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said_before_anything_is_moved(tmp_path: Path, flags: list[str], words: str) -> None:
    """Exit 2, and nothing written."""
    result = run(tmp_path, "--from", source(tmp_path, '{"_id":"a"}'), *flags)
    assert isinstance(result.exception, ConfigError)
    assert words in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_damaged_metrics_file_is_replaced(tmp_path: Path) -> None:
    """What cannot be read says nothing of a last success; the next success fixes it."""
    path = tmp_path / "x.prom"
    path.write_bytes(b"\xff{{{")
    moments = iter([99.0, 100.0, 100.0, 199.0, 200.0, 200.0, 299.0, 300.0, 300.0])
    TimedRun("run", str(path), clock=lambda: next(moments)).end(5)
    assert read_last_success(path, "x") is None
    TimedRun("run", str(path), clock=lambda: next(moments)).end(0)
    TimedRun("run", str(path), clock=lambda: next(moments)).end(130)
    assert read_last_success(path, "x") == 200.0
    assert [each.name for each in tmp_path.iterdir()] == ["x.prom"]


def test_a_metrics_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The run is as good as it was, and a person is told."""
    said: list[str] = []
    (tmp_path / "folder").mkdir()
    run = TimedRun("run", str(tmp_path / "folder" / "x.prom"), say=said.append)
    (tmp_path / "folder").rmdir()
    assert run.end(0)["ok"]
    assert len(said) == 1
    assert "x.prom" in said[0]


def test_a_run_that_follows_tells_on_the_way(tmp_path: Path) -> None:
    """Lag and, when there is none, a success for now; never where a document was rejected."""
    now = [1000.0]
    path = tmp_path / "x.prom"
    run = TimedRun("run", str(path), clock=lambda: now[0])
    run.listener(CollectionStarted("a", "db", 5, resumed=False))
    for seconds, changes in ((TELL_EVERY_S, 7), (TELL_EVERY_S, 0), (1.0, 0)):
        now[0] += seconds
        run.listener(BatchLoaded("a", Counts(read=1, written=1), 10, 0.1))
        run.listener(LagMeasured("a", changes))
    numbers = samples(path)
    assert numbers["lag_changes", "a"] == 0
    assert numbers["last_success_timestamp_seconds",] == 1000 + 2 * TELL_EVERY_S
    assert numbers["documents", "a", "written"] == 2
    now[0] += TELL_EVERY_S
    run.listener(BatchLoaded("a", Counts(read=1, rejected=1), 10, 0.1))
    run.listener(LagMeasured("a", 0))
    numbers = samples(path)
    assert numbers["last_run_timestamp_seconds",] == 1001 + 3 * TELL_EVERY_S
    assert numbers["last_success_timestamp_seconds",] == 1000 + 2 * TELL_EVERY_S
    assert ("exit_code",) not in numbers


def test_a_watchdog_hears_no_documents(watchdog: StubServer) -> None:
    """Of a rejected document the kind of its fault, not its id or content."""
    run = TimedRun("run", ping=f"{watchdog.url}/u")
    reject = Reject("people", "Ada Lovelace", "load", "forbidden", "no Ada", document={"name": "Ada"})
    run.listener(DocumentRejected(reject))
    run.end(3, RejectsError("too many"))
    (asked,) = watchdog.asked
    assert b"forbidden" in asked.body
    assert b"Ada" not in asked.body


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SystemExit(3), 3),
        (SystemExit(None), 0),
        (SystemExit("words"), 1),
        (EndpointError("gone"), 5),
        (click.UsageError("flag"), 2),
        (click.exceptions.Exit(4), 4),
        (KeyboardInterrupt(), 130),
        (ValueError("bug"), 1),
    ],
    ids=repr,
)
def test_the_code_is_that_of_the_process(error: Any, code: int) -> None:
    """What is told is what the process ends with."""
    assert exit_code_of(error) == code


def test_an_overlapping_run_is_told_as_failed(tmp_path: Path, watchdog: StubServer) -> None:
    """While one run holds the checkpoint the next ends with 7, and says so everywhere."""
    from migrator.checkpoint.file import CheckpointFile

    checkpoint = tmp_path / "nightly.json"
    with CheckpointFile(checkpoint).lock():
        flags = ["--checkpoint", str(checkpoint), "--resume", "--json", "--ping", f"{watchdog.url}/u"]
        result = run(tmp_path, "--from", source(tmp_path, '{"_id":"a"}'), *flags)
    assert exit_code_of(result.exception or SystemExit(0)) == 7
    assert json.loads(result.stdout)["exit_code"] == 7
    assert watchdog.asked[-1].path == "/u/fail"


def test_unasked_the_table_stays(tmp_path: Path) -> None:
    """People see what they saw."""
    words = ["run", "--from", source(tmp_path, '{"_id":"a"}'), "--to", str(tmp_path / "out")]
    assert CliRunner().invoke(cli, words).stdout.startswith("collection")
    # Quietly, there is nothing to see.
    assert CliRunner().invoke(cli, [*words, "--quiet"]).output == ""
