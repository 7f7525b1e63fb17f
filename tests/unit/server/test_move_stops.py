"""How a move of several databases ends: by what failed, or by a stop that says how to go on."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from migrator.errors import EndpointError, Interrupted
from migrator.model.events import ignore
from migrator.server.move.apply import _Move
from migrator.server.move.options import ApplyOptions


@pytest.fixture
def move() -> _Move:
    """A move of four databases that does nothing by itself."""
    databases = tuple(SimpleNamespace(name=n, documents=n, deleted_documents=0) for n in range(4))
    plan: Any = SimpleNamespace(databases=databases)
    copier: Any = SimpleNamespace(journal=None)
    return _Move(plan, copier, ApplyOptions(), threading.Event(), ignore)


def test_a_stop_says_how_to_go_on(move: _Move) -> None:
    """Whatever a reader says of a stop: the checkpoint is there, so the same command alone would be refused."""

    def step(_: object) -> None:
        raise Interrupted("Stopped while reading documents.", hint="Go on later with the same command.")

    with pytest.raises(Interrupted, match=r"what was in flight is settled") as caught:
        move._all(step)
    assert "--resume" in caught.value.hint


def test_what_failed_is_told_and_not_that_others_were_stopped_by_it(move: _Move) -> None:
    others = threading.Event()

    def step(database: Any) -> None:
        if database.name == 3:
            others.wait(60)
            raise EndpointError("The target does not answer.")
        others.set()
        assert move.stopping.wait(60)
        raise Interrupted("Stopped.")

    with pytest.raises(EndpointError, match="does not answer"):
        move._all(step)
