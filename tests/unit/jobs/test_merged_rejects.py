"""The rejects of a job's splits in one file: all of them, once, and those of other runs beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrator.checkpoint.file import Checkpoint
from migrator.checkpoint.rejects import reject_to_line
from migrator.jobs.distributed.worker import merge_rejects
from migrator.model import Reject


def part(path: Path, *ids: str) -> Path:
    """The reject file of a split."""
    lines = [reject_to_line(Reject("c", id, "load", "e", "r", document={"_id": id})) for id in ids]
    path.write_bytes(b"".join(lines))
    return path


def ids(path: Path) -> list[str]:
    """What a file holds."""
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def test_other_runs_rejects_are_kept(tmp_path: Path) -> None:
    """Run after run, resumed or not, nothing of another run goes, and nothing stands there twice."""
    path = tmp_path / "r"
    for run in range(3):
        checkpoint = Checkpoint(job={})
        first = part(tmp_path / "1", f"{run}a")
        assert merge_rejects(path, [first, tmp_path / "none"], checkpoint, lambda _: None) == 1
        # Gone on with: what it wrote itself is replaced.
        second = part(tmp_path / "2", f"{run}b")
        assert merge_rejects(path, [first, second], checkpoint, lambda _: None) == 2
        assert ids(path) == [f"{run}a", f"{run}b"]
    assert (ids(tmp_path / "r.1"), ids(tmp_path / "r.2")) == (["0a", "0b"], ["1a", "1b"])


def test_another_run_in_between_is_kept(tmp_path: Path) -> None:
    """A job that goes on finds another's file under the name, as long as its own or not."""
    path = tmp_path / "r"
    checkpoint = Checkpoint(job={})
    first = part(tmp_path / "1", "mine")
    merge_rejects(path, [first], checkpoint, lambda _: None)
    part(path, "them")
    merge_rejects(path, [first], checkpoint, lambda _: None)
    assert (ids(path), ids(tmp_path / "r.1")) == (["mine"], ["them"])


@pytest.mark.parametrize("kind", ["link", "device"])
def test_links_and_devices(tmp_path: Path, kind: str) -> None:
    """A link stays; a device takes them and keeps none."""
    path = tmp_path / "r"
    path.symlink_to("/dev/null" if kind == "device" else "elsewhere")
    first = part(tmp_path / "1", "a")
    checkpoint = Checkpoint(job={})
    for _ in range(2):
        assert merge_rejects(path, [first], checkpoint, lambda _: None) == 1
    assert path.is_symlink()
    assert path.samefile("/dev/null") if kind == "device" else ids(path) == ["a"]
