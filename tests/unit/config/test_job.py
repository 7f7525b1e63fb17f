"""A job's words: checked where they are read, with the place and the nearest right word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.backup.options import BackupOptions, RestoreOptions
from migrator.config import POLICIES, SORTS, JobConfig, load_job_file, parse_max_errors
from migrator.errors import ConfigError
from migrator.server.move.options import PlanOptions


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Reads a text as a job file."""

    def read(text: str | bytes, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
        path = tmp_path / "job.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_job_file(str(path), environ if environ is not None else {})

    return read


WHOLE = """
from = "memory:app.db:service"
to = "http://localhost:5984"
collection = ["users", "tickets"]
transform = ["id:field=sku", "drop:tmp"]
codec = "tagged"
on-conflict = "newer"
newer_field = "updated_at"
max-errors = "0.5%"
batch-docs = 100
timeout_s = 30
max-outage-s = 1.5
dry-run = true
q = 2
[map]
Users = "people"
"""


def test_reads_every_kind_of_key(job: Callable[..., dict[str, Any]]) -> None:
    """Keys may be written as flags or as fields; `from` and `to` are source and target."""
    expected: dict[str, Any] = {
        "source": "memory:app.db:service",
        "target": "http://localhost:5984",
        "collection": ("users", "tickets"),
        "transform": ("id:field=sku", "drop:tmp"),
        "codec": "tagged",
        "on_conflict": "newer",
        "newer_field": "updated_at",
        "max_errors": "0.5%",
        "batch_docs": 100,
        "timeout_s": 30,
        "max_outage_s": 1.5,
        "dry_run": True,
        "q": 2,
        "map": {"Users": "people"},
    }
    assert expected == job(WHOLE)
    assert JobConfig(**expected).transform == ("id:field=sku", "drop:tmp")


def test_one_text_is_a_list_of_one(job: Callable[..., dict[str, Any]]) -> None:
    """A single collection or transformer needs no brackets."""
    assert job('collection = "users"\ntransform = "id:hash"') == {
        "collection": ("users",),
        "transform": ("id:hash",),
    }


def test_every_field_can_stand_in_a_file(job: Callable[..., dict[str, Any]]) -> None:
    """No field is left out by the checking of types."""
    texts = {"str": '"x"', "bool": "true", "int": "3", "int | None": "3", "float": "3.5", "bool | None": "true"}
    texts["float | None"] = texts["float"]
    for field in fields(JobConfig):
        kind = str(field.type)
        text = texts.get(kind) or ('["x"]' if kind.startswith("tuple") else '{x = "y"}')
        assert list(job(f"{field.name} = {text}")) == [field.name]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('form = "x"', "there is no key 'form'", "Did you mean 'from'?"),
        ("batch_doc = 5", "there is no key 'batch_doc'", "Did you mean 'batch_docs'?"),
        ('on-conflit = "skip"', "there is no key 'on-conflit'", "'on_conflict'"),
        ("zzzzzz = 1", "there is no key 'zzzzzz'", "batch_bytes, batch_docs"),
        ('[source]\nurl = "x"', "source must be a text", "It is {'url': 'x'}"),
        ('from = "x"\nsource = "y"', "'source' is given twice", ""),
        ("batch-docs = 1\nbatch_docs = 2", "'batch_docs' is given twice", ""),
        ("batch_docs = true", "batch_docs must be a number", "True"),
        ('batch_docs = "5"', "batch_docs must be a number", "'5'"),
        ("batch_docs = 1.5", "batch_docs must be a number", "1.5"),
        ("dry_run = 1", "dry_run must be true or false", "1"),
        ('dry_run = "yes"', "dry_run must be true or false", "'yes'"),
        ("transform = [1]", "transform must be a list of texts", "[1]"),
        ("collection = 5", "collection must be a list of texts", "5"),
        ("map = ['a']", "map must be a table of texts", "['a']"),
        ("[map]\na = 1", "map must be a table of texts", "{'a': 1}"),
        ("from = 5", "from must be a text", "5"),
        ("max_errors = true", "max_errors must be a text", "True"),
        ("from =", "Invalid value", "TOML"),
        ('from = "a"\nfrom = "b"', "Cannot overwrite a value", "TOML"),
        (b'from = "\xff"', "can't decode byte 0xff", "TOML"),
        ("a=" + "[" * 100_000, "recursion", "TOML"),
    ],
)
def test_a_wrong_line_is_explained(
    job: Callable[..., dict[str, Any]], text: str | bytes, message: str, hint: str
) -> None:
    """File, key, what it must be, what it is."""
    with pytest.raises(ConfigError) as caught:
        job(text)
    assert "job.toml" in caught.value.message
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_number_of_errors_may_be_a_number(job: Callable[..., dict[str, Any]]) -> None:
    """`max_errors = 10` is what everyone writes first."""
    assert job("max_errors = 0") == {"max_errors": "0"}


def test_takes_values_from_the_environment(job: Callable[..., dict[str, Any]]) -> None:
    """`env:NAME` keeps what is secret or differs out of the file."""
    text = 'to = "env:TARGET"\ntransform = ["env:T", "id:hash"]\ncheckpoint = "environment"'
    expected = {"target": "http://h", "transform": ("drop:a", "id:hash"), "checkpoint": "environment"}
    assert expected == job(text, {"TARGET": "http://h", "T": "drop:a"})


def test_uses_the_processes_own_environment(
    job: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where none is given."""
    (tmp_path / "j.toml").write_text('to = "env:MIGRATOR_TEST_TARGET"')
    monkeypatch.setenv("MIGRATOR_TEST_TARGET", "folder")
    assert load_job_file(str(tmp_path / "j.toml")) == {"target": "folder"}


def test_a_missing_variable_is_named_and_its_value_is_never_shown(job: Callable[..., dict[str, Any]]) -> None:
    """The message has the names of key and variable."""
    with pytest.raises(ConfigError, match="to names the variable TARGET, which is not set") as caught:
        job('from = "env:SECRET"\nto = "env:TARGET"', {"SECRET": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, a folder, or far too large."""
    with pytest.raises(ConfigError, match="There is no job file"):
        load_job_file(str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match="Is a directory"):
        load_job_file(str(tmp_path))
    monkeypatch.setattr("migrator.config.job.MAX_FILE_BYTES", 10)
    (tmp_path / "j.toml").write_text("#" * 11)
    with pytest.raises(ConfigError, match="too large"):
        load_job_file(str(tmp_path / "j.toml"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"on_conflict": "ask"}, "on_conflict is 'ask'"),
        ({"on_conflict": "newer"}, "needs the field"),
        ({"sort": "sometimes"}, "sort is 'sometimes'"),
        ({"resume": True, "restart": True}, "exclude each other"),
        ({"batch_docs": 0}, "batch_docs is 0"),
        ({"batch_bytes": -1}, "batch_bytes is -1"),
        ({"in_flight": 0}, "in_flight is 0"),
        ({"readers": 0}, "readers is 0"),
        ({"transform_workers": -1}, "transform_workers is -1"),
        ({"max_attempts": 0}, "max_attempts is 0"),
        ({"q": 0}, "q is 0"),
        ({"n": -1}, "n is -1"),
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"timeout_s": -1.5}, "timeout_s is -1.5"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"timeout_s": float("inf")}, "timeout_s is inf"),
        ({"max_outage_s": 1e300}, "max_outage_s is 1e"),
        ({"max_errors": "many"}, "max_errors is 'many'"),
        ({"checkpoint": "a", "rejects": "a"}, "checkpoint and rejects are the same file"),
        ({"rejects": "a", "report": "./a"}, "rejects and report are the same file"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigError) as caught:
        JobConfig(**values)
    assert message in caught.value.message
    assert caught.value.hint


def test_a_single_text_is_no_list_of_letters() -> None:
    """Who writes one text where a list is wanted means that one, in a job as in the options of other commands."""
    job = JobConfig(collection="orders", transform="id:hash")  # type: ignore[arg-type]
    assert (job.collection, job.transform) == (("orders",), ("id:hash",))
    assert JobConfig(transform=["id:hash", "drop:n"]).transform == ("id:hash", "drop:n")  # type: ignore[arg-type]
    assert JobConfig(collection=None).collection == ()  # type: ignore[arg-type]
    assert PlanOptions(patterns="app_*").patterns == ("app_*",)  # type: ignore[arg-type]
    backup = BackupOptions(place="p", databases="orders", recipients="age1x")  # type: ignore[arg-type]
    assert (backup.databases, backup.recipients) == (("orders",), ("age1x",))
    restore = RestoreOptions(place="p", databases="orders", ids="o-1")  # type: ignore[arg-type]
    assert (restore.databases, restore.ids) == (("orders",), ("o-1",))


@pytest.mark.parametrize("value", [7, {"id": "hash"}, ["id:hash", 7], [["id:hash"]], b"id:hash"])
def test_what_is_no_list_of_texts_is_refused(value: object) -> None:
    """Anything else is an error of usage that says what to give."""
    with pytest.raises(ConfigError, match="transform is ") as caught:
        JobConfig(transform=value)  # type: ignore[arg-type]
    assert "a list of texts, transform=[" in caught.value.hint


def test_what_can_be_is_taken() -> None:
    """All policies and sorts, and files that only look alike."""
    for policy in POLICIES:
        assert JobConfig(on_conflict=policy, newer_field="at").on_conflict == policy
    for sort in SORTS:
        assert sort == JobConfig(sort=sort).sort
    assert JobConfig(report="-", checkpoint="", rejects="").report == "-"
    assert JobConfig(checkpoint="a", rejects="b", report="c").checkpoint == "a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (None, None)),
        ("0", (0, None)),
        ("10", (10, None)),
        (" 7 ", (7, None)),
        ("0%", (None, 0.0)),
        ("0.5%", (None, 0.5)),
        ("100 %", (None, 100.0)),
    ],
)
def test_reads_how_many_errors(text: str, expected: tuple[int | None, float | None]) -> None:
    """A number of documents or a percentage."""
    assert expected == parse_max_errors(text)


@pytest.mark.parametrize("text", ["-1", "1.5", "101%", "5%%", "%", "ten", "1e3", "1,000", "0x5", "5 5", " "])
def test_refuses_how_many_errors(text: str) -> None:
    """Everything else is explained."""
    with pytest.raises(ConfigError, match="max_errors is") as caught:
        parse_max_errors(text)
    assert "0.5%" in caught.value.hint


@given(st.binary(max_size=200))
def test_any_bytes_are_a_job_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever lies in the file: fields, or a ConfigError."""
    path = tmp_path_factory.mktemp("j") / "job.toml"
    path.write_bytes(content)
    try:
        values = load_job_file(str(path), {})
    except ConfigError:
        return
    assert set(values) <= {field.name for field in fields(JobConfig)}


@pytest.mark.parametrize("name", ["checkpoint", "rejects", "report", "metrics"])
def test_a_folder_is_no_file_to_write(name: str, tmp_path: Path) -> None:
    """Said before the run, not when it is done."""
    with pytest.raises(ConfigError, match=f"The {name} file .* is a folder"):
        JobConfig(**{name: str(tmp_path)})  # type: ignore[arg-type]
