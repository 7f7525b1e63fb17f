"""A server that asks to be left alone is left alone by all that ask it, and never for longer than that."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from migrator.couch.endpoint import Endpoint
from migrator.couch.pacing import Hold, hold_of
from migrator.couch.transport import Transport
from migrator.retry import waiting
from migrator.retry.retrier import Retrier
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
