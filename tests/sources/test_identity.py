"""A source file that was changed is known whatever its size, ends and time say; a copy of it is the same."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from migrator.config import JobConfig
from migrator.errors import CheckpointError, RejectsError
from migrator.files.identity import file_identity, same_identity
from migrator.jobs.registry import open_extractor
from migrator.jobs.run import run_job

# More than the ends that were looked at before.
COUNT = 3_000
PAD = "x" * 100


def rows(changed: int | None = None) -> list[dict[str, str]]:
    """Documents, of which one has a letter changed."""
    return [{"_id": f"d{n:05}", "v": "B" if n == changed else "A", "p": PAD} for n in range(COUNT)]


def lines(changed: int | None) -> bytes:
    """One a line."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows(changed))


def delimited(changed: int | None, mark: str = ",") -> bytes:
    """As CSV."""
    return "".join(f"{mark.join(row.values())}\n" for row in [{n: n for n in rows()[0]}, *rows(changed)]).encode()


def parquet(path: Path, changed: int | None) -> None:
    """As Parquet, in pages that are not compressed, so that the size stays."""
    table = pa.Table.from_pylist(rows(changed))
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)


def sqlite(path: Path, changed: int | None) -> None:
    """As a table."""
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (_id TEXT PRIMARY KEY, v TEXT, p TEXT)")
        database.executemany("INSERT INTO t VALUES (:_id, :v, :p)", rows(changed))
    database.close()


def singer(changed: int | None) -> bytes:
    """As a tap writes it."""
    schema = {"type": "SCHEMA", "stream": "t", "schema": {}, "key_properties": ["_id"]}
    records = [{"type": "RECORD", "stream": "t", "record": row} for row in rows(changed)]
    return b"".join(json.dumps(message).encode() + b"\n" for message in [schema, *records])


def elastic(changed: int | None) -> bytes:
    """As elasticdump writes it."""
    hits = [{"_index": "t", "_id": row["_id"], "_source": {"v": row["v"], "p": PAD}} for row in rows(changed)]
    return b"".join(json.dumps(hit).encode() + b"\n" for hit in hits)


def bytes_of(make: Callable[[int | None], bytes]) -> Callable[[Path, int | None], None]:
    """Writes a file of bytes."""

    def write(path: Path, changed: int | None) -> None:
        path.write_bytes(make(changed))

    return write


KINDS: dict[str, tuple[str, Callable[[Path, int | None], None]]] = {
    "t.ndjson": ("", bytes_of(lines)),
    "t.jsonl": ("", bytes_of(lines)),
    "t.ndjson.gz": ("", bytes_of(lambda changed: gzip.compress(lines(changed), 0, mtime=0))),
    "t.ndjson.zst": ("", bytes_of(lambda changed: zstandard.compress(lines(changed)))),
    "list.json": ("", bytes_of(lambda changed: json.dumps({"t": rows(changed)}).encode())),
    "keyed.json": (
        "",
        bytes_of(lambda changed: json.dumps({"t": {r["_id"]: r for r in rows(changed)}}).encode()),
    ),
    "export.json.gz": (
        "",
        bytes_of(lambda changed: gzip.compress(json.dumps({"t": rows(changed)}).encode(), 0, mtime=0)),
    ),
    "t.csv": ("", bytes_of(delimited)),
    "t.tsv": ("", bytes_of(lambda changed: delimited(changed, "\t"))),
    "t.csv.gz": ("", bytes_of(lambda changed: gzip.compress(delimited(changed), 0, mtime=0))),
    "t.parquet": ("", parquet),
    "mongo.json": ("mongo:", bytes_of(lines)),
    "elastic.json": ("elasticdump:", bytes_of(elastic)),
    "tap.jsonl": ("singer:", bytes_of(singer)),
    "t.db": ("sqlite:///", sqlite),
}


def identity(name: str, path: Path) -> str:
    """Of the only collection."""
    extractor = open_extractor(JobConfig(source=f"{KINDS[name][0]}{path}"))
    try:
        (collection,) = extractor.collections()
        return extractor.identity(collection)
    finally:
        extractor.close()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("place", [0, COUNT // 2, COUNT - 1])
def test_a_changed_letter_is_known(tmp_path: Path, name: str, place: int) -> None:
    """In the beginning, the middle or the end, with the size kept and the time set back."""
    path = tmp_path / name
    KINDS[name][1](path, None)
    found, before = path.stat(), identity(name, path)
    KINDS[name][1](path, place)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    if not name.endswith(".zst"):
        assert path.stat().st_size == found.st_size
    assert not same_identity(before, identity(name, path))
    KINDS[name][1](path, None)
    assert same_identity(before, identity(name, path))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("how", ["touched", "copied", "restored", "linked", "moved away and back"])
def test_the_same_content_is_the_same_file(tmp_path: Path, name: str, how: str) -> None:
    """Whatever else of it has changed, the position fits."""
    path = tmp_path / name
    KINDS[name][1](path, None)
    before = identity(name, path)
    away = tmp_path / "away"
    if how == "touched":
        os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
    elif how == "linked":
        path.rename(away)
        path.symlink_to(away)
    elif how == "moved away and back":
        path.rename(away)
        away.rename(path)
    else:
        (shutil.copy2 if how == "copied" else shutil.copy)(path, away)
        path.unlink()
        away.rename(path)
    assert same_identity(before, identity(name, path))


def test_a_file_is_read_once(tmp_path: Path) -> None:
    """A second question costs nothing, and neither does one for another collection of the same file."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 1_000_000)
    before = file_identity(path)
    path.chmod(0)
    found = path.stat()
    path.chmod(0o600)
    assert found.st_size == 1_000_000
    assert before == file_identity(path)


def test_what_is_no_file_has_no_identity(tmp_path: Path) -> None:
    """A pipe is not read, as it can be read only once."""
    os.mkfifo(tmp_path / "p")
    assert file_identity(tmp_path / "p") == ""


@pytest.mark.parametrize(
    ("noted", "now", "same"),
    [
        ("10-ab", "10-ab sha256:" + "0" * 64, True),
        ("10-ab", "10-ac sha256:" + "0" * 64, False),
        ("10-ab sha256:" + "0" * 64, "10-ab sha256:" + "0" * 64, True),
        ("10-ab sha256:" + "0" * 64, "10-ab sha256:" + "1" * 64, False),
        ("10-ab sha256:" + "0" * 64, "10-ab", False),
        ("10-ab-7", "10-ab sha256:" + "0" * 64 + "-7", True),
        ("10-ab-7", "10-ab sha256:" + "0" * 64 + "-8", False),
        ("", "10-ab sha256:" + "0" * 64, False),
        ("a plug-in's", "a plug-in's", True),
        ("a plug-in's", "a plug-in's own", False),
    ],
)
def test_what_the_version_before_noted_still_counts(noted: str, now: str, same: bool) -> None:
    """It knew size and ends, and no more is asked of it."""
    assert same is same_identity(noted, now)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("what", ["changed", "touched"])
def test_a_resumed_run_refuses_the_changed_and_takes_the_touched(tmp_path: Path, name: str, what: str) -> None:
    """With exit code 6, before anything more is written."""
    path = tmp_path / name
    KINDS[name][1](path, None)
    flags: dict[str, Any] = {
        "source": f"{KINDS[name][0]}{path}",
        "target": str(tmp_path / "out"),
        "checkpoint": str(tmp_path / "c"),
        "rejects": str(tmp_path / "r"),
        "batch_docs": 100,
    }
    # Stopped by rejects in the middle: everything before is settled.
    where = ("tests.sources.test_identity:refuse_one",)
    with pytest.raises(RejectsError):
        run_job(JobConfig(**flags, transform=where, max_errors="0"))
    found = path.stat()
    KINDS[name][1](path, 10 if what == "changed" else None)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + (what == "touched")))
    resumed = JobConfig(**flags, transform=where, resume=True)
    if what == "changed":
        with pytest.raises(CheckpointError, match="has changed") as caught:
            run_job(resumed)
        assert "--restart" in caught.value.hint
        return
    result = run_job(resumed)
    assert result.report.carried.read > 0
    totals = result.report.totals
    totals.add(result.report.carried)
    assert (totals.read, totals.written, totals.rejected) == (COUNT, COUNT - 1, 1)


def refuse_one(document: dict[str, str]) -> dict[str, str]:
    """A transformer that cannot map one document."""
    assert document["_id"] != f"d{COUNT // 2:05}"
    return document
