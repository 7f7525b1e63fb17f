"""Staging from production: samples that fit together, masks that leave nothing, and the proof of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

from migrator.cli import cli
from migrator.errors import MigratorError
from migrator.transformers import masking
from tests import support

KEY = "0123456789abcdef0123456789abcdef"
MASKS = (
    "--mask",
    "pseudonym:_id,customer",
    "--mask",
    "fake.email:email",
    "--mask",
    "drop:password",
    "--mask",
    "hash:tax",
)
Command = Callable[..., Result]


def code(result: Result) -> int:
    return result.exception.exit_code if isinstance(result.exception, MigratorError) else result.exit_code


@pytest.fixture
def command(server_url: str, no_credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs the command in a folder of its own, with a key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUCHDB_URL", server_url)
    monkeypatch.setenv("MIGRATOR_MASK_KEY", KEY)
    return lambda *arguments: CliRunner().invoke(cli, [*arguments, "--log-level", "warning"])


@pytest.fixture
def production(server_url: str, database_prefix: str) -> dict[str, dict[str, Any]]:
    """Two databases with a join between them, and what they hold by id."""
    people: dict[str, dict[str, Any]] = {
        f"ada{number}@example.org": {
            "email": f"ada{number}@example.org",
            "tax": 1000 + number,
            "password": "hunter22",
            "note": "calls often",
        }
        for number in range(60)
    }
    orders = {
        f"o-{number}": {"customer": f"ada{number % 60}@example.org", "total": number} for number in range(120)
    }
    for name, documents in (("people", people), ("orders", orders)):
        url = f"{server_url}/{quote(database_prefix + name, safe='')}"
        support.request("PUT", url)
        support.request(
            "POST", f"{url}/_bulk_docs", {"docs": [{"_id": id, **doc} for id, doc in documents.items()]}
        )
    url = f"{server_url}/{quote(database_prefix + 'people', safe='')}"
    support.request("PUT", f"{url}/_design/app", {"views": {"v": {"map": "function(doc) {}"}}})
    return people | orders


def arguments(server_url: str, prefix: str, *more: str) -> tuple[str, ...]:
    chosen = ("--collection", f"{prefix}people", "--collection", f"{prefix}orders")
    return ("seed", server_url, "--prefix", f"{prefix}s_", *chosen, *more)


def test_a_masked_sample_keeps_its_joins(
    command: Command, server_url: str, database_prefix: str, production: dict[str, dict[str, Any]]
) -> None:
    """Just the orders of the sampled people arrive, joined by pseudonyms, and the report proves the masks."""
    result = command(
        *arguments(server_url, database_prefix, "--sample", "30%,customer", *MASKS, "--report", "report.json")
    )
    assert code(result) == 0, result.output
    target = f"{database_prefix}s_{database_prefix}"
    people = support.documents(server_url, f"{target}people")
    orders = support.documents(server_url, f"{target}orders")
    assert "_design/app" in people
    del people["_design/app"]
    assert 5 < len(people) < 35
    assert len(orders) == 2 * len(people)
    assert {order["customer"] for order in orders.values()} == set(people)
    everything = json.dumps([*people.values(), *orders.values()])
    assert not re.search(r"ada\d+@example\.org|hunter22", everything)
    assert all("password" not in person and len(person["tax"]) == 64 for person in people.values())
    report = json.loads(Path("report.json").read_text())
    assert report["ok"]
    assert report["masking"]["ok"]
    assert report["masking"]["documents_checked"] == len(people) + len(orders) + 1
    assert report["masking"]["paths"]["email"]["values"] == len(people)
    assert all(path["survived"] == 0 for path in report["masking"]["paths"].values())
    assert report["totals"]["filtered"] == len(production) - len(people) - len(orders)
    assert "No masked field holds an original value" in result.output


def test_conditions_choose_documents(
    command: Command, server_url: str, database_prefix: str, production: dict[str, dict[str, Any]]
) -> None:
    """--where looks at the documents as they are, and several must all be met; a second run writes nothing."""
    more = ("--where", "total>=10", "--where", "total<20", "--mask", "drop:total")
    assert code(command(*arguments(server_url, database_prefix, *more))) == 0
    target = f"{database_prefix}s_{database_prefix}orders"
    before = support.revisions(server_url, target)
    assert set(before) == {f"o-{number}" for number in range(10, 20)}
    assert code(command(*arguments(server_url, database_prefix, *more))) == 0
    assert support.revisions(server_url, target) == before


def test_what_was_unmasked_at_the_target_before_is_found(
    command: Command, server_url: str, database_prefix: str, production: dict[str, dict[str, Any]]
) -> None:
    """An old copy with an original value makes the proof fail: exit 4, and it says what to do."""
    old = f"{server_url}/{quote(f'{database_prefix}s_{database_prefix}people', safe='')}"
    support.request("PUT", old)
    support.request("PUT", f"{old}/old", {"email": "x", "password": "hunter22"})
    result = command(*arguments(server_url, database_prefix, *MASKS))
    assert code(result) == 4
    assert "ORIGINAL VALUES SURVIVED" in result.output
    assert "delete its databases, and fix the masks" in result.output
    assert "hunter22" not in result.output


def test_a_broken_mask_is_found_out(
    command: Command,
    server_url: str,
    database_prefix: str,
    production: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The proof does not trust the masks; a snapshot that would leak is not put in place at all."""
    monkeypatch.setattr(masking, "_pseudonym", lambda key, value: value)
    assert code(command(*arguments(server_url, database_prefix, "--mask", "pseudonym:email"))) == 4
    source = f"{server_url}/{quote(database_prefix + 'people', safe='')}"
    result = command("snapshot", source, str(tmp_path / "snap"), "--mask", "pseudonym:email")
    assert code(result) == 4
    assert "ORIGINAL VALUES SURVIVED" in str(result.exception)
    assert not (tmp_path / "snap").exists()


def test_values_in_other_fields_are_warned_of(
    command: Command, server_url: str, database_prefix: str, production: dict[str, dict[str, Any]]
) -> None:
    """An address that is also the _id stands there still when only the field is masked."""
    result = command(*arguments(server_url, database_prefix, "--mask", "fake.email:email"))
    assert code(result) == 0
    assert "WARNING: 60 also stand in other fields" in result.output


def test_documents_that_cannot_be_masked_are_rejected_without_their_content(
    command: Command, server_url: str, database_prefix: str, tmp_path: Path
) -> None:
    """A boolean under a pseudonym: exit 3, and the reject file has no content of it."""
    source = f"{server_url}/{quote(database_prefix + 'd', safe='')}"
    support.request("PUT", source)
    support.request("PUT", f"{source}/a", {"flag": True, "secret": "hunter22"})
    support.request("PUT", f"{source}/b", {"flag": "text"})
    result = command("seed", source, "--prefix", f"{database_prefix}s_", "--mask", "pseudonym:flag")
    assert code(result) == 3
    assert set(support.revisions(server_url, f"{database_prefix}s_{database_prefix}d")) == {"b"}
    assert "hunter22" not in "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_a_masked_snapshot_can_be_seeded(
    command: Command, server_url: str, database_prefix: str, production: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Production as reviewed fixtures: the same masks, in files."""
    source = f"{server_url}/{quote(database_prefix + 'people', safe='')}"
    result = command("snapshot", source, str(tmp_path / "snap"), *MASKS, "--where", "tax<1010", "--report", "-")
    assert code(result) == 0, result.output
    report = json.loads(result.output)
    assert report["databases"][f"{database_prefix}people"]["documents"] == 10
    assert report["databases"][f"{database_prefix}people"]["filtered"] == 50
    assert report["masking"]["documents_checked"] == 10
    text = "".join(f"{path}{path.read_text()}" for path in (tmp_path / "snap").rglob("*") if path.is_file())
    assert not re.search(r"ada\d+@example\.org|hunter22", text)
    assert code(command("seed", str(tmp_path / "snap"), "--prefix", f"{database_prefix}x_")) == 0


def test_masks_work_in_a_run_too(
    command: Command, server_url: str, database_prefix: str, production: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """`migrator run` knows the same specs; they need their key."""
    source = f"{server_url}/{quote(database_prefix + 'people', safe='')}"
    specs = (
        "--transform",
        "sample:50%",
        "--transform",
        "mask:pseudonym:_id,email",
        "--transform",
        "mask:drop:password",
    )
    result = command("run", "--from", source, "--to", str(tmp_path / "out"), *specs)
    assert code(result) == 0, result.output
    lines = next((tmp_path / "out").glob("*.ndjson")).read_text().splitlines()
    documents = [json.loads(line) for line in lines if "_design/" not in line]
    assert 10 < len(documents) < 50
    assert all(document["_id"] == document["email"] and "password" not in document for document in documents)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--mask", "scramble:a"), "there is no mask 'scramble'"),
        (("--sample", "5"), "not a share"),
        (("--mask", "hash:a", "--mask-key-file", "none"), "none cannot be read"),
        (("--diff",), "--diff goes with a folder"),
        (("--collection", "none-such", "--to", "folder"), "is not a server's URL"),
    ],
)
def test_wrong_flags_are_usage_errors(
    command: Command, server_url: str, more: tuple[str, ...], words: str
) -> None:
    """Each has exit code 2, and nothing is written."""
    result = command("seed", server_url, "--prefix", "never_", *more)
    assert code(result) == 2
    assert words in f"{result.output}{result.exception}"
    assert not [name for name in support.get(f"{server_url}/_all_dbs") if name.startswith("never_")]
