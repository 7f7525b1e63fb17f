"""Backups through a pipe and copies of places, killed anywhere: what is left is refused or whole, and goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.backup.catalog import Catalog
from migrator.backup.check import check
from migrator.backup.format.cipher import PLAIN, open_cipher
from migrator.backup.storage.base import open_place
from migrator.errors import DamagedBackup
from tests import support
from tests.support.backup_world import World
from tests.support.backups import TINY, PlainAttachment, read, simple, unpacked, write
from tests.support.leaf_states import leaf
from tests.support.processes import LIMIT_S, ended
from tests.unit.backup.test_cipher import new_key
from tests.unit.cli.test_streams import shell

MIGRATOR = [sys.executable, "-m", "migrator"]
# What a pipe holds that nobody has read.
PIPE_BYTES = 65_536
COPYING = """
import sys
from migrator.cli import main
from tests.crash.self_kill import kill_before_effect

kill_before_effect(int(sys.argv.pop(1)), sys.argv.pop(1))
main()
"""


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_backup_through_a_pipe_that_is_killed(
    server_url: str, database_prefix: str, tmp_path: Path, number: int
) -> None:
    """Whatever of it had come is refused, and says at which byte it ends; nothing is written to the server."""
    world = World(server_url, database_prefix, tmp_path)
    rng = random.Random(5)
    for name in "ab":
        files = {f"f{each}": rng.randbytes(150_000) for each in range(3)}
        world.make(name, leaf("x", "1-a", files=files), *(leaf(f"d{n}", "1-a") for n in range(50)))
    words = ["backup", "-q", "--from", server_url, "--database", f"{database_prefix}[ab]", "--to", "-"]
    whole = subprocess.run([*MIGRATOR, *words], capture_output=True, check=True, timeout=LIMIT_S, cwd=tmp_path)
    assert len(unpacked(whole.stdout, tmp_path / "whole").names()) > 4
    stopped = 0
    for attempt in range(6):
        taken = rng.randrange(1, len(whole.stdout) - PIPE_BYTES - 2_000)
        source, sink = os.pipe()
        command = subprocess.Popen([*MIGRATOR, *words], stdout=sink, stderr=subprocess.PIPE, cwd=tmp_path)
        with ended(command) as process, os.fdopen(source, "rb") as pipe:
            os.close(sink)
            # It waits for a reader, before its end.
            data = pipe.read(taken)
            process.send_signal(number)
            # At a terminal, Ctrl-C ends the reader as well.
            alone = number == signal.SIGINT and attempt % 2
            data += b"" if alone else pipe.read()
            pipe.close()
            assert process.stderr is not None
            said = process.stderr.read().decode()
            code = process.wait(LIMIT_S)
        if code == 0:
            # Asked to stop when nothing was left but to write what had been read.
            assert number == signal.SIGINT
            assert not alone
            unpacked(data, tmp_path / str(attempt))
            continue
        assert code == (130 if number == signal.SIGINT else -number)
        stopped += 1
        if code == 130:
            assert "The stream has no end" in said.splitlines()[-1]
            assert "Continue" not in said
        (tmp_path / "cut.tar").write_bytes(data)
        with pytest.raises(DamagedBackup, match=f"Standard input ends at byte {len(data):,}, "):
            unpacked(data, tmp_path / str(attempt))
    assert stopped >= (6 if number == signal.SIGKILL else 2)
    names = f"--map {world.name('a')}={world.name('c')} --map {world.name('b')}={world.name('d')}"
    done = shell(f"migrator restore -q --from - --to {server_url} {names} < cut.tar", tmp_path)
    assert done.returncode == 4
    assert support.request("GET", world.url("c"))[0] == 404


@pytest.mark.parametrize("sealed", [False, True])
def test_a_copy_that_is_killed_and_run_again(tmp_path: Path, sealed: bool) -> None:
    """What is listed is whole at every moment; in the end all is there, and nothing that a killed run left."""
    source = open_place(str(tmp_path / "source"))
    photo = PlainAttachment("photo", random.Random(7).randbytes(2_000))
    full = write(source, [simple(n, 1, *([photo] if n % 9 == 0 else [])) for n in range(40)], **TINY)
    write(source, [simple(n, 2) for n in range(0, 40, 3)], full, **TINY)
    write(source, [simple(1)], database="users")
    public, key = new_key(tmp_path)
    cipher = open_cipher(identity_file=str(key)) if sealed else PLAIN
    target = str(tmp_path / "target")
    words = ["backups", "copy", "-q", source.describe(), target, *(("--recipient", public) if sealed else ())]
    rng = random.Random(6)
    kills = 0
    for attempt in range(40):
        effect = str(rng.randrange(2, 120) if attempt < 14 else 0)
        command = [sys.executable, "-c", COPYING, effect, target, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        assert done.returncode in {0, -9}, done.stderr
        kills += done.returncode == -9
        place = open_place(target)
        names = Catalog(place).databases()
        assert check(place, names, cipher).ok
        if done.returncode == 0:
            break
    assert kills >= 5
    assert names == ["orders", "users"]
    for name in names:
        ours, copied = Catalog(source).snapshots(name), Catalog(place, cipher).snapshots(name)
        assert [read(source, each) for each in ours] == [read(place, each, cipher) for each in copied]
    files = {file.name for name in names for each in Catalog(place).snapshots(name) for file in each.files}
    assert {path.name for path in Path(target).rglob("*") if path.is_file()} == {
        *files,
        *("manifest.json", ".manifest-copy.json", "orders.json", "users.json"),
    }
