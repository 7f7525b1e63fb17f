"""The compiled part of revisions, built from the source as it stands, and the Python that it must agree with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given

from migrator.couch import revision
from migrator.couch.revision import first_revision
from tests.property.test_revision import DOCUMENTS
from tests.support.compiled import ROOT, build, compiler, load
from tests.support.processes import LIMIT_S
from tests.support.revision_rule import revision_after

DATA = ROOT / "tests" / "data"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The compiled part."""
    if compiler() is None:
        pytest.skip("there is no C compiler with Python's headers here")
    return load(build(tmp_path_factory.mktemp("compiled")))


@pytest.fixture(params=["compiled", "python"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revisions by compiled code, and by Python alone."""
    terms = request.getfixturevalue("built").terms if request.param == "compiled" else None
    monkeypatch.setattr(revision, "compiled_terms", terms)


def lines(name: str) -> list[dict[str, Any]]:
    """Documents with the revisions that a real server gave them."""
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.usefixtures("either")
def test_both_give_what_a_real_server_gave() -> None:
    """1,506 first revisions and 300 of updates, each as the server said."""
    first, updates = lines("first-revisions.ndjson"), lines("update-revisions.ndjson")
    assert [line["rev"] for line in first] == [first_revision(line["document"]) for line in first]
    assert [line["rev"] for line in updates] == [
        revision_after(line["document"], line["parent"]) for line in updates
    ]
    assert (len(first), len(updates)) == (1506, 300)


@given(DOCUMENTS)
def test_both_make_the_same_terms(built: ModuleType, document: dict[str, Any]) -> None:
    """Byte for byte."""
    assert built.terms(document) == revision.terms(document)


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        {"\udfff": 1},
        5e-324,
        -2.2250738585072014e-308,
        2**1024 - 2**970,
        -(2**1024),
        2**4000,
    ],
    ids=repr,
)
def test_both_say_what_is_not_certain(built: ModuleType, value: Any) -> None:
    """With a ValueError."""
    for terms in (built.terms, revision.terms):
        with pytest.raises(ValueError):
            terms({"a": [value]})


@pytest.mark.parametrize(
    "value",
    [
        2**1024 - 2**970 - 1,
        -(2**63) - 1,
        2**64,
        [255] * 65_535,
        [0] * 65_536,
        [1, True],
        [[], {}],
        "\x00é😀",
        float("inf"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_both_agree_at_the_bounds(built: ModuleType, value: Any) -> None:
    """Of integers, byte lists and texts."""
    assert built.terms({"a": value}) == revision.terms({"a": value})


def test_depth_costs_memory_and_no_stack(built: ModuleType) -> None:
    """100,000 levels in each of both kinds."""
    deep: Any = 1
    for level in range(100_000):
        deep = [deep] if level % 2 else {"a": deep}
    assert built.terms({"deep": deep}) == revision.terms({"deep": deep})


@pytest.mark.parametrize("value", [(), {1: 2}, b"x", {"a": {1}}, 1j, type("Text", (str,), {})("t")], ids=repr)
def test_what_no_parser_makes_is_an_error(built: ModuleType, value: Any) -> None:
    """And no crash."""
    with pytest.raises(TypeError):
        built.terms(value)
    with pytest.raises(TypeError):
        built.terms({"a": value})


def test_odd_values_under_the_sanitizers(tmp_path: Path) -> None:
    """A moment of what `scripts/fuzz` does for longer: no fault of memory, and no difference."""
    cc = compiler()
    if (
        cc is None
        or not Path(
            subprocess.check_output([cc, "-print-file-name=libasan.so"], text=True, timeout=LIMIT_S).strip()
        ).is_absolute()
    ):
        pytest.skip("there is no C compiler with sanitizers here")
    words = [sys.executable, "-m", "tests.reliability.fuzz_terms", "--seconds", "1", "--seed", "1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "no difference, no fault" in done.stdout
