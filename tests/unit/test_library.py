"""The library's own words, as a program uses them: again and again in one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import migrator
from migrator.errors import ConfigError
from tests.support.processes import LIMIT_S
from tests.test_architecture import MODULES


def test_a_source_is_moved_and_verified_again_and_again(tmp_path: Path) -> None:
    """No call takes the next one's word away: what a function imports must not bear the function's name."""
    code = """
import migrator
source = {"a": {"b": {"n": 1}}}
for _ in range(2):
    assert migrator.run(source, "out", checkpoint="cp", restart=True).ok
    assert migrator.verify(source, "out").ok
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_a_room_with_the_name_of_a_function_is_called_as_the_function(tmp_path: Path) -> None:
    """A module that is imported becomes the package's attribute, in place of a function of that name."""
    assert set(migrator.__all__) & set(MODULES) == {"backup", "retry"}
    code = """
import inspect, migrator
source = {"a": {"b": {"n": float("nan")}}}
before = [inspect.signature(migrator.backup), inspect.signature(migrator.retry)]
import migrator.backup.create, migrator.retry.retrier
assert migrator.backup.create.run_backup and migrator.retry.retrier.Retrier
assert before == [inspect.signature(migrator.backup), inspect.signature(migrator.retry)]
assert "full_every" in before[0].parameters and "stages" in before[1].parameters
result = migrator.run(source, "out", checkpoint="cp", codec="strict")
assert not result.ok and result.rejects is not None
assert migrator.retry(result.rejects, "out2", transform="set:n=1").totals.written == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_one_transformer_is_given_as_one_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run takes a single text for a list of one, and compares with the same one."""
    monkeypatch.chdir(tmp_path)
    source = {"a": {"x": {"n": 1, "m": 2}}, "b": {"y": {"n": 1}}}
    report = migrator.run(source, "out", transform="drop:m", collection="a", checkpoint="cp")
    assert report.totals.written == 1
    assert (tmp_path / "out" / "a.ndjson").read_text() == '{"_id":"x","n":1}\n'
    assert migrator.verify(source, "out", transform="drop:m", collection="a").ok
    with pytest.raises(ConfigError, match="collection is 7"):
        migrator.run(source, "out", collection=7)  # type: ignore[arg-type] # a user without a type checker
