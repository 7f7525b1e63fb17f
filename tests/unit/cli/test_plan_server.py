"""`plan` shows what `run` would do; a whole server has a word of its own, and the old form still works."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from migrator.cli import cli
from migrator.server.move.options import PlanOptions

A, B = "http://a.test:5984", "http://b.test:5984"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the whole server's plan, or the job's, is asked."""
    found: list[Any] = []

    def whole(source: str, target: str, wanted: PlanOptions, **_: Any) -> Any:
        found.append((source, target, wanted))
        return SimpleNamespace(exit_code=0, to_dict=lambda: {"kind": "migrator plan"})

    def job(config: Any) -> dict[str, Any]:
        found.append(config)
        return {"job": 1}

    monkeypatch.setattr("migrator.server.move.make_plan.plan_server", whole)
    monkeypatch.setattr("migrator.server.move.plan.plan_to_text", lambda *_, **__: "the server's plan\n")
    monkeypatch.setattr("migrator.server.move.plan.save_plan", lambda _, path: Path(path).write_text("plan"))
    monkeypatch.setattr("migrator.jobs.run.make_plan", job)
    monkeypatch.setattr("migrator.cli.plan.plan_to_text", lambda _, **__: "the run's plan")
    monkeypatch.setattr("migrator.couch.locate.locate", lambda *_, **__: (None, None))
    return found


def typed(*words: str) -> Result:
    """The command's output."""
    return CliRunner().invoke(cli, list(words), standalone_mode=False)


def test_a_server_is_planned_by_its_own_word(asked: list[Any], tmp_path: Path) -> None:
    """With all that it can be told."""
    output = tmp_path / "move.json"
    more = ("--database", "a_*", "--map", "a_*=b_*", "--no-users", "--replicator", "--quick", "--no-probe")
    result = typed("plan-server", "--from", A, "--to", B, "--output", str(output), *more)
    wanted = PlanOptions(
        patterns=("a_*",), map={"a_*": "b_*"}, users=False, replicator=True, quick=True, probe=False
    )
    assert ([(A, B, wanted)], "the server's plan\n") == (asked, result.output)
    assert output.read_text() == "plan"


@pytest.mark.parametrize(
    ("flag", "changed"),
    [
        ("--no-users", {"users": False}),
        ("--quick", {"quick": True}),
        ("--no-probe", {"probe": False}),
        ("--replicator", {"replicator": True}),
        ("--output=OUT", {}),
    ],
)
def test_the_old_form_works_and_names_the_new_one(
    asked: list[Any], tmp_path: Path, flag: str, changed: dict[str, Any]
) -> None:
    """Each flag that belonged to a whole server."""
    flag = flag.replace("OUT", str(tmp_path / "move.json"))
    result = typed("plan", "--from", A, "--to", B, flag, "--map", "a=b")
    assert [(A, B, PlanOptions(map={"a": "b"}, **changed))] == asked
    assert result.stdout == "the server's plan\n"
    assert f"migrator plan-server --from {A} --to {B} {flag} --map a=b" in result.stderr


def test_plan_shows_what_run_would_do_between_servers_too(asked: list[Any]) -> None:
    """And says what plans the whole server."""
    result = typed("plan", "--from", A, "--to", B)
    assert [(A, B)] == [(config.source, config.target) for config in asked]
    assert result.stdout == "the run's plan\n"
    assert f"migrator plan-server --from {A} --to {B}\n" in result.stderr


def test_a_job_is_planned_without_further_words(asked: list[Any]) -> None:
    """Files are not a server."""
    result = typed("plan", "--from", "in", "--to", "out", "--json")
    assert ('{"job": 1}\n', "") == (result.stdout, result.stderr)
    assert len(asked) == 1
