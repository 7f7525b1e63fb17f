"""Splits on workers that come and go, without a scheduler."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from migrator.jobs.distributed.engine import DaskEngine


class Completed:
    """As `distributed.as_completed`: gives futures as they end, and takes one back."""

    def __init__(self, futures: list[Any], **_: Any) -> None:
        self.left = deque(futures)

    def is_empty(self) -> bool:
        """True when all were given."""
        return not self.left

    def next_batch(self, *, block: bool) -> list[Any]:
        """The next one."""
        assert not block
        return [self.left.popleft()]

    def add(self, future: Any) -> None:
        """Wait for it again."""
        future.status = "finished"
        self.left.append(future)


class Split:
    """A future whose worker is killed before its result was fetched, so many times."""

    def __init__(self, name: str, status: str, lost: int = 0) -> None:
        self.name, self.status, self.lost = name, status, lost

    def result(self, timeout: float | None) -> dict[str, Any]:
        """As a future: it waits for ever where no limit is given."""
        assert timeout
        self.lost -= 1
        if self.lost >= 0:
            raise TimeoutError
        return {"name": self.name}


def ends(*splits: Split, workers: int = 1, stop: Path, patience_s: float = 60.0) -> list[Any]:
    """What became of them."""
    engine = object.__new__(DaskEngine)
    engine._distributed = SimpleNamespace(as_completed=Completed)
    engine._client = SimpleNamespace(loop=None, nthreads=lambda: {"worker": workers} if workers else {})
    return list(engine._ends({split: number for number, split in enumerate(splits)}, patience_s, stop))


def test_a_result_that_was_lost_with_its_worker_is_waited_for_again(tmp_path: Path) -> None:
    """Between its end and our asking, the worker that held it can be killed: the scheduler has it made again."""
    splits = [Split("a", "lost"), Split("b", "finished", lost=2), Split("c", "pending"), Split("d", "finished")]
    found = ends(*splits, stop=tmp_path / "stop")
    assert sorted(end["name"] for end in found) == ["a", "b", "c", "d"]


def test_a_result_that_nobody_can_make_again_is_not_waited_for(tmp_path: Path) -> None:
    """Where the last worker is gone with it, the job bears that as long as an outage, or until it is to stop."""
    assert ends(Split("a", "finished", lost=99), workers=0, stop=tmp_path / "stop", patience_s=0.2) == [None]
    (tmp_path / "stop").touch()
    assert ends(Split("a", "finished", lost=99), workers=0, stop=tmp_path / "stop", patience_s=600.0) == [None]
