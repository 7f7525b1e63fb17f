"""Files that an older release wrote are read and gone on with: its bytes are kept in tests/data/first-version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from migrator.checkpoint.file import CheckpointFile
from migrator.server.move.plan import load_plan
from tests import support
from tests.support.commands import run

DATA = Path(__file__).parents[1] / "data" / "first-version"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files, as if that release had run here."""
    there = shutil.copytree(DATA, tmp_path / "there")
    for name in ("cp.json", "report.json"):
        text = (there / name).read_text(encoding="utf-8")
        (there / name).write_text(text.replace("@FOLDER@", str(there)), encoding="utf-8")
    monkeypatch.chdir(there)
    return there


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def test_a_run_goes_on_from_its_checkpoint(folder: Path) -> None:
    """Its target file and its rejects are taken over: in the end each is what one whole run wrote."""
    ran = run("run", "--from", "in", "--to", "out", "--checkpoint", "cp.json", "--rejects", "rejects.ndjson",
              "--resume", "--quiet", "--report", "after.json")  # fmt: skip
    assert ran.code == 3, ran.output
    report = json.loads((folder / "after.json").read_text())
    totals = report["totals"]
    assert (totals["read"], totals["written"], totals["unchanged"], totals["rejected"]) == (27, 27, 0, 0)
    for name in ("people", "things"):
        assert lines(folder / "out" / f"{name}.ndjson") == lines(DATA / "whole" / f"{name}.ndjson")
    assert lines(folder / "rejects.ndjson")[:3] == lines(DATA / "rejects.ndjson")


def test_a_changed_source_is_still_seen(folder: Path) -> None:
    """What that release noted of the source file is compared, as far as it goes."""
    path = folder / "in" / "people.ndjson"
    path.write_bytes(path.read_bytes() + b'{"_id": "more"}\n')
    ran = run("run", "--from", "in", "--to", "out", "--checkpoint", "cp.json", "--resume", "--quiet")
    assert ran.code == 6
    assert "The source of people has changed" in ran.output


def test_its_state_is_shown(folder: Path) -> None:
    """By `status`, with what had been read."""
    ran = run("status", "cp.json")
    assert ran.code == 0
    assert "people" in ran.output
    assert "53" in ran.output
    assert str(folder) in ran.output


def test_its_rejects_are_tried_again(folder: Path) -> None:
    """As they are they are rejected again; what was fixed by hand is written."""
    ran = run("retry", "rejects.ndjson", "--to", "again", "--rejects", "still.ndjson", "--quiet")
    assert ran.code == 3, ran.output
    assert len(lines(folder / "still.ndjson")) == 3
    fixed = [json.loads(line) for line in lines(folder / "rejects.ndjson")]
    for number, each in enumerate(fixed):
        each["document"] = {"_id": f"fixed-{number}"}
    (folder / "rejects.ndjson").write_text("".join(json.dumps(each) + "\n" for each in fixed))
    ran = run("retry", "rejects.ndjson", "--to", "fixed", "--rejects", "none.ndjson", "--quiet")
    assert ran.code == 0, ran.output
    assert len(lines(folder / "fixed" / "people.ndjson")) == 3


def test_its_report_is_shown_as_it_was(folder: Path) -> None:
    """The table is the same, and the page has its collections."""
    assert run("report", "report.json").output == (folder / "report.txt").read_text(encoding="utf-8")
    assert run("report", "report.json", "--html").code == 0
    assert "people" in (folder / "report.html").read_text(encoding="utf-8")


def test_its_backup_is_whole_and_is_converted(folder: Path) -> None:
    """Two snapshots of a chain: checked by their contents, and all leaves of them as that release gave them."""
    assert run("backups", "check", "--from", "place", "--quiet").code == 0
    ran = run(
        "convert", "--from", "place", "--database", "oldv_orders", "--to", "now.backup", "--format", "couchbackup"
    )
    assert ran.code == 0, ran.output
    assert documents(folder / "now.backup") == documents(folder / "orders.backup")


def test_its_backup_is_looked_into(folder: Path) -> None:
    """Each document is found by its id and its past is shown; what is printed is what was stored."""
    where = ("--from", "place")
    listed = [
        json.loads(line) for line in run("backups", "ls", *where, "oldv_orders", "--json").output.splitlines()
    ]
    assert len(listed) > 3
    stored = {(each["_id"], each["_rev"]): each for each in map(json.loads, documents(folder / "orders.backup"))}
    for row in listed:
        (found,) = run("backups", "find", *where, "--id", row["id"], "--json").output.splitlines()
        assert json.loads(found) == {**row, "database": "oldv_orders"}
        ran = run("backups", "cat", *where, "oldv_orders", row["id"], "--rev", row["rev"])
        names = ("_revisions", "_attachments")
        told, expected = (
            {name: value for name, value in each.items() if name not in names}
            for each in (json.loads(ran.output), stored[row["id"], row["rev"]])
        )
        assert told == expected
        history = run("backups", "history", *where, "oldv_orders", row["id"], "--json").output.splitlines()
        assert [json.loads(line)["rev"] for line in history][-1] == row["rev"]


def documents(path: Path) -> list[str]:
    """The documents of a couchbackup file, in any order."""
    rows = [row for line in lines(path) for row in json.loads(line) if isinstance(row, dict)]
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def test_its_backup_is_restored(folder: Path, server_url: str, database_prefix: str) -> None:
    """With conflict, deletion, attachment and the document of the second snapshot."""
    name = f"{database_prefix}orders"
    ran = run("restore", "--from", "place", "--database", "oldv_orders", "--map", f"oldv_orders={name}",
              "--to", server_url, "--quiet")  # fmt: skip
    assert ran.code == 0, ran.output
    there = support.documents(server_url, name)
    assert set(there) == {f"o{n:02}" for n in range(12) if n != 5} | {"_design/by_n", "new"}
    assert there["o06"]["n"] == 66
    status, found = support.request("GET", f"{server_url}/{name}/o07?conflicts=true")
    assert status == 200
    assert len(found["_conflicts"]) == 1
    assert (
        support.request("GET", f"{server_url}/{name}/o03?attachments=true")[1]["_attachments"]["a.txt"]["revpos"]
        == 1
    )


def test_its_plan_and_how_far_it_came_are_read(folder: Path) -> None:
    """The plan of a whole server, and the checkpoint of its application when that was killed."""
    plan = load_plan(Path("move.json"))
    assert [each.source for each in plan.databases] == ["oldv_orders"]
    assert (plan.databases[0].documents, plan.databases[0].attachments) == (13, 1)
    checkpoint = CheckpointFile(folder / "move.json.checkpoint").load()
    assert checkpoint is not None
    assert checkpoint.collections["oldv_orders"].counts.written == 14
    assert not checkpoint.finished
