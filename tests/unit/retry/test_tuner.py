"""The search for the best: up where more gains, down where it costs, and never long away from what is good."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from migrator.model import BatchLimits
from migrator.model.events import LimitsChanged
from migrator.retry.throttle import DOWN, START_DOCS, START_IN_FLIGHT, Throttle
from tests.support.fakes import Recorder

# Documents a second for so many documents in a batch and batches at once.
Server = Callable[[float, float], float]


def overhead(docs: float) -> float:
    """Each batch costs something in addition to its documents."""
    return docs / (docs + 30)


SERVERS: dict[str, Server] = {
    "two processors": lambda docs, at_once: 10_000 * min(at_once, 2) * overhead(docs),
    "six processors": lambda docs, at_once: 10_000 * min(at_once, 6) * overhead(docs),
    "sixteen, far away": lambda docs, at_once: 1_000 * min(at_once, 16) * docs / (docs + 600),
    "quadratic": lambda docs, at_once: 20_000 * min(at_once, 3) / (1 + (docs / 400) ** 2) * overhead(docs),
    "one at a time": lambda docs, at_once: 10_000 / (1 + 0.3 * (at_once - 1)) * overhead(docs),
}


class Bench:
    """A closed loop: as many batches as the throttle lets, all the time, on a clock of its own."""

    def __init__(
        self,
        server: Server,
        *,
        max_docs: int = 2_000,
        max_in_flight: int = 16,
        noise: Callable[[], float] | None = None,
    ) -> None:
        self.noise = noise or (lambda: 1.0)
        self.now = 0.0
        self.server = server
        self.sent = 0
        self.recorder = Recorder()
        self.throttle = Throttle(
            BatchLimits(max_docs, 4_000_000), max_in_flight, self.recorder, seeks=True, clock=lambda: self.now
        )

    def run(self, seconds: float, documents: int | None = None) -> float:
        """Send for so long; the rate over it."""
        began, sent = self.now, self.sent
        while self.now - began < seconds:
            docs = min(self.throttle.max_docs, documents or self.throttle.max_docs)
            rate = self.server(docs, self.throttle.in_flight) * self.noise()
            batch_s = docs * self.throttle.in_flight / rate
            self.now += batch_s / self.throttle.in_flight
            self.sent += docs
            self.throttle.succeeded(docs, batch_s, written=docs)
        return (self.sent - sent) / (self.now - began)

    def best(self) -> float:
        """The rate of the best that could be chosen."""
        limits = self.throttle.limits
        return max(
            self.server(docs, at_once)
            for docs in range(1, limits.max_docs + 1, 20)
            for at_once in range(1, self.throttle.max_in_flight + 1)
        )


@pytest.mark.parametrize("name", SERVERS)
def test_comes_near_the_best(name: str) -> None:
    """From one beginning, up and down, on servers that like very different things."""
    bench = Bench(SERVERS[name])
    assert (bench.throttle.max_docs, bench.throttle.in_flight) == (START_DOCS, START_IN_FLIGHT)
    at_first = bench.run(5)
    bench.run(900)
    assert bench.run(60) >= max(0.8 * bench.best(), 0.97 * at_first)


@pytest.mark.parametrize("name", SERVERS)
def test_stays_within_limits(name: str) -> None:
    """However much would gain."""
    bench = Bench(SERVERS[name], max_docs=600, max_in_flight=5)
    for _ in range(100):
        bench.run(1)
        assert 1 <= bench.throttle.max_docs <= 600
        assert 1 <= bench.throttle.in_flight <= 5
        assert bench.throttle.max_bytes * bench.throttle.in_flight <= 4_000_000 * START_IN_FLIGHT


def test_follows_a_server_that_changes() -> None:
    """More when there is more to be had, less when there is less."""
    bench = Bench(SERVERS["two processors"])
    bench.run(60)
    bench.server = SERVERS["six processors"]
    bench.run(600)
    assert bench.throttle.in_flight >= 6
    bench.server = SERVERS["one at a time"]
    bench.run(600)
    assert bench.throttle.in_flight <= 2


@pytest.mark.parametrize("seed", range(5))
def test_noise_leads_nowhere(seed: int) -> None:
    """Who is at the best stays about there, though the server is now quick and now slow for reasons of its own."""
    rng = random.Random(seed)
    slow = 1.0

    def noise() -> float:
        nonlocal slow
        # Others come and go, and every batch has its own luck.
        slow = min(1.3, max(0.7, slow + rng.uniform(-0.02, 0.02)))
        return slow * rng.uniform(0.6, 1.4)

    def humped(docs: float, at_once: float) -> float:
        return 14_000 / (1 + 0.2 * math.log(docs / 500) ** 2 + 0.2 * math.log(at_once / 4) ** 2)

    bench = Bench(humped, max_docs=1_000, max_in_flight=8, noise=noise)
    bench.run(600)
    found = [humped(bench.throttle.max_docs, bench.throttle.in_flight) for _ in range(600) if bench.run(1)]
    assert sum(found) / len(found) >= 0.92 * 14_000


def test_a_slow_source_teaches_nothing() -> None:
    """Batches that are not full, or that nobody waits behind, say nothing of the server."""
    bench = Bench(SERVERS["six processors"])
    for _ in range(500):
        bench.now += 1
        bench.throttle.succeeded(10, 0.01, written=10)
    assert (bench.throttle.max_docs, bench.throttle.in_flight) == (START_DOCS, START_IN_FLIGHT)
    assert bench.recorder.events == []


def test_an_overload_makes_less_the_rule() -> None:
    """After too much the way back ends below, and goes on from there by trials only."""
    bench = Bench(SERVERS["two processors"])
    bench.throttle.failed(overload=True, reason="429")
    assert (bench.throttle.max_docs, bench.throttle.in_flight) == (START_DOCS // 2, START_IN_FLIGHT // 2)
    for _ in range(60):
        bench.throttle.succeeded(1, 0.1, written=1)
    assert (bench.throttle.max_docs, bench.throttle.in_flight) == (START_DOCS, int(START_IN_FLIGHT * DOWN))


def test_a_fault_takes_a_trial_back() -> None:
    """What was measured while something failed is not a reason to stay there."""
    bench = Bench(SERVERS["six processors"])
    while not bench.recorder.events:
        bench.run(0.1)
    trial = bench.recorder.events[0]
    assert isinstance(trial, LimitsChanged)
    assert trial.reason == "seeking"
    bench.throttle.failed(overload=False, reason="reset")
    while bench.throttle.reduced:
        bench.throttle.succeeded(1, 0.1, written=1)
    assert (bench.throttle.max_docs, bench.throttle.in_flight) == (START_DOCS, START_IN_FLIGHT)


def test_without_seeking_nothing_moves() -> None:
    """Who begins with the most stays there."""
    throttle = Throttle(BatchLimits(2_000, 4_000_000), 16)
    for _ in range(1_000):
        throttle.succeeded(2_000, 1.0, written=2_000)
    assert (throttle.max_docs, throttle.in_flight) == (2_000, 16)
