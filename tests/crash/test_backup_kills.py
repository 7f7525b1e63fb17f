"""Kill backups and restores at any moment: what is there is whole, and in the end it is everything, once."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.backup.catalog import snapshot_folder
from migrator.backup.storage.base import open_place
from tests import support
from tests.support.backup_world import World
from tests.support.commands import run
from tests.support.leaf_states import leaf, random_leaves
from tests.support.processes import LIMIT_S, SOON_S, ended, wait_until
from tests.support.seeds import seeds

pytestmark = pytest.mark.usefixtures("no_credentials")

DOCUMENTS = 800
MAX_KILLS = 12


@pytest.fixture
def world(server_url: str, database_prefix: str, tmp_path: Path) -> World:
    """A database of some size, with conflicts, tombstones and attachments in it."""
    world = World(server_url, database_prefix, tmp_path)
    rng = random.Random(1)
    world.make("a", *random_leaves(3, ids=40))
    world.write("a", *(leaf(f"e{n:04}", "1-a", text=rng.randbytes(100).hex()) for n in range(DOCUMENTS)))
    return world


def start(world: World, what: str, to: str = "") -> subprocess.Popen[bytes]:
    """Begin a run."""
    words = [what, world.server, world.place, world.name("a"), world.name(to), str(world.rejects)]
    return subprocess.Popen([sys.executable, "-m", "tests.crash.backup_child", *words], stderr=subprocess.PIPE)


def killed(
    process: subprocess.Popen[bytes], progress: Callable[[], int], more: int, is_through: Callable[[], bool]
) -> bool:
    """Kill a run when it has come on by so much; False when it was through before, and ended well."""
    begin = progress()
    with ended(process):
        wait_until(
            lambda: process.poll() is not None or progress() >= begin + more, timeout_s=LIMIT_S, pause_s=0.002
        )
        # It stands still while we look: a kill after its last effect would meet a run that is through.
        process.send_signal(signal.SIGSTOP)
        if process.poll() is None and not is_through():
            process.kill()
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=SOON_S)
    if process.returncode == -signal.SIGKILL:
        return True
    assert process.returncode == 0, errors.decode()
    return False


@pytest.mark.parametrize("seed", seeds(1, 4))
def test_kills_leave_no_half_backup_and_lose_nothing(world: World, seed: int) -> None:
    """Full and incremental runs are killed until they are through, while the database goes on changing."""
    rng = random.Random(seed)
    place = Path(world.place)

    def files() -> int:
        # A run removes folders while we look; this walk does not mind.
        return sum(name.startswith("segment-") for _, _, names in os.walk(place) for name in names)

    kills = 0
    for chain in range(2):
        for _ in range(MAX_KILLS):
            before = len(world.snapshots("a"))
            assert before == chain
            through = functools.partial(lambda count: len(world.snapshots("a")) > count, before)
            if not killed(start(world, "backup"), files, rng.randrange(8), through):
                break
            kills += 1
            assert len(world.snapshots("a")) == before
            # A document before the position, one after it, and a new one.
            ids = (f"e{rng.randrange(100):04}", f"e{rng.randrange(700, 800):04}", f"f{kills}")
            world.write("a", *(leaf(id, f"2-{rng.randrange(16**8):08x}", "1-a", kills=kills) for id in ids))
        else:
            assert world.backup("a").exit_code == 0
        assert len(world.snapshots("a")) == chain + 1
        world.write("a", *(leaf(f"e{n:04}", f"3-{chain}", "2-x", "1-a", n=n) for n in range(0, DOCUMENTS, 2)))
    assert kills >= 4
    assert world.backup("a").exit_code == 0
    there = {path.name for path in place.rglob("*") if path.name.startswith("progress")}
    assert there == set()
    assert world.restored("a", "b") == world.state("a")


def test_a_backup_to_an_object_store_is_killed_and_goes_on(world: World, bucket: str) -> None:
    """A killed run's lock is not a hindrance, nothing half looks like a backup, and the end is whole and tidy."""
    world.at = bucket
    rng = random.Random(5)

    def names() -> list[str]:
        return open_place(bucket).names()

    def durable() -> int:
        found = names()
        # Until there is something to go on from, the next run starts over.
        begun = any(name.endswith("/progress.json") for name in found)
        return sum("/segment-" in name for name in found) if begun else 0

    kills = 0
    for _ in range(3):
        process = start(world, "backup")
        if not killed(process, durable, rng.randrange(1, 9), lambda: bool(world.snapshots("a"))):
            break
        kills += 1
        assert world.snapshots("a") == []
        assert durable()
        world.write("a", leaf(f"e{kills:04}", f"2-{kills}", "1-a", kills=kills), leaf(f"f{kills}", "1-a"))
    else:
        assert world.backed_up("a").numbers["resumed"]
    assert kills >= 2
    assert world.backup("a").exit_code == 0
    assert [each.kind for each in world.snapshots("a")] == ["full", "incremental"]
    listed = set()
    for each in world.snapshots("a"):
        files = [file.name for segment in each.segments for file in (segment, segment.index)]
        listed |= {f"{snapshot_folder(each.database, each.snapshot)}/{name}" for name in ("manifest.json", *files)}
    assert set(names()) == listed
    assert run("backups", "check", "-q", "--from", bucket).code == 0
    assert world.restored("a", "b") == world.state("a")


@pytest.mark.parametrize("seed", seeds(1, 4))
@pytest.mark.parametrize("made_by_an_admin", [False, True])
def test_killed_restores_go_on_until_all_is_there(world: World, seed: int, made_by_an_admin: bool) -> None:
    """The same command again writes what is missing; in the end source and copy are equal."""
    rng = random.Random(seed)
    security = {"admins": {"names": ["ann"], "roles": []}, "members": {"names": [], "roles": ["staff"]}}
    assert support.request("PUT", f"{world.server}/{world.name('a')}/_security", security)[0] == 200
    if made_by_an_admin:
        world.make("b")
    world.write("a", leaf("_design/last", "1-a", views={}))
    assert world.backup("a").exit_code == 0

    def documents() -> int:
        status, info = support.request("GET", f"{world.server}/{world.name('b')}")
        return int(info["doc_count"]) if status == 200 else -1

    kills = 0
    for _ in range(MAX_KILLS):
        if not killed(start(world, "restore", "b"), documents, rng.randrange(250), lambda: False):
            break
        kills += 1
    else:
        assert world.restore("a", "b").exit_code == 0
    assert kills >= 2
    assert world.state("b") == world.state("a")
    assert support.security(f"{world.server}/{world.name('b')}") == security
    result = world.restore("a", "b").databases[0]
    assert (result.numbers["written"], result.numbers["unchanged"]) == (0, len(world.state("a")))
