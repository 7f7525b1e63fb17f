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
        future.status = future.then
        self.left.append(future)


def test_a_result_that_was_lost_with_its_worker_is_waited_for_again(tmp_path: Path) -> None:
    """Between its end and our asking, the worker that held it can be killed: the scheduler has it made again."""
    engine = object.__new__(DaskEngine)
    engine._distributed = SimpleNamespace(as_completed=Completed)
    engine._client = SimpleNamespace(loop=None)
    futures = [
        SimpleNamespace(name=name, status=name, then="finished") for name in ("lost", "finished", "pending")
    ]
    ended = [(future.name, future.status) for future in engine._ended(futures, 1.0, tmp_path / "stop")]
    assert ended == [("finished", "finished"), ("lost", "finished"), ("pending", "finished")]
