"""Backups through a pipe against a server: what goes in comes out, and what fails on the way is never a backup."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.backup.catalog import Catalog
from migrator.backup.check import check
from migrator.backup.storage.base import open_place
from tests import support
from tests.support.backup_world import World
from tests.support.commands import run
from tests.support.fault_proxy import FaultProxy
from tests.support.leaf_states import leaf, odd_leaves
from tests.support.processes import LIMIT_S, ended, joined, started, wait_until
from tests.unit.backup.test_cipher import new_key
from tests.unit.cli.test_streams import shell

pytestmark = pytest.mark.usefixtures("no_credentials")
MIGRATOR = [sys.executable, "-m", "migrator"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files of rejects go that nobody named."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def world(server_url: str, database_prefix: str, tmp_path: Path) -> World:
    """Databases of all kinds of documents."""
    world = World(server_url, database_prefix, tmp_path)
    world.make("a", *odd_leaves(), leaf("x", "1-a", files={"f": b"y" * 99_999}))
    world.make("b", leaf("b", "1-a"))
    return world


def backup(world: World) -> str:
    """The words of a backup of both databases through a pipe."""
    return f"migrator backup -q --from {world.server} --database '{world.prefix}[ab]' --to -"


def restore(world: World, more: str = "") -> str:
    """The words of a restore of both under other names."""
    names = [f"--map {world.name(name)}={world.name(name)}2" for name in "ab"]
    return f"migrator restore -q --from - --to {world.server} {' '.join(names)} {more}"


def again(words: str) -> str:
    """A second command of a line of bash."""
    return words.replace("migrator ", f"{shlex.join(MIGRATOR)} ", 1)


@pytest.mark.parametrize("key", ["", "key"])
def test_what_goes_in_comes_out(world: World, key: str, tmp_path: Path) -> None:
    """Of several databases, with each revision, ancestry, attachment and setting; sealed too."""
    public, file = new_key(tmp_path) if key else ("", Path())
    to, back = (f"--recipient {public}", f"--identity {file}") if key else ("", "")
    done = shell(f"set -o pipefail; {backup(world)} {to} | {again(restore(world, back))}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name in "ab":
        assert world.state(name) == world.state(f"{name}2")
    done = shell(f"{backup(world)} {to} > whole.tar", tmp_path)
    assert done.returncode == 0
    if key:
        assert b"y" * 50 not in (tmp_path / "whole.tar").read_bytes()
        done = shell(f"{restore(world)} --into-existing < whole.tar", tmp_path)
        assert (done.returncode, "Name the file with the secret key: --identity FILE" in done.stderr) == (2, True)
        done = shell("migrator backups check --from - < whole.tar", tmp_path)
        assert (done.returncode, "only digests were compared" in done.stdout) == (0, True)


def test_a_stream_is_drilled(world: World, tmp_path: Path) -> None:
    """It is read once, whatever is asked of it."""
    words = f"migrator backups check --from - --drill --to {world.server} --json"
    done = shell(
        f"{backup(world)} | {words}".replace("| migrator", f"| {shlex.quote(sys.executable)} -m migrator"),
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert (value["ok"], len(value["drills"]), value["snapshots"]) == (True, 2, 2)


def test_standard_output_has_nothing_but_the_stream(world: World, tmp_path: Path) -> None:
    """The result goes to standard error, be it a table or JSON; a report into its file."""
    words = backup(world).replace("-q ", "")
    table = shell(f"{words} --report report.json > table.tar", tmp_path)
    assert "2 databases in" in table.stderr
    assert json.loads((tmp_path / "report.json").read_text())["to"] == "standard output"
    line = shell(f"{words} -q --json > line.tar", tmp_path)
    assert json.loads(line.stderr)["databases"][world.name("b")]["kind"] == "full"
    for name in ("table", "line"):
        done = shell(f"migrator backups check -q --from - < {name}.tar", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "sink", ["> >(head -c 700 > cut.tar)", "| head -c 700 > cut.tar", "| (exec <&-; sleep 0.1)"]
)
def test_a_reader_that_dies_ends_it(world: World, sink: str, tmp_path: Path) -> None:
    """With the exit code of a target that cannot be used, and a word on the reader."""
    done = shell(f"set -o pipefail; {backup(world)} --report report.json {sink}", tmp_path)
    assert done.returncode == 5, done.stderr
    assert "Standard output cannot be written: its reader has gone." in done.stderr
    assert "Traceback" not in done.stderr
    if "cut.tar" in sink:
        wait_until(lambda: (tmp_path / "cut.tar").stat().st_size == 700)
        done = shell(f"{restore(world)} < cut.tar", tmp_path)
        assert (done.returncode, "ends at byte 700" in done.stderr) == (4, True)
    assert support.request("GET", world.url("a2"))[0] == 404


def test_a_full_disk_behind_the_pipe(world: World, tmp_path: Path) -> None:
    """As a reader that has gone, by its own name."""
    done = shell(f"{backup(world)} > /dev/full", tmp_path)
    assert (done.returncode, "Standard output cannot be written: No space left" in done.stderr) == (5, True)


def test_a_database_that_fails_leaves_no_end(world: World, tmp_path: Path) -> None:
    """To a folder the others would be backed up; of a stream nobody could tell that one is missing."""
    missing = f"{backup(world)} --database {world.prefix}gone > missing.tar"
    done = shell(missing, tmp_path)
    assert (done.returncode, (tmp_path / "missing.tar").stat().st_size) == (2, 0)
    assert f"{world.prefix}gone" in done.stderr

    with FaultProxy(
        world.server, lambda request: "down_503" if world.name("b") in request.path else None
    ) as proxy:
        words = backup(world).replace(world.server, proxy.url)
        done = shell(f"{words} --json --max-attempts 2 --max-outage 1 > half.tar", tmp_path)
    result = json.loads(done.stderr.splitlines()[0])
    assert (done.returncode, result["ok"]) == (5, False)
    assert "the stream has no end" in str(result["databases"][world.name("b")]["notes"])
    done = shell(f"{restore(world)} < half.tar", tmp_path)
    assert (done.returncode, "Standard input ends at byte" in done.stderr) == (4, True), done.stderr


def test_a_fifo(world: World, tmp_path: Path) -> None:
    """Names of pipes are as good as -."""
    os.mkfifo(tmp_path / "fifo")
    words = backup(world).replace("--to -", "--to fifo").replace("-q", "-q --json")
    reading = started(lambda: (tmp_path / "got.tar").write_bytes((tmp_path / "fifo").read_bytes()))
    done = shell(words, tmp_path)
    joined(reading)
    assert json.loads(done.stdout)["to"] == "fifo", done.stderr
    assert run("backups", "check", "--from", str(tmp_path / "got.tar")).code == 2
    done = shell("(cat got.tar > fifo &); migrator backups check --from fifo", tmp_path)
    assert (done.returncode, "2 snapshots of 2 databases in fifo" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_backup_that_is_ended_leaves_no_end(world: World, number: int, tmp_path: Path) -> None:
    """Whatever ended it; what had come of it is a cut stream."""
    words = shlex.split(backup(world).replace("migrator ", ""))
    with (tmp_path / "cut.tar").open("wb") as out:
        command = [*MIGRATOR, *words]
        # It waits for a reader, and is stopped there.
        source, sink = os.pipe()
        with ended(subprocess.Popen(command, stdout=sink, stderr=subprocess.PIPE)) as process:
            os.close(sink)
            out.write(os.read(source, 512))
            process.send_signal(number)
            while piece := os.read(source, 1 << 16):
                out.write(piece)
            code = process.wait(LIMIT_S)
        os.close(source)
    done = shell(f"{restore(world)} < cut.tar", tmp_path)
    if code == 0:
        # It was through before the signal came.
        assert done.returncode == 0
    else:
        assert code in {130, -signal.SIGKILL}
        assert (done.returncode, "Standard input ends at byte" in done.stderr) == (4, True), done.stderr
        assert support.request("GET", world.url("a2"))[0] == 404


def test_tar_makes_a_place_of_it(world: World, tmp_path: Path) -> None:
    """Without migrator on the other side; the next backup there adds to it."""
    done = shell(f"mkdir place; {backup(world)} | tar -xf - -C place", tmp_path)
    assert done.returncode == 0, done.stderr
    place = open_place(str(tmp_path / "place"))
    assert check(place, Catalog(place).databases()).ok
    world.write("b", leaf("c", "1-a"))
    more = run("backup", "-q", "--json", "--from", world.url("b"), "--to", str(tmp_path / "place"))
    assert more.value["databases"][world.name("b")]["kind"] == "incremental"
    assert check(place, Catalog(place).databases()).ok


def test_every_night_into_a_place(world: World, tmp_path: Path) -> None:
    """Each stream's snapshot comes to those before it, and each point in time can be restored."""
    states = []
    for night in range(3):
        world.write("b", leaf(f"n{night}", "1-a"))
        done = shell(
            f"set -o pipefail; {backup(world)} | {again('migrator backups copy - place --json -q')}", tmp_path
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["totals"]["snapshots"] == 2
        states.append(world.state("b"))
    place = open_place(str(tmp_path / "place"))
    assert check(place, Catalog(place).databases()).ok
    for night, each in enumerate(Catalog(place).snapshots(world.name("b"))):
        words = ["restore", "-q", "--from", "place", "--database", world.name("b"), "--at", each.snapshot]
        assert run(*words, "--to", f"{world.server}/{world.name('b')}{night}").code == 0
        assert world.state(f"b{night}") == states[night]
    # What came from somewhere else is not mixed with it.
    with FaultProxy(world.server) as proxy:
        done = shell(backup(world).replace(world.server, proxy.url) + " > other.tar", tmp_path)
    done = shell("migrator backups copy - place < other.tar", tmp_path)
    same = Catalog(place).snapshots(world.name("b"))[0].facts.instance_start_time not in {"", "0"}
    assert done.returncode == (0 if same else 2), done.stderr
