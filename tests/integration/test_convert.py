"""`migrator convert` between a server, backups and files: every leaf comes back as it was."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from migrator.backup.catalog import Catalog, snapshot_folder
from migrator.backup.format.cipher import PLAIN
from migrator.backup.format.manifest import dump_manifest
from migrator.backup.format.snapshot_writer import SnapshotWriter
from migrator.backup.storage.base import open_place
from migrator.cli import cli
from migrator.config import JobConfig
from migrator.convert import copy
from migrator.convert.formats.table import WRITERS, open_reader
from migrator.convert.job import open_source
from migrator.convert.options import ConvertJob
from migrator.errors import ConfigError, MigratorError
from migrator.model import BatchLimits
from migrator.model.revisions import DatabaseFacts, Leaf
from migrator.retry.retrier import Retrier
from tests import support
from tests.support.leaf_states import leaf, make, odd_leaves, random_leaves, state, write
from tests.support.stub_server import Asked, Reply, StubServer
from tests.unit.convert.support import DATA

pytestmark = pytest.mark.usefixtures("no_credentials")

FULL = [name for name, writer in WRITERS.items() if writer.holds.conflicts]
WINNERS = [name for name in WRITERS if name not in FULL]


@pytest.fixture
def source(server_url: str, database_prefix: str) -> str:
    """A database worth copying."""
    name = f"{database_prefix}source"
    make(server_url, name)
    write(server_url, name, *odd_leaves())
    write(server_url, name, *random_leaves(5))
    return name


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files of rejects go that nobody named."""
    monkeypatch.chdir(tmp_path)


def convert(*args: str | Path) -> tuple[int, dict[str, Any]]:
    """The exit code, and the line of JSON."""
    result: Result = CliRunner().invoke(cli, ["convert", "-q", "--json", *map(str, args)], standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, MigratorError | SystemExit):
        raise result.exception
    code = getattr(result.exception, "exit_code", 0) if result.exception else 0
    return code, json.loads(result.stdout or "{}")


def winners(found: dict[tuple[str, str], Any]) -> dict[str, tuple[str, Any]]:
    """By id what the database shows of a document: the leaf that wins, without its ancestry."""
    best: dict[str, tuple[tuple[bool, int, str], str, Any]] = {}
    for (id, rev), (document, files) in found.items():
        start, _, digest = rev.partition("-")
        rank = ("_deleted" not in document, int(start), digest)
        plain = {name: value for name, value in document.items() if name != "_revisions"}
        best[id] = max(
            best.get(id, ((False, 0, ""), "", None)), (rank, rev, (plain, files)), key=lambda each: each[0]
        )
    return {id: (rev, content) for id, (_, rev, content) in best.items()}


@pytest.mark.parametrize("format", FULL)
def test_formats_that_hold_all(
    format: str, server_url: str, source: str, database_prefix: str, tmp_path: Path
) -> None:
    """Conflicts, tombstones with their fields, ancestry and attachments come back out of the file."""
    path = tmp_path / "file.zst"
    wanted = state(server_url, source)
    code, result = convert("--from", f"{server_url}/{source}", "--to", path, "--format", format)
    assert (0, len(wanted), len(wanted)) == (code, result["read"], result["written"])
    target = f"{database_prefix}target"
    code, result = convert("--from", path, "--to", f"{server_url}/{target}")
    assert (0, len(wanted)) == (code, result["written"])
    assert wanted == state(server_url, target)


@pytest.mark.parametrize("format", WINNERS)
def test_formats_that_hold_winners(
    format: str, server_url: str, source: str, database_prefix: str, tmp_path: Path
) -> None:
    """What the database shows comes back, under the same revisions; all else is counted as left out."""
    path = tmp_path / "file.gz"
    everything = state(server_url, source)
    wanted = winners(everything)
    if not WRITERS[format].holds.tombstones:
        wanted = {id: each for id, each in wanted.items() if "_deleted" not in each[1][0]}
    code, result = convert("--from", f"{server_url}/{source}", "--to", path, "--format", format)
    assert (0, len(everything), len(wanted)) == (code, result["read"], result["written"])
    assert len(everything) - len(wanted) == sum(result["left_out"].values())
    assert result["ancestries_shortened"] > 0
    target = f"{database_prefix}target"
    assert 0 == convert("--from", path, "--to", f"{server_url}/{target}")[0]
    assert wanted == winners(state(server_url, target))
    assert len(wanted) == len(state(server_url, target))


def backup(server_url: str, database: str, folder: Path, *, name: str = "") -> None:
    """A backup of a database, written by the library."""
    job = ConvertJob(config=JobConfig(source=f"{server_url}/{database}"))
    with open_source(job, Retrier(), {}) as reader:
        place = open_place(str(folder))
        writer = SnapshotWriter.begin(
            place,
            database=name or database,
            parent=None,
            source="test",
            facts=DatabaseFacts(database),
            last_seq="1",
        )
        for item in reader.leaves():
            assert isinstance(item, Leaf)
            writer.add(item)
        writer.finish()


def test_a_backup_becomes_a_file(server_url: str, source: str, database_prefix: str, tmp_path: Path) -> None:
    """The newest state of a database in a place of backups; of several one must be named."""
    place, path = tmp_path / "place", tmp_path / "x.backup"
    backup(server_url, source, place)
    wanted = state(server_url, source)
    assert 0 == convert("--from", place, "--to", path, "--format", "couchbackup")[0]
    target = f"{database_prefix}target"
    assert 0 == convert("--from", path, "--to", f"{server_url}/{target}")[0]
    assert wanted == state(server_url, target)
    backup(server_url, source, place, name="other")
    again = tmp_path / "y.backup"
    assert 2 == convert("--from", place, "--to", again, "--format", "couchbackup")[0]
    assert not again.exists()
    named = ("--from", place, "--database", source, "--to", again, "--format", "couchbackup")
    assert 2 == convert(*named, "--at", "2001-01-01T00:00:00Z")[0]
    assert 0 == convert(*named, "--at", "2999-01-01T00:00:00Z")[0]
    assert path.read_bytes() == again.read_bytes()


def test_a_time_means_what_it_means_to_restore(server_url: str, source: str, tmp_path: Path) -> None:
    """A day is its end, an id is that very snapshot, and nothing is the newest, whatever its clock said."""
    place = tmp_path / "place"
    backup(server_url, source, place)
    (before,) = Catalog(open_place(str(place))).snapshots(source)
    write(server_url, source, leaf("new", "1-a"))
    backup(server_url, source, place)
    count = len(state(server_url, source))
    day = datetime.fromisoformat(before.finished).astimezone().date()
    future = Catalog(open_place(str(place))).snapshots(source)[-1]
    path = place / snapshot_folder(source, future.snapshot) / "manifest.json"
    for number, (at, wanted) in enumerate(
        ((f"{day}", count), (before.finished, count - 1), (before.snapshot, count - 1), ("", count))
    ):
        if not at:
            path.write_bytes(dump_manifest(replace(future, finished="2999-01-01T00:00:00.000Z"), PLAIN))
        flags = ("--at", at) if at else ()
        code, result = convert("--from", place, "--to", tmp_path / f"{number}", "--format", "ndjson", *flags)
        assert (code, result["written"]) == (0, wanted)
    said = CliRunner().invoke(
        cli, ["convert", "--from", str(place), "--to", "x", "--format", "ndjson", "--at", "noon"]
    )
    assert isinstance(said.exception, ConfigError)
    assert "2026-11-25 (its end)" in said.exception.hint


def test_validation_functions_judge_nothing_that_is_converted(
    server_url: str, database_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Design documents come last, though they are first in the file; one has an attachment and a conflict."""
    monkeypatch.setattr(copy, "BATCH", BatchLimits(1))
    refuses = 'function (doc) { if (!doc.good) throw({forbidden: "it is not good"}); }'
    source, target = f"{database_prefix}source", f"{database_prefix}target"
    make(server_url, source)
    design = leaf("_design/v", "1-a", good=1, validate_doc_update=refuses, files={"f": b"x" * 9_999})
    write(server_url, source, leaf("a", "1-a"), leaf("z", "2-b", "1-a", deleted=True))
    write(server_url, source, design, leaf("_design/v", "1-b", good=1))
    path = tmp_path / "file.ndjson"
    assert 0 == convert("--from", f"{server_url}/{source}", "--to", path, "--format", "ndjson")[0]
    assert path.read_bytes().startswith(b'{"_id":"_design/v"')
    code, result = convert("--from", path, "--to", f"{server_url}/{target}")
    assert (0, 4) == (code, result["written"])
    assert state(server_url, source) == state(server_url, target)


@pytest.mark.parametrize("format", [*FULL, "a database"])
def test_an_attachment_that_cannot_be_read_ends_nothing(
    format: str, server_url: str, database_prefix: str, tmp_path: Path
) -> None:
    """Its document is rejected by name, whichever document it is; the others are whole."""
    source = f"{database_prefix}source"
    make(server_url, source)
    leaves = [leaf(id, "1-a", files={"f": b"x" * 99_999}) for id in ("_design/bad", "bad", "good")]
    write(server_url, source, leaf("a", "1-a"), *leaves, leaf("z", "1-a"))

    def spoiled(asked: Asked) -> Reply:
        if "bad/f" in asked.path:
            return Reply(404, {"error": "not_found", "reason": "Document is missing attachment"})
        status, headers, body = support.forward(asked.method, server_url + asked.path, asked.headers, asked.body)
        return Reply(status, body, headers)

    rejects, target = tmp_path / "rejects.ndjson", f"{server_url}/{database_prefix}target"
    path = tmp_path / "file"
    to = ("--to", target) if format == "a database" else ("--to", path, "--format", format)
    with StubServer(spoiled) as stub:
        code, result = convert("--from", f"{stub.url}/{source}", *to, "--rejects", rejects)
    assert (3, 5, 3, 2) == (code, result["read"], result["written"], result["rejected"])
    found = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert {("_design/bad", "attachment_missing"), ("bad", "attachment_missing")} == {
        (each["id"], each["error"]) for each in found
    }
    if format != "a database":
        assert 0 == convert("--from", path, "--to", target)[0]
    wanted = {key: each for key, each in state(server_url, source).items() if "bad" not in key[0]}
    assert wanted == state(server_url, f"{database_prefix}target")


def test_a_database_that_holds_documents_is_asked_for(server_url: str, source: str, tmp_path: Path) -> None:
    """Revisions of two databases are merged only on request, and loading twice writes nothing."""
    path = tmp_path / "file.ndjson"
    url = f"{server_url}/{source}"
    wanted = state(server_url, source)
    assert 0 == convert("--from", url, "--to", path, "--format", "ndjson")[0]
    assert 2 == convert("--from", path, "--to", url)[0]
    code, result = convert("--from", path, "--to", url, "--into-existing")
    assert (0, 0, len(wanted)) == (code, result["written"], result["unchanged"])
    assert wanted == state(server_url, source)


def test_what_the_server_refuses_is_named(server_url: str, database_prefix: str, tmp_path: Path) -> None:
    """A document that no server takes is in the file of rejects, and all others are there."""
    path, rejects = tmp_path / "file.ndjson", tmp_path / "rejects.ndjson"
    bad = {"_id": "bad", "_rev": "1-a", "_unheard_of": 1}
    path.write_text("".join(json.dumps(each) + "\n" for each in (leaf("a", "1-a"), bad, leaf("z", "2-b", "1-a"))))
    target = f"{database_prefix}target"
    code, result = convert("--from", path, "--to", f"{server_url}/{target}", "--rejects", rejects)
    assert (3, 3, 2, 1) == (code, result["read"], result["written"], result["rejected"])
    (line,) = rejects.read_text().splitlines()
    assert "bad" == json.loads(line)["id"]
    assert {("a", "1-a"), ("z", "2-b")} == set(state(server_url, target))


def test_a_damaged_file_says_where(tmp_path: Path) -> None:
    """Exit 3, the place in the file of rejects, and the rows around it in the target."""
    rejects, path = tmp_path / "rejects.ndjson", tmp_path / "out.ndjson"
    args = ("--from", DATA / "couchdb-dump.json", "--to", path, "--format", "ndjson", "--rejects", rejects)
    code, result = convert(*args)
    assert (3, 7, 6) == (code, result["read"], result["written"])
    assert f"{DATA / 'couchdb-dump.json'}:7: " in json.loads(rejects.read_text())["reason"]
    assert 6 == path.read_bytes().count(b"\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--from", "SOURCE", "--to", "out"], "format is missing"),
        (["--from", "SOURCE", "--to", "SOURCE", "--format", "ndjson", "--overwrite"], "is the source too"),
        (["--from", "SOURCE", "--to", ".", "--format", "ndjson"], "is a folder"),
        (["--from", "SOURCE", "--to", "there", "--format", "ndjson"], "exists already"),
        (["--from", "SOURCE", "--to", "no/folder", "--format", "ndjson"], "cannot be written"),
        (["--from", "SOURCE", "--to", "http://localhost:1/x", "--format", "ndjson"], "--format is of a file"),
        (["--from", "SOURCE", "--to", "http://localhost:1"], "names no database"),
        (["--from", "http://localhost:1", "--to", "out", "--format", "ndjson"], "names no database"),
        (["--from", "missing", "--to", "out", "--format", "ndjson"], "There is no file"),
        (["--from", "empty", "--to", "out", "--format", "ndjson"], "empty"),
        (["--from", "text", "--to", "out", "--format", "ndjson"], "no format that is known"),
        (["--from", ".", "--to", "out", "--format", "ndjson"], "no backups"),
    ],
)
def test_what_cannot_be(args: list[str], says: str, tmp_path: Path) -> None:
    """It is said before anything is written, with what to do next."""
    for name, text in (("there", "old"), ("empty", ""), ("text", "Dear all,\n")):
        (tmp_path / name).write_text(text)
    words = [str(DATA / "all-docs.json") if word == "SOURCE" else word for word in args]
    result = CliRunner().invoke(cli, ["convert", *words], standalone_mode=False)
    assert isinstance(result.exception, ConfigError)
    assert says in result.exception.message
    assert result.exception.hint
    assert not (tmp_path / "out").exists()
    assert "old" == (tmp_path / "there").read_text()


def test_a_source_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    """A packed file with a damaged end: no target, and an older one as it was."""
    path, target = tmp_path / "x.json.gz", tmp_path / "out"
    assert 0 == convert("--from", DATA / "all-docs.json", "--to", path, "--format", "all-docs")[0]
    path.write_bytes(path.read_bytes()[:-20])
    target.write_text("old")
    assert 2 == convert("--from", path, "--to", target, "--format", "ndjson", "--overwrite")[0]
    assert "old" == target.read_text()
    assert Counter(["out", "x.json.gz"]) == Counter(each.name for each in tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["couchbackup-2.11.12.backup", "all-docs.json", "changes.json", "couchdb-python-1.2.dump"]
)
@pytest.mark.parametrize("command", ["run", "plan", "verify"])
def test_run_names_the_command_for_such_files(command: str, name: str, tmp_path: Path) -> None:
    """An application's documents have no revisions, so `run` does not take these files for some."""
    args = [command, "--from", str(DATA / name), "--to", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, args, standalone_mode=False)
    assert isinstance(result.exception, ConfigError)
    assert "migrator convert --from" in result.exception.hint
    assert not (tmp_path / "out").exists()


def test_a_large_attachment_travels_in_pieces(server_url: str, database_prefix: str, tmp_path: Path) -> None:
    """The bytes of an attachment go from the server to the file in pieces."""
    name = f"{database_prefix}source"
    make(server_url, name)
    write(server_url, name, leaf("a", "1-a", files={"large": bytes(8_000_000)}))
    path = tmp_path / "x.dump"
    assert 0 == convert("--from", f"{server_url}/{name}", "--to", path, "--format", "couchdb-python")[0]
    with closing(open_reader(path)) as reader:
        (item,) = list(reader.leaves())
        assert isinstance(item, Leaf)
        pieces: Iterator[bytes] = item.attachments[0].open()
        assert max(map(len, pieces)) <= 1 << 20
