"""What was asked of a function by keyword is done, as its command does it, or refused with a suggestion."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import migrator
from migrator.errors import ConfigError, MigratorError
from migrator.extractors.memory import MemoryExtractor
from migrator.model.events import Event, RunFinished

pytestmark = pytest.mark.usefixtures("no_credentials")
SOURCE = {"a": {"x": {"n": 1}, "y": {"n": float("nan")}}}
GOOD = {"a": {"x": {"n": 1}, "y": {"n": 2}}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder is the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_writes_its_report_and_metrics_and_is_verified(folder: Path) -> None:
    """What the command does with these flags, the function does."""
    pytest.importorskip("prometheus_client")
    result = migrator.run(GOOD, folder / "out", verify=True, report=folder / "r.json", metrics="m.prom")
    written = json.loads((folder / "r.json").read_text())
    assert written == result.to_dict()
    assert written["verification"]["ok"]
    assert result.verification is not None
    assert result.ok
    assert 'migrator_exit_code{job="m"} 0.0' in (folder / "m.prom").read_text()


def test_a_run_is_not_ok_where_its_verification_finds_a_difference(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even though nothing was rejected: metrics and report say the same."""
    pytest.importorskip("prometheus_client")
    read = MemoryExtractor.extract

    def other(self: MemoryExtractor, collection: str, **more: Any) -> Any:
        for record in read(self, collection, **more):
            yield record._replace(document={**(record.document or {}), "n": len(seen)})
        seen.append(collection)

    seen: list[str] = []
    monkeypatch.setattr(MemoryExtractor, "extract", other)
    monkeypatch.setattr("migrator.extractors.memory.content_identity", lambda *_: str(len(seen)), raising=False)
    result = migrator.run(GOOD, "out", verify=True, report="r.json", metrics="m.prom")
    assert result.report.ok
    assert (result.ok, result.exit_code) == (False, 4)
    assert "not ok (exit code 4)" in repr(result)
    assert not json.loads((folder / "r.json").read_text())["verification"]["ok"]
    assert 'migrator_exit_code{job="m"} 4.0' in (folder / "m.prom").read_text()


def test_rejects_are_named_and_written_by_retry(folder: Path) -> None:
    """The result says where they are, in each of its forms."""
    result = migrator.run(SOURCE, "out", codec="strict", checkpoint="cp")
    assert (result.ok, result.exit_code, result.totals.rejected) == (False, 3, 1)
    assert result.rejects is not None
    assert result.checkpoint == Path("cp")
    numbers = "2 read, 1 written, 1 rejected"
    assert repr(result) == f"<RunResult not ok (exit code 3): {numbers}; rejects: {result.rejects}>"
    assert str(result.rejects) in result._repr_html_()
    assert result.to_dict()["rejects"] == str(result.rejects)
    again = migrator.retry(result.rejects, "out", transform="set:n=2", report="r.json")
    assert (again.ok, again.totals.written) == (True, 1)
    assert migrator.verify(GOOD, "out", report="v.json").ok
    assert json.loads((folder / "v.json").read_text())["totals"]["equal"] == 2
    with pytest.raises(ConfigError, match="no reject file"):
        migrator.retry("nothing.ndjson", "out")


def test_a_difference_is_in_the_result_and_in_the_report(folder: Path) -> None:
    """And not raised."""
    migrator.run(GOOD, "out")
    result = migrator.verify({"a": {"x": {"n": 3}}}, "out", differences=folder / "d.ndjson", report="v.json")
    assert (result.ok, result.exit_code) == (False, 4)
    assert repr(result) == "<VerifyResult not ok (exit code 4): 1 source, 2 target, 1 different, 1 extra>"
    assert len((folder / "d.ndjson").read_text().splitlines()) == 2
    assert not json.loads((folder / "v.json").read_text())["ok"]


def test_a_plan_says_what_a_run_would_do(folder: Path) -> None:
    """And writes nothing."""
    plan = migrator.plan(GOOD, "out", codec="tagged")
    assert plan.ok
    assert plan.to_dict()["collections"]["a"]["documents"] == 2
    assert (plan.to_dict()["codec"], repr(plan)) == ("tagged", "<JobPlan ok: 2 documents>")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "argument", "hint"),
    [
        ("run", "on_conflct", "Did you mean on_conflict?"),
        ("run", "json", "The result has to_dict()."),
        ("verify", "verfy", "help(migrator.verify) lists all."),
        ("verify", "metrics", "help(migrator.verify) lists all."),
        ("plan", "zzz", "help(migrator.plan) lists all."),
        ("retry", "stage", "Did you mean stages?"),
        ("backup", "database", "Did you mean databases?"),
        ("restore", "into_exsting", "Did you mean into_existing?"),
        ("seed", "exactly", "Did you mean exact?"),
        ("plan_server", "pattern", "Did you mean patterns?"),
        ("apply", "resum", "Did you mean resume?"),
    ],
)
def test_an_unknown_argument_is_refused(name: str, argument: str, hint: str, folder: Path) -> None:
    """Before anything is done; for Python it is a TypeError, for this package a wrong configuration."""
    sides = ("plan.json",) if name == "apply" else ("http://h:5984", "http://i:5984")
    with pytest.raises(TypeError) as caught:
        getattr(migrator, name)(*sides, **{argument: True})
    assert isinstance(caught.value, ConfigError)
    assert str(caught.value) == f"{name}() has no argument {argument!r}. {hint}"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_docs": "5"}, "batch_docs is '5'. It must be a number"),
        ({"resume": "yes"}, "resume is 'yes'. It must be true or false"),
        ({"map": ["a=b"]}, "It must be a table of texts"),
        ({"codec": 3}, "It must be a text"),
        ({"on_conflict": "skipp"}, "Known are"),
        ({"transform": 3}, "transform is 3"),
        ({"report": "-"}, "report is '-'"),
        ({"timeout_s": True}, "It must be a number"),
    ],
)
def test_a_value_of_another_type_is_refused(options: Mapping[str, Any], match: str) -> None:
    """With the argument's name and what it must be."""
    with pytest.raises(ConfigError, match=match):
        migrator.run(GOOD, "out", **options)


@pytest.mark.parametrize("target", [5, None, b"out"])
def test_a_target_that_is_no_text_is_refused(target: Any) -> None:
    """By name, not by a line deep inside."""
    with pytest.raises(ConfigError, match="target is"):
        migrator.run(GOOD, target)


def test_paths_numbers_and_single_texts_are_taken(folder: Path) -> None:
    """As people have them in a program."""
    result = migrator.run(
        SOURCE,
        folder / "out",
        codec="strict",
        max_errors=5,
        rejects=folder / "rejects",
        checkpoint=folder / "cp",
        transform="set:m=1",
        map={},
    )
    assert (result.rejects, result.checkpoint) == (folder / "rejects", folder / "cp")
    (folder / "in").mkdir()
    (folder / "in" / "a.ndjson").write_text('{"_id":"x"}\n')
    assert migrator.run(folder / "in", folder / "out2").totals.written == 1


def test_a_function_is_called_for_its_source() -> None:
    """As the command calls the one that `memory:` names; where it fails, the error says so."""

    def make() -> dict[str, Any]:
        return GOOD

    def fail() -> dict[str, Any]:
        raise ValueError("no database today")

    assert migrator.run(make, "out").totals.written == 2
    with pytest.raises(ConfigError, match=r"Calling fail\(\) failed.*no database today"):
        migrator.run(fail, "out")


def test_whoever_listens_receives_the_events_of_a_watched_run() -> None:
    """Beside the metrics and the history."""
    seen: list[Event] = []
    migrator.run(GOOD, "out", listener=seen.append)
    assert isinstance(seen[-1], RunFinished)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """It does."""
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "drawn"),
    [(Terminal(), True, True), (io.StringIO(), True, False), (Terminal(), False, False)],
)
def test_progress_is_a_bar_in_a_terminal(
    stream: io.StringIO, progress: bool, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is asked for, and nowhere else."""
    monkeypatch.setattr(sys, "stderr", stream)
    assert migrator.run(GOOD, "out", progress=progress).ok
    assert ("documents" in stream.getvalue()) == drawn


def test_a_table_of_a_result_shows_names_as_text() -> None:
    """A name comes from outside, and must not be read as HTML."""
    table = migrator.run({"<b>": {"x": {"n": 1}}}, "out")._repr_html_()
    assert "&lt;b&gt;" in table
    assert "<b>RunResult</b>: ok" in table
    assert "<th>written</th>" in table


def test_an_extractor_is_read_twice_where_its_run_is_verified() -> None:
    """And closed only when nobody needs it any more."""

    class Closing(MemoryExtractor):
        closed = 0

        def close(self) -> None:
            Closing.closed += 1

        def extract(self, *args: Any, **more: Any) -> Any:
            assert not self.closed
            return super().extract(*args, **more)

    assert migrator.run(Closing(GOOD, name="x"), "out", verify=True).ok
    assert Closing.closed == 1


def test_an_error_is_told_to_who_watches(folder: Path) -> None:
    """The exit code is that of the command."""
    pytest.importorskip("prometheus_client")
    with pytest.raises(MigratorError):
        migrator.run(GOOD, "http://127.0.0.1:9", metrics="m.prom", max_attempts=1)
    assert 'migrator_exit_code{job="m"} 5.0' in (folder / "m.prom").read_text()
