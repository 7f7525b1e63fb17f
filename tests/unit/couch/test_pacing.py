"""A server is left alone when it asks for that, and used no faster than was said, by all that ask it together."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from migrator.config.pace import PaceLimits
from migrator.couch import pacing
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import Endpoint
from migrator.couch.pacing import MIN_PIECE_BYTES, Hold, hold_of
from migrator.couch.transport import Transport
from migrator.errors import Interrupted
from migrator.retry import waiting
from migrator.retry.retrier import Retrier
from tests.support.pacing import Taken
from tests.support.stub_server import Asked, Reply, StubServer

MAX_HOLD_S = 300.0


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        """Wait."""
        self.waits.append(seconds)
        self.now += seconds
        return True

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """One that starts somewhere."""
    return Clock()


@pytest.fixture
def thread_of_its_own() -> Iterator[None]:
    """Whom this thread works for is forgotten afterwards."""
    yield
    waiting.works_for(threading.Event())


@pytest.mark.parametrize("status", [429, 503])
def test_nobody_asks_before_the_time(clock: Clock, status: int) -> None:
    """Everybody waits for what is left of it; afterwards nobody waits."""
    hold = Hold(clock, clock.wait)
    hold.answered(status, {"Retry-After": "30"}, MAX_HOLD_S)
    clock.now += 10
    hold.heed()
    hold.heed()
    assert clock.waits == [20.0]


def test_the_longest_wait_counts(clock: Clock) -> None:
    """What another request was told meanwhile makes it longer and never shorter."""
    hold = Hold(clock, clock.wait)
    for seconds in (5, 30, 7):
        hold.answered(429, {"Retry-After": str(seconds)}, MAX_HOLD_S)
    hold.heed()
    assert clock.waits == [30.0]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"Retry-After": "30"}),
        (500, {"Retry-After": "30"}),
        (503, {}),
        (429, {"Retry-After": "0"}),
        (429, {"Retry-After": "soon"}),
        (429, {"Retry-After": "301"}),
    ],
)
def test_what_holds_nobody_back(clock: Clock, status: int, headers: dict[str, str]) -> None:
    """Another status, no time, or a longer one than anybody waits for: whoever got that answer gives up."""
    hold = Hold(clock, clock.wait)
    hold.answered(status, headers, MAX_HOLD_S)
    hold.heed()
    assert clock.waits == []


def test_a_date_is_by_the_servers_clock(clock: Clock) -> None:
    """This machine's may be wrong by years."""
    hold = Hold(clock, clock.wait)
    date, until = "Mon, 01 Jan 2001 00:00:00 GMT", "Mon, 01 Jan 2001 00:00:42 GMT"
    hold.answered(503, {"Date": date, "Retry-After": until}, MAX_HOLD_S)
    hold.heed()
    assert clock.waits == [42.0]


def test_stopping_ends_the_wait(thread_of_its_own: None) -> None:
    """What is under way is settled at once when the run that the thread works for is asked to stop."""
    stopping = threading.Event()
    Retrier(stopping=stopping).call("ask", lambda _: None)
    stopping.set()
    hold = Hold()
    hold.answered(429, {"Retry-After": "200"}, MAX_HOLD_S)
    hold.heed()


def test_all_clients_of_a_server_wait_together(clock: Clock) -> None:
    """One is told; another one, with connections of its own, waits before it asks; another server does not."""

    def busy_at_first(asked: Asked) -> Reply:
        return Reply(429, headers={"Retry-After": "17"}) if asked.path == "/told" else Reply(200)

    with StubServer(busy_at_first) as server, StubServer(lambda _: Reply(200)) as other:
        endpoints = [Endpoint(server.url), Endpoint(server.url, "ada", "x"), Endpoint(other.url)]
        wires = [Transport(each) for each in endpoints]
        assert hold_of(endpoints[0]) is hold_of(endpoints[1]) is not hold_of(endpoints[2])
        held = Hold(clock, clock.wait)
        wires[0]._hold = wires[1]._hold = held
        assert wires[0].request("GET", f"{server.url}/told")[0] == 429
        assert clock.waits == []
        wires[2].request("GET", f"{other.url}/")
        assert clock.waits == []
        status, _, pieces = wires[1].stream(f"{server.url}/other")
        assert (status, b"".join(pieces), clock.waits) == (200, b"", [17.0])
        for wire in wires:
            wire.close()


# -- documents and bytes a second ---------------------------------------------------------------------------------


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    """What was taken out of buckets, by how fast they fill."""
    found = Taken()
    monkeypatch.setattr(pacing, "Bucket", found.bucket)
    return found


ROWS = b'{"total_rows":2,"offset":0,"rows":[\n%b\n]}\n' % b",\n".join(
    b'{"id":"%b","key":"%b","value":{"rev":"1-a"},"doc":{"_id":"%b","_rev":"1-a"}}' % (id, id, id)
    for id in (b"a", b"b")
)


def answer(asked: Asked) -> Reply:
    """Two documents, whatever is asked."""
    if asked.path.startswith("/db/_bulk_docs"):
        return Reply(201, [{"ok": True, "id": "a", "rev": "1-a"}, {"ok": True, "id": "b", "rev": "1-b"}])
    return Reply(200, ROWS) if asked.path != "/" else Reply(200, {"couchdb": "Welcome"})


def test_documents_are_counted_as_they_go(taken: Taken) -> None:
    """Read and written apart; ids and revisions alone are no documents."""
    with StubServer(answer) as server:
        client = CouchClient(Endpoint(server.url, pace=PaceLimits(docs_per_s=10)))
        client.bulk_docs("db", [b"{}", b"{}"])
        assert taken.counts == {10: [[], [2]]}
        client.lookup("db", ["a", "b"])
        [*client.listing("db").rows()]
        assert taken.counts == {10: [[], [2]]}
        client.lookup("db", ["a", "b"], include_docs=True)
        assert len([*client.stored("db", ["a", "b"])]) == 2
        assert len([*client.listing("db").rows(include_docs=True, at_once=4)]) == 2
        assert sum(taken.counts[10][0]) == 6
        assert taken.counts[10][1] == [2]
        client.close()


def test_bytes_are_counted_both_ways(taken: Taken) -> None:
    """Bodies in pieces, none of which waits for the whole; what arrives is what was sent."""
    size = 10 * MIN_PIECE_BYTES + 1
    with StubServer(lambda _: Reply(200, b"y" * 700)) as server:
        wire = Transport(Endpoint(server.url, pace=PaceLimits(bytes_per_s=1000)))
        wire.request("POST", f"{server.url}/db", body=b"x" * size)
        ((sent,),) = [taken.counts[1000]]
        assert sent == [MIN_PIECE_BYTES] * 10 + [1, 700]
        wire.request("PUT", f"{server.url}/db", body=iter([b"ab", b"c"]), headers={"Content-Length": "3"})
        assert sent[-3:] == [2, 1, 700]
        status, _, pieces = wire.stream(f"{server.url}/db", body=b"{}")
        assert (status, len(b"".join(pieces))) == (200, 700)
        assert sent[-2:] == [2, 700]
        assert [len(asked.body) for asked in server.asked] == [size, 3, 2]
        wire.close()


def test_without_limits_nothing_is_counted(taken: Taken) -> None:
    """And no row goes through a generator more than before."""
    with StubServer(answer) as server:
        client = CouchClient(Endpoint(server.url))
        rows = (b"" for _ in range(3))
        assert client.pace.each(rows) is rows
        pieces: Iterator[bytes] = rows
        assert client.pace.received(pieces) is pieces
        client.bulk_docs("db", [b"{}", b"{}"])
        [*client.stored("db", ["a", "b"])]
        client.close()
    assert (taken.counts, client.pace.at_most(5_000)) == ({}, 5_000)


def test_what_goes_slowly_goes_in_small_parts() -> None:
    """No batch, page or question is for more than a second."""
    slow = CouchClient(Endpoint("http://127.0.0.1:1", pace=PaceLimits(docs_per_s=7.5)))
    assert slow.pace.at_most(5_000) == 7
    assert CouchClient(Endpoint("http://127.0.0.1:1", pace=PaceLimits(docs_per_s=0.1))).pace.at_most(5_000) == 1


def test_what_waits_to_be_written_is_not_written_when_a_run_is_stopped(thread_of_its_own: None) -> None:
    """It is not sent in a hurry either; what is read or answered is settled."""
    stopping = threading.Event()
    stopping.set()
    waiting.works_for(stopping)
    with StubServer(answer) as server:
        client = CouchClient(Endpoint(server.url, pace=PaceLimits(docs_per_s=0.001, bytes_per_s=0.001)))
        with pytest.raises(Interrupted, match="with resume=True"):
            client.bulk_docs("db", [b"{}", b"{}"])
        assert server.asked == []
        assert len([*client.stored("db", ["a", "b"])]) == 2
        client.close()
