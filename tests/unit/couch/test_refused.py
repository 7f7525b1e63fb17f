"""What a CouchDB refuses for good other than documents: as it was measured on Apache CouchDB 3.5.0."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from migrator.couch import validate
from migrator.couch.responses import Answer
from migrator.couch.settings import check_security
from migrator.errors import ConfigError
from migrator.fixtures.folder import read_fixtures
from migrator.fixtures.model import FixtureError
from tests.data.refused_for_good import DESIGNS, INDEXES, SECURITY


@pytest.mark.parametrize(("taken", "value"), SECURITY, ids=str)
def test_security(taken: bool, value: Any) -> None:
    """The server answers 500 no_majority to what it does not take."""
    assert (validate.security_fault(value) == "") is taken
    if not taken:
        with pytest.raises(ConfigError, match="for good"):
            check_security(value, "orders")


@pytest.mark.parametrize(("taken", "value"), DESIGNS, ids=str)
def test_design_documents(taken: bool, value: dict[str, Any]) -> None:
    """What only a compiler can tell is left to the server."""
    assert (validate.design_fault({"_id": "_design/x", **value}) == "") is taken


@pytest.mark.parametrize(("taken", "value"), INDEXES, ids=str)
def test_indexes(taken: bool, value: dict[str, Any]) -> None:
    """What depends on the server is not asked here."""
    assert (validate.index_fault(value) == "") is taken


@pytest.mark.parametrize(
    ("kind", "features", "lacks"),
    [
        ("text", ["scheduler"], True),
        ("text", ["search"], False),
        ("nouveau", ["search"], True),
        ("nouveau", ["nouveau"], False),
        ("json", [], False),
        ("text", None, False),
    ],
)
def test_services_of_indexes(kind: str, features: list[str] | None, lacks: bool) -> None:
    """A server that does not say what it has is asked by trying."""
    assert validate.lacking_service(kind, {} if features is None else {"features": features}) is lacks


@pytest.mark.parametrize(
    ("status", "error", "reason", "final"),
    [
        (503, "required index service unavailable", "text", True),
        (400, "invalid_index", "Invalid type for index: foo", True),
        (400, "unsupported_mixed_sort", "Sorts currently only support a single direction.", True),
        (500, "error_saving_ddoc", "Unknown error while saving the design document: invalid_design_doc", True),
        (500, "unknown_error", "Unknown Error: mango_opts :: {invalid_partitioned_value,<<120>>}", True),
        (503, "service_unavailable", "busy", False),
        (500, "unknown_error", "timeout", False),
        (429, "too_many_requests", "", False),
        (401, "unauthorized", "", False),
    ],
)
def test_answers_to_an_index(status: int, error: str, reason: str, final: bool) -> None:
    """A refusal for good is told at once; trouble is waited for."""
    body = json.dumps({"error": error, "reason": reason}).encode()
    assert bool(validate.index_refused(Answer(status, {}, body))) is final


FILES = [
    *(("_security.json", value) for taken, value in SECURITY if not taken and isinstance(value, dict)),
    *(("_design/x.json", value) for taken, value in DESIGNS if not taken),
    *(("_index/x.json", value) for taken, value in INDEXES if not taken),
    ("_database.json", {"q": 0}),
    ("_database.json", {"n": -1}),
]


@pytest.mark.parametrize(("name", "value"), FILES, ids=str)
def test_fixtures_name_the_file(name: str, value: dict[str, Any], tmp_path: Path) -> None:
    """Before anything is written, with the others' faults."""
    path = tmp_path / "orders" / name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(value))
    with pytest.raises(FixtureError) as told:
        read_fixtures(tmp_path, environ={}, now=datetime.now(UTC))
    assert f"orders/{name}:1" in str(told.value)
    assert told.value.exit_code == 2
