"""What a person sees of each long command, at three widths of a terminal; UPDATE_GOLDEN=1 records it again."""

from __future__ import annotations

import gzip
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.private_server import PrivateServer
from tests.golden.test_golden import assert_golden
from tests.support.screen import Recorded, Screen, record

WIDTHS = (50, 80, 120)
DOCUMENTS = 2_000
QUIETLY = "--no-users --no-probe --output plan.json"
URL = "http://localhost:5984"


@pytest.fixture
def server(server_url: str, database_prefix: str, no_credentials: None) -> Iterator[PrivateServer]:
    """A server on which there is nothing yet."""
    with PrivateServer(server_url, database_prefix) as view:
        yield view


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Orders in a file, one of which cannot be written."""
    lines = [json.dumps({"_id": f"o{number:04}", "n": number}) for number in range(DOCUMENTS - 1)]
    (tmp_path / "orders.ndjson").write_text("\n".join([*lines, '{"_id":"_bad"}']) + "\n")
    return tmp_path


def seen(server: PrivateServer, folder: Path, line: str, columns: int, code: int = 0) -> Recorded:
    """A command on a terminal, with the server's own address in place of the usual one."""
    found = record(line.replace(URL, server.url).split(), columns=columns, folder=folder)
    assert (code, []) == (found.code, [bar for bar in found.bars if len(bar) >= columns]), found.left
    return found


def assert_screen(name: str, server: PrivateServer, line: str, found: Recorded, columns: int) -> None:
    """Compare with what was recorded."""
    text = re.sub(r"/\S+/(?=orders|backups)", "/home/ada/", found.golden().replace(server.url, URL))
    text = re.sub(r"migrator-[0-9a-f]{8}", "migrator-JOB", text)
    if name == "apply":
        # Who may come in by default is another one on each server.
        text = re.sub(r" +(_security|-{9,11}|set|open to all)$", "  …", text, flags=re.MULTILINE)
    # A backup's size depends on the day.
    text = re.sub(r" +\d{2,3},\d{3}\b", lambda size: "…".rjust(len(size[0])), text)
    assert_golden(f"screens/{name}-{columns}.txt", f"$ migrator {line}\n{text}")


@pytest.mark.parametrize("columns", WIDTHS)
def test_run_and_verify(server: PrivateServer, folder: Path, columns: int) -> None:
    """Share, documents and time left; the rate where there is room, and above them what was rejected."""
    for name, command, more, code in (
        ("plan", "plan", "", 0),
        ("run", "run", " --rejects rejects.ndjson --checkpoint c.json --no-prove", 3),
        ("verify", "verify", "", 4),
    ):
        line = f"{command} --from orders.ndjson --to {URL}{more}"
        found = seen(server, folder, line, columns, code)
        assert_screen(name, server, line, found, columns)
        assert [("/s" in bar) for bar in found.bars[:1]] == [columns > 50] * len(found.bars[:1])


@pytest.mark.parametrize("columns", WIDTHS)
def test_backup_restore_and_apply(server: PrivateServer, folder: Path, columns: int) -> None:
    """The same for whole revisions, and for a whole server."""
    seen(server, folder, f"run --from orders.ndjson --to {URL} --rejects r.ndjson", columns, 3)
    for name, line in (
        ("backup", f"backup --from {URL}/orders --to backups --no-prove"),
        ("restore", f"restore --from backups --to {URL} --map orders=copy"),
        (
            "plan-server",
            f"plan-server --from {URL} --to {URL} --database orders --map orders=moved {QUIETLY}",
        ),
        ("apply", f"apply plan.json --from {URL} --to {URL}"),
    ):
        found = seen(server, folder, line, columns)
        if name == "plan-server":
            assert len(found.left.splitlines()) < 24
        else:
            assert found.bars[-1].startswith("orders  100%")
            assert_screen(name, server, line, found, columns)


def test_a_stopped_run_says_how_far_it_came_and_goes_on_there(server: PrivateServer, folder: Path) -> None:
    """Ctrl-C once: a line of its own, no error, the whole command; --resume begins with what was settled."""

    def stop(process: subprocess.Popen[bytes], screen: Screen) -> None:
        if any(re.search(r" [1-9]\d* of 2,000 documents", line) for line in screen.drawn) and not sent:
            sent.append(signal.SIGINT)
            process.send_signal(signal.SIGINT)

    sent: list[int] = []
    words = ["run", "--from", "orders.ndjson", "--to", server.url, "--checkpoint", "c.json", "--sort", "never"]
    found = record([*words, "--batch-docs", "1", "--in-flight", "1"], columns=120, folder=folder, watch=stop)
    assert found.code == 130
    assert "Error" not in found.left
    said = found.left.splitlines()
    assert said[0] == "Stopping: settling what is in flight (once more to end at once)."
    stopped = re.fullmatch(r"Stopped after ([\d,]+) documents?\. Continue: migrator (.*)", said[-1])
    assert stopped is not None, found.left
    assert stopped[2].endswith("--in-flight 1 --resume")
    assert found.screen.coloured
    again = record([*words, "--resume"], columns=120, folder=folder, environ={"NO_COLOR": "1"})
    assert again.code == 3
    assert f" {stopped[1]} of 2,000 documents" in again.bars[0]
    assert not again.screen.coloured


def test_a_large_file_has_a_share_and_the_time_left(folder: Path) -> None:
    """Nobody counts the lines of a packed file; its bytes say how far the run is."""
    packed = gzip.compress((folder / "orders.ndjson").read_bytes())
    (folder / "orders.ndjson").unlink()
    (folder / "orders.ndjson.gz").write_bytes(packed)
    words = ["run", "--from", "orders.ndjson.gz", "--to", "out", "--batch-docs", "100"]
    found = record(words, columns=80, folder=folder)
    assert found.code == 0
    shares = [int(share[1]) for bar in found.bars if (share := re.search(r" (\d+)%", bar))]
    assert len(set(shares)) > 5
    assert sorted(shares) == shares
    assert all(" left" in bar and len(bar) < 80 for bar in found.bars)
