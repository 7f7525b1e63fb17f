"""`plan`: what it would pass over it refuses, and on a screen it fits the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from migrator.cli import COMMANDS, ELSEWHERE, cli
from migrator.errors import ConfigError
from migrator.naming import counted, did_you_mean, was
from migrator.report.summary import plan_to_text, table, without_idle


@pytest.fixture(autouse=True)
def _source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ndjson").write_text('{"_id":"a"}\n')


def planned(*words: str) -> str:
    """What plan prints."""
    words = ("plan", "--from", "a.ndjson", "--to", "out", *words)
    result = CliRunner().invoke(cli, words, standalone_mode=False, catch_exceptions=True)
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.parametrize("flag", ["--resume", "--restart", "--report=r.json", "--dry-run", "--verify"])
def test_refuses_flags_that_it_would_pass_over(flag: str) -> None:
    """They say what a run does; a plan does nothing."""
    with pytest.raises(ConfigError, match=f"^{flag.partition('=')[0]} is for run") as caught:
        planned(flag)
    assert caught.value.hint == "Leave it out."


@pytest.mark.parametrize(
    "line", ["since_last = true", "follow = true", "replicate = true", 'executor = "dask://h:8786"']
)
def test_refuses_a_job_that_it_cannot_show(tmp_path: Path, line: str) -> None:
    """It would show a plain run in place of it; what of a file says how a run ends is the run's."""
    job = tmp_path / "job.toml"
    job.write_text('report = "r.json"\nverify = true\nresume = true\n')
    assert "Nothing was written." in planned("-c", str(job))
    job.write_text(f"{line}\n")
    with pytest.raises(ConfigError, match=f"The job has {line.split(maxsplit=1)[0]}, which plan cannot show"):
        planned("-c", str(job))


def test_shows_all_that_is_not_as_usual() -> None:
    """Of what a run is told, no more and no less."""
    assert "also  " not in planned()
    text = planned("--readers", "2", "--sort", "never", "--no-prove", "--max-errors", "5%", "--partitioned")
    found = [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith("also ")]
    assert found == ["--no-prove", "--max-errors 5%", "--readers 2", "--sort never", "--partitioned"]


PLAN: dict[str, Any] = {
    "source": "http://a:5984",
    "target": "http://b:5984",
    "collections": {
        f"db{number}": {"target": f"db{number}", "exists": False, "documents": 5, "documents_there": None}
        for number in range(100)
    },
    "transform": [],
    "codec": "plain",
    "on_conflict": "fail",
    "batch_docs": 1,
    "batch_bytes": 2_000_000,
    "in_flight": 8,
    "checkpoint": "c",
    "checkpoint_exists": False,
    "rejects": "r",
}


@pytest.mark.parametrize("lines", [24, 30, 50])
def test_fits_one_screen(lines: int) -> None:
    """With the number of the others; elsewhere all are listed."""
    text = plan_to_text(PLAN, max_lines=lines)
    assert len(text.splitlines()) <= lines - 1
    shown = text.count("is created")
    assert f"and {100 - shown} more: --json has all" in text
    assert plan_to_text(PLAN).count("is created") == 100
    assert "1 document, 2,000,000 bytes" in text


def test_columns_that_say_nothing_are_left_out() -> None:
    """What is empty for all, and what is the same as the name."""
    rows = [
        ("name", "goes to", "deleted", "documents", "q/n"),
        ("a", "a", "0", "5", "-/-"),
        ("b", "b", "0", "0", ""),
    ]
    assert without_idle(rows) == [["name", "documents"], ["a", "5"], ["b", "0"]]
    rows[1] = ("a", "x", "0", "5", "2/1")
    assert without_idle(rows)[0] == ["name", "goes to", "documents", "q/n"]
    assert table(rows, max_rows=1).count("\n") == 3


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("import", "run"),
        ("export", "run"),
        ("dump", "backup"),
        ("diff", "verify"),
        ("rnu", "run"),
        ("plna", "plan"),
        ("estore", "restore"),
        ("bakcup", "backup"),
        ("verfy", "verify"),
        ("frobnicate", ""),
        ("rapport", "report"),
        ("airport", ""),
    ],
)
def test_an_unknown_command_gets_a_hint_that_fits(word: str, meant: str) -> None:
    """What other tools call it, or what is spelled almost so; no other that shares some letters."""
    output = CliRunner().invoke(cli, [word]).output
    assert f"No such command '{word}'." in output
    assert (f"Did you mean '{meant}'?" if meant else "Did you mean") in output if meant else "mean" not in output


def test_hints_name_commands_that_are_there() -> None:
    """And none is a command itself."""
    assert {meant.split()[0] for meant in ELSEWHERE.values()} <= set(COMMANDS)
    assert set() == set(ELSEWHERE) & set(COMMANDS)
    assert did_you_mean("import", COMMANDS) == ""


def test_numbers_and_verbs_agree() -> None:
    """By one function each."""
    assert [counted(each, "document") for each in (0, 1, 2_000)] == [
        "0 documents",
        "1 document",
        "2,000 documents",
    ]
    assert counted(2, "leaf", "leaves") == "2 leaves"
    assert [was(each) for each in (0, 1, 2)] == ["were", "was", "were"]
