"""A server that others wait for is asked for less, bit by bit, and for more when they do not wait any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from migrator.config.pace import PaceLimits
from migrator.couch import head_room
from migrator.couch.endpoint import Endpoint
from migrator.couch.head_room import DOWN, FIRST, LAST, LEAST, MAX_WAIT_S, MIN_RISE_S, MOST, HeadRoom, room_of
from migrator.couch.transport import Transport
from migrator.errors import TransientError
from tests.support.stub_server import Reply, StubServer
from tests.unit.retry.test_retrier import Time

USUAL_S = 0.010


def room(time: Time, factor: float = 2.0) -> HeadRoom:
    """One that knows what is usual, and whose probes are judged by the test."""
    made = HeadRoom(factor, lambda: None, time.clock, time.sleep)
    made._usual_s = USUAL_S
    return made


def judged(made: HeadRoom, time: Time, seconds: float, *, under_way: float = 4.0) -> float:
    """What is allowed after others waited for so long, while so many requests were under way."""
    time.now += 1.0
    made.after(under_way)
    for _ in range(LAST):
        made.judge(seconds)
    return made.allowed


def test_less_goes_while_others_wait() -> None:
    """Each time a part less than what was under way; what was allowed and not used says nothing."""
    time = Time()
    made = room(time)
    assert judged(made, time, 5 * USUAL_S) == pytest.approx(4.0 * DOWN)
    assert judged(made, time, 5 * USUAL_S) == pytest.approx(4.0 * DOWN * DOWN)
    for _ in range(20):
        judged(made, time, 5 * USUAL_S, under_way=0.0)
    assert made.allowed == LEAST


def test_more_goes_when_they_do_not() -> None:
    """Up to what nobody ever sends, so that it is as without."""
    time = Time()
    made = room(time)
    judged(made, time, 5 * USUAL_S)
    steps = [judged(made, time, USUAL_S) for _ in range(20)]
    assert steps == sorted(steps)
    assert steps[-1] == MOST


@pytest.mark.parametrize(
    ("factor", "usual_s", "seconds", "slower"),
    [
        (2.0, 0.010, 0.019, False),
        (2.0, 0.010, 0.021, True),
        (4.0, 0.010, 0.039, False),
        (4.0, 0.010, 0.041, True),
        # What takes no time at all may take twice as long, and nobody notices.
        (2.0, 0.0005, 0.0005 + MIN_RISE_S, False),
        (2.0, 0.0005, 0.0006 + MIN_RISE_S, True),
    ],
)
def test_what_counts_as_waiting(factor: float, usual_s: float, seconds: float, slower: bool) -> None:
    """Several times as long as usual, and noticeably."""
    time = Time()
    made = room(time, factor)
    made._usual_s = usual_s
    assert (judged(made, time, seconds) < MOST) == slower


def test_one_slow_answer_says_nothing() -> None:
    """The median of several counts."""
    time = Time()
    made = room(time)
    for seconds in [USUAL_S] * (LAST // 2 + 1) + [9.0] * (LAST // 2):
        made.judge(seconds)
    assert made.allowed == MOST


def test_a_start_that_was_busy_is_corrected() -> None:
    """What is usual is the least that was seen."""
    time = Time()
    made = room(time)
    judged(made, time, USUAL_S / 5)
    assert judged(made, time, USUAL_S) < MOST


def test_requests_go_as_often_as_is_allowed() -> None:
    """Half a request at once: each is followed by a pause as long as itself, up to a bound."""
    time = Time()
    made = room(time)
    made.allowed = 0.5
    for _ in range(5):
        made.before()
        time.now += 2.0
        made.after(2.0)
    assert time.waits == [2.0] * 4
    made.allowed = LEAST
    made.after(1000.0)
    made.before()
    assert time.waits[-1] == pytest.approx(MAX_WAIT_S)


def test_the_pieces_of_an_answer_are_under_way_while_they_are_waited_for() -> None:
    """And not while they are used."""
    time = Time()
    made = room(time)
    made.allowed = 1.0

    def pieces() -> Iterator[int]:
        for each in (1, 2, 3):
            time.now += 1.0
            yield each

    seen = []
    for piece in made.each(pieces()):
        time.now += 10.0
        seen.append(piece)
    assert seen == [1, 2, 3]
    assert made._used_s == pytest.approx(3.0)
    assert time.waits == []


def test_a_server_that_fails_has_no_room() -> None:
    """No answer is a long wait; at the start it says nothing of what is usual."""

    def fails() -> None:
        raise TransientError("no")

    time = Time()
    made = HeadRoom(2.0, fails, time.clock, time.sleep)
    client = object()
    made.enter(client)
    made.leave(client)
    assert made.allowed == MOST
    made._usual_s = USUAL_S
    assert judged(made, time, made._timed()) < MOST


def test_clients_of_a_server_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked what is usual before the first request, and no more when the last client is closed."""
    monkeypatch.setattr(head_room, "EVERY_S", 0.001)
    with StubServer(lambda _: Reply(200, b"{}")) as server:
        endpoint = Endpoint(server.url, "ada", "secret", pace=PaceLimits(head_room=2.0))
        wires = [Transport(endpoint) for _ in range(2)]
        for wire in wires:
            assert wire.request("GET", f"{server.url}/db")[0] == 200
            assert b"".join(wire.stream(f"{server.url}/db")[2]) == b"{}"
        paths = [asked.path for asked in server.asked]
        assert paths[:FIRST] == ["/_up"] * FIRST
        assert paths.count("/db") == 4
        # A probe shows nobody any credentials.
        assert not [asked for asked in server.asked if asked.path == "/_up" and "Authorization" in asked.headers]
        watchers = [thread for thread in threading.enumerate() if thread.name == "head-room"]
        assert len(watchers) == 1
        wires[0].close()
        assert watchers[0].is_alive()
        wires[1].close()
        watchers[0].join(30)
        assert not watchers[0].is_alive()
    assert room_of(Endpoint(server.url)) is None
