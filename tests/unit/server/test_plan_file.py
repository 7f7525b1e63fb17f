"""The plan's file: what was saved is loaded, and whatever else stands there is refused as what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import migrator
from migrator.errors import EXIT_CHECKPOINT, EXIT_USAGE, ConfigError
from migrator.server.move.plan import (
    ABSENT,
    CannotGo,
    DatabasePlan,
    Estimate,
    PlanError,
    ServerFacts,
    ServerPlan,
    load_plan,
    plan_to_text,
    save_plan,
)
from tests.support.commands import run


def made() -> ServerPlan:
    """A plan with something in each field."""
    database = DatabasePlan(
        source="a",
        target="b",
        target_state=ABSENT,
        started="1",
        documents=3,
        deleted_documents=1,
        file_bytes=10,
        active_bytes=9,
        external_bytes=8,
        leaves=5,
        attachments=2,
        conflicts=1,
        q=2,
        n=1,
        partitioned=False,
        revs_limit=1000,
        security=True,
        design_documents=("by",),
        views=1,
        validators=("check",),
    )
    return ServerPlan(
        made="2026-11-25T00:00:00+00:00",
        source=ServerFacts("http://a:5984", "3.5.0", "u"),
        target=ServerFacts("http://b:5984"),
        patterns=("a*",),
        databases=(database,),
        cannot_go=(CannotGo("a", "id", "1-a", "too large"),),
        found_by="all were read",
        users=1,
        left_out={"c": "no --database fits it"},
        warnings=("think",),
        disk_needed_bytes=9,
        estimate=Estimate(1.5, 100.0, 1000.0, 20),
    )


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Nothing of a plan is lost on the way, and only its owner may read the file."""
    path = tmp_path / "plan.json"
    save_plan(made(), path)
    assert load_plan(path) == made()
    assert path.stat().st_mode & 0o077 == 0
    # Planned once more, the newer plan takes its place.
    save_plan(made(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


def test_people_see_what_cannot_go(tmp_path: Path) -> None:
    """The text names attachments, conflicts, and the document that cannot go with its reason."""
    text = plan_to_text(made())
    assert "a id 1-a: too large" in text
    assert "1 in conflict" in text
    assert "1,000" not in text.split("also")[0]


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    """The plan without a field."""
    return lambda plan: {key: value for key, value in plan.items() if key != name}


def with_database(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    """The plan with a database that has other fields."""
    return lambda plan: {**plan, "databases": [{**plan["databases"][0], **fields}]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("kind"), "not a plan"),
        (lambda plan: {**plan, "kind": "report"}, "not a plan"),
        (lambda plan: [plan], "not a plan"),
        (lambda plan: {**plan, "schema": 2}, "format 2; this migrator knows 1"),
        (without("schema"), "format None"),
        (without("databases"), "damaged"),
        (without("source"), "damaged"),
        (lambda plan: {**plan, "databases": {}}, "damaged"),
        (lambda plan: {**plan, "databases": [1]}, "damaged"),
        (lambda plan: {**plan, "source": "http://a"}, "damaged"),
        (lambda plan: {**plan, "users": "all"}, "damaged"),
        (lambda plan: {**plan, "estimate": [1]}, "damaged"),
        (lambda plan: {**plan, "left_out": {"c": 1}}, "damaged"),
        (with_database(documents="3"), "damaged"),
        (with_database(documents=None), "damaged"),
        (with_database(partitioned=1), "damaged"),
        (with_database(q=True), "damaged"),
        (with_database(design_documents=[1]), "damaged"),
        (with_database(source=None), "damaged"),
    ],
)
def test_a_plan_that_is_none(tmp_path: Path, change: Callable[[dict[str, Any]], Any], words: str) -> None:
    """A plan that lacks something, holds what it cannot, or is of another version is refused, with what to do."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(change(json.loads(json.dumps(made().to_dict())))))
    with pytest.raises(PlanError, match=words) as caught:
        load_plan(path)
    assert "migrator plan-server --from" in caught.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"kind": "migrator plan", "sch', b"\xff\xfe", b"null", b"[" * 99_999]
)
def test_a_file_that_is_torn(tmp_path: Path, content: bytes) -> None:
    """A file that is cut short or something else is refused with exit code 6, as by the library."""
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    ran = run("apply", str(path))
    assert ran.code == EXIT_CHECKPOINT
    assert "not a plan, or it is damaged" in ran.output
    with pytest.raises(PlanError, match="not a plan"):
        migrator.apply(path)
    # What is not a plan is never written over.
    with pytest.raises(ConfigError, match="is not replaced"):
        save_plan(made(), path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A mistyped name is told, also where it names a folder."""
    for path, code, why in (
        (tmp_path / "none.json", EXIT_USAGE, "There is no plan"),
        (tmp_path, EXIT_CHECKPOINT, "read"),
    ):
        ran = run("apply", str(path))
        assert ran.code == code
        assert why in ran.output
        assert "migrator plan-server --from" in ran.output
