"""Each command that carries documents counts each of them once, on the side where it is a document."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from migrator.couch import head_room, pacing
from migrator.couch.head_room import LEAST, HeadRoom
from tests import support
from tests.support.commands import run_whole
from tests.support.pacing import Taken

DOCUMENTS = 30
RATE = 11
READ, WRITTEN = 0, 1


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[float, float]]:
    """Runs a command in a folder of its own, which must end well; how many documents it read and wrote."""

    def work(*words: str) -> tuple[float, float]:
        taken = Taken()
        monkeypatch.setattr(pacing, "Bucket", taken.bucket)
        ran = run_whole(tmp_path, *words, "--rate", f"{RATE}/s")
        assert ran.returncode == 0, ran.stderr + ran.stdout
        return taken.total(RATE, READ), taken.total(RATE, WRITTEN)

    return work


def stored(server_url: str, database: str) -> int:
    """How many documents there are."""
    return len(support.get(f"{server_url}/{database}/_all_docs")["rows"])


def test_documents_are_counted_once(
    tmp_path: Path,
    counted: Callable[..., tuple[float, float]],
    server_url: str,
    database_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read and written by a run, a backup, a restore, a conversion and a move; what is there is not written."""
    one, two, three, four, five = (f"{database_prefix}{each}" for each in "abcde")
    (tmp_path / "in.ndjson").write_text("".join(json.dumps({"_id": f"{n:03}"}) + "\n" for n in range(DOCUMENTS)))
    at = [f"{server_url}/{name}" for name in (one, two, three, four, five)]
    # A plan holds no credentials.
    account = urlsplit(server_url)
    monkeypatch.setenv("COUCHDB_USER", account.username or "")
    monkeypatch.setenv("COUCHDB_PASSWORD", account.password or "")
    assert counted("run", "--from", "in.ndjson", "--to", at[0]) == (0, DOCUMENTS)
    assert counted("run", "--from", "in.ndjson", "--to", at[0], "--restart")[WRITTEN] == 0
    assert counted("run", "--from", at[0], "--to", at[1]) == (DOCUMENTS, DOCUMENTS)
    read, written = counted("verify", "--from", at[0], "--to", at[1])
    assert (DOCUMENTS <= read <= 2 * DOCUMENTS, written) == (True, 0)
    assert counted("backup", "--from", at[0], "--to", "place") == (DOCUMENTS, 0)
    assert counted("restore", "--from", "place", "--to", at[2]) == (0, DOCUMENTS)
    assert counted("convert", "--from", at[0], "--to", "out.backup", "--format", "couchbackup") == (DOCUMENTS, 0)
    assert counted("convert", "--from", "out.backup", "--to", at[3]) == (0, DOCUMENTS)
    plan = run_whole(
        tmp_path, "plan-server", "--from", server_url, "--to", server_url,
        "--database", one, "--map", f"{one}={five}", "--output", "move.json",
    )  # fmt: skip
    assert plan.returncode == 0, plan.stderr
    read, written = counted("apply", "move.json")
    assert (read >= DOCUMENTS, DOCUMENTS <= written <= DOCUMENTS + 4) == (True, True)
    assert [stored(server_url, name) for name in (one, two, three, four, five)] == [DOCUMENTS] * 5


def test_fixtures_are_counted(
    tmp_path: Path, counted: Callable[..., tuple[float, float]], server_url: str, database_prefix: str
) -> None:
    """Those that are written, and those that are read into a snapshot."""
    folder = tmp_path / "fixtures"
    folder.mkdir()
    lines = [json.dumps({"_id": f"{n:03}"}) for n in range(DOCUMENTS)]
    (folder / "people.ndjson").write_text("\n".join(lines) + "\n")
    written = counted("seed", "fixtures", "--to", server_url, "--prefix", database_prefix)[WRITTEN]
    assert DOCUMENTS <= written <= DOCUMENTS + 4
    assert stored(server_url, f"{database_prefix}people") == DOCUMENTS
    assert counted("snapshot", f"{server_url}/{database_prefix}people", "taken")[READ] >= DOCUMENTS


@pytest.mark.parametrize(("option", "value"), [("rate", "0"), ("rate", "5/day"), ("bandwidth", "5Mbit/s")])
def test_what_cannot_be_is_refused_before_anything_is_done(tmp_path: Path, option: str, value: str) -> None:
    """With what can be."""
    (tmp_path / "in.ndjson").write_text('{"_id":"a"}\n')
    ran = run_whole(tmp_path, "run", "--from", "in.ndjson", "--to", "out/", f"--{option}", value)
    assert (ran.returncode, (tmp_path / "out").exists()) == (2, False)
    assert f"{option} is {value!r}. Write " in ran.stderr


def test_a_replication_has_no_rate(tmp_path: Path, server_url: str) -> None:
    """The server carries the documents itself, as fast as it likes."""
    words = ("run", "--from", f"{server_url}/a", "--to", f"{server_url}/b", "--replicate", "--rate", "10")
    ran = run_whole(tmp_path, *words)
    assert ran.returncode == 2
    assert "--rate" in ran.stderr


def test_room_for_others_is_left_while_documents_go(
    tmp_path: Path, server_url: str, database_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is always too slow is asked now and then, to the end, for reading and for writing."""
    judged: list[float] = []

    def judge(self: HeadRoom, _seconds: float) -> None:
        judged.append(self.allowed)
        self.allowed = LEAST

    monkeypatch.setattr(HeadRoom, "judge", judge)
    monkeypatch.setattr(head_room, "EVERY_S", 0.001)
    (tmp_path / "in.ndjson").write_text("".join(f'{{"_id":"{n:03}"}}\n' for n in range(DOCUMENTS)))
    one, two = (f"{server_url}/{database_prefix}{each}" for each in "ab")
    for words in (["--from", "in.ndjson", "--to", one], ["--from", one, "--to", two, "--verify"]):
        ran = run_whole(tmp_path, "run", *words, "--head-room", "--batch-docs", "5")
        assert ran.returncode == 0, ran.stderr
    assert stored(server_url, f"{database_prefix}b") == DOCUMENTS
    assert len(judged) > 1


def test_less_than_usual_cannot_be_asked_for(tmp_path: Path) -> None:
    """A factor below one would be too slow for ever."""
    ran = run_whole(tmp_path, "run", "--from", "in.ndjson", "--to", "out/", "--head-room", "0.5")
    assert ran.returncode == 2
    assert "head_room is 0.5. It must be at least 1." in ran.stderr
