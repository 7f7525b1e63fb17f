"""What a backup and a restore tell of themselves: the reject file that they wrote, and the databases."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from migrator.backup.result import Progress
from migrator.checkpoint.reject_file import RejectFile
from migrator.model import Reject
from migrator.model.revisions import LeafFault


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_the_file_that_was_written_is_named(command: str, tmp_path: Path) -> None:
    """Where another run is writing to the usual one, this run's own is another, and it is told."""
    path = tmp_path / "rejects.ndjson"
    with contextlib.closing(RejectFile(path, shared=True)) as other:
        other.write([Reject("a", "x", "load", "error", "why")])
        progress = Progress(command, lambda _: None, "here", "there", {"a": "b"}, rejects=str(path), again="again")
        with contextlib.closing(progress):
            progress.started("a", None)
            progress.fault("a", LeafFault("y", "1-a", "error", "why"))
            progress.done("a")
            result = progress.finished([], 1.0)
    assert result.command == command
    assert result.rejects not in {path, None}
    assert '"y"' in Path(str(result.rejects)).read_text()
    assert '"y"' not in path.read_text()
    assert ("b", 1) == (progress.report.collections["a"].database, progress.report.totals.rejected)
