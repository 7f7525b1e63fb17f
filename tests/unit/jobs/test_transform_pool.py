"""Transforming in other processes: the same documents, faults and numbers in order, and no way to hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrator import transformers
from migrator.codec import VALUE_CODECS
from migrator.errors import ConfigError, Interrupted, MigratorError
from migrator.jobs.transform_pool import CHUNK, TransformPool
from migrator.model import Batch, BatchLimits, Fault, Record
from migrator.pipeline.batching import Assembly, batches
from tests.support.fakes import FakeExtractor, Item
from tests.support.processes import ended
from tests.support.seeds import examples

SEED = "00" * 16
USER_CODE = """
import os, sys, time
def change(document):
    if document.get("_id") == "slow":
        time.sleep(30)
    if document.get("_id") == "kill":
        os.kill(os.getpid(), 9)
    if document.get("_id") == "exit":
        sys.exit(3)
    if document.get("_id") == "bad":
        raise ValueError("no zlotys")
    if document.get("_id") == "set":
        document["tags"] = {1, 2}
    if document.get("_id") == "out":
        return None
    if document.get("_id") == "list":
        return [1]
    if document.get("_id") == "b":
        print("a word on standard output")
    document["changed"] = document.get("n", 0) * 2
    document["pid"] = 0 if "pid" not in document else os.getpid()
    return document
"""
SPECS = ("pool_user_code:change", "drop:secret")


@pytest.fixture(autouse=True)
def user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module of the user's own in the working folder."""
    (tmp_path / "pool_user_code.py").write_text(USER_CODE)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("pool_user_code", None)


def pool_of(
    workers: int = 2, specs: tuple[str, ...] = SPECS, stopping: threading.Event | None = None
) -> TransformPool:
    """A pool for these transformers."""
    return TransformPool(
        workers, specs, codec="plain", seed=SEED, started_ms=0, stopping=stopping or threading.Event()
    )


def assembly_of(pool: TransformPool | None, specs: tuple[str, ...] = SPECS) -> Assembly:
    """An assembly that names places and screens, with a pool or without."""
    transform = transformers.compose([transformers.parse(spec, seed=bytes(16)) for spec in specs])

    def screen(id: str, _top: object, _body: bytes) -> Fault | None:
        return Fault("unwanted", "screened out", id) if id == "unwanted" else None

    return Assembly(transform, screen, VALUE_CODECS["plain"], lambda position: f"line {position}", pool)


def moved(items: list[Item], assembly: Assembly) -> list[Batch]:
    """All batches of a list."""
    records = FakeExtractor({"c": items}).extract("c")
    return list(batches("c", records, assembly, lambda: BatchLimits(7, 4_000_000)))


def text(id: str, number: int = 0) -> bytes:
    """A document's text."""
    return b'{"_id": "%s", "n": %d, "secret": 1, "big": 123456789012345678901, "f": 1.0}' % (id.encode(), number)


ODD: list[Item] = [
    *(text(id) for id in ("bad", "out", "list", "unwanted", "é😀", "_design/x", "a", "")),
    *(b"{torn", b"[]", b'{"_id": 7}', b'{"no": "id"}', b'{"_id": "a\\ud800"}', b'{"_id": "set"}'),
    Fault("odd", "odd", "f"),
]
items = st.lists(st.one_of(st.sampled_from(ODD), st.builds(text, st.just("d"), st.integers(0, 9))), max_size=40)


@pytest.fixture
def two_processes() -> Iterator[TransformPool]:
    """A pool for many runs: its processes take longer to start than to work."""
    pool = pool_of()
    yield pool
    pool.close()


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=items)
def test_all_is_as_without_a_pool(two_processes: TransformPool, found: list[Item]) -> None:
    """Every body, count, position and reject, whatever comes, with several processes at work."""
    assert moved(found, assembly_of(None)) == moved(found, assembly_of(two_processes))


def test_order_is_kept_over_many_chunks() -> None:
    """More chunks than processes, some with nothing to do for anybody: one after the other as they were read."""
    found: list[Item] = [text(f"d{number:05}", number) for number in range(12 * CHUNK.max_docs)]
    found[3 * CHUNK.max_docs : 4 * CHUNK.max_docs] = [Fault("odd", str(n)) for n in range(CHUNK.max_docs)]
    pool = pool_of(3)
    try:
        assert moved(found, assembly_of(None)) == moved(found, assembly_of(pool))
        assert len(pool._processes._started) == 3
    finally:
        pool.close()


def test_is_done_elsewhere() -> None:
    """The user's function runs in another process than this one, and no more than asked for."""
    found: list[Item] = [b'{"_id": "d%d", "pid": 1}' % number for number in range(10 * CHUNK.max_docs)]
    pool = pool_of(2)
    try:
        bodies = [document.body for batch in moved(found, assembly_of(pool)) for document in batch.documents]
    finally:
        pool.close()
    pids = {body.rpartition(b":")[2] for body in bodies}
    assert str(os.getpid()).encode() + b"}" not in pids
    assert 1 <= len(pids) <= 2


@pytest.mark.parametrize(("id", "how"), [("kill", "signal 9"), ("exit", "exit code 3")])
def test_a_process_that_ends_is_an_error(id: str, how: str) -> None:
    """What the documents before it were is not doubtful, the run ends, and the error says what happened."""
    pool = pool_of(2)
    try:
        with pytest.raises(MigratorError, match=f"ended by itself \\({how}\\)") as raised:
            moved([text("a"), text(id), text("b")], assembly_of(pool))
        assert "--resume" in raised.value.hint
    finally:
        pool.close()


def test_stops_while_a_function_takes_its_time() -> None:
    """Whoever stops the run waits neither for the function nor for its process."""
    stopping = threading.Event()
    pool = pool_of(1, stopping=stopping)
    threading.Timer(1.0, stopping.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        moved([text("slow")], assembly_of(pool))
    (worker,) = pool._processes._started
    pool.close()
    assert time.monotonic() - began < 15
    assert worker._process.returncode is not None


def test_signals_are_the_other_process_s_affair() -> None:
    """Ctrl-C reaches the whole group of processes; what is on its way is finished all the same."""
    pool = pool_of(1)
    try:
        assert moved([text("a")], assembly_of(pool))
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pool._processes._started[0]._process.pid, number)
        assert moved([text("b")], assembly_of(pool))[0].documents[0].id == "b"
    finally:
        pool.close()


def test_processes_do_not_outlive_a_killed_one(tmp_path: Path) -> None:
    """SIGKILL of the command leaves no process that still transforms, not even one that never comes back."""
    lines = "\n".join([text("a").decode(), text("slow").decode()])
    (tmp_path / "c.ndjson").write_text(lines + "\n")
    command = [sys.executable, "-m", "migrator", "run", "--from", "c.ndjson", "--to", "out"]
    command += ["--transform", SPECS[0], "--transform-workers", "1"]
    with ended(subprocess.Popen(command, stderr=subprocess.DEVNULL)) as run:
        children: list[str] = []
        deadline = time.monotonic() + 30
        while not children and time.monotonic() < deadline:
            children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
            for task in Path(f"/proc/{run.pid}/task").iterdir():
                children += (task / "children").read_text().split()
        assert children
        time.sleep(1.0)
        run.kill()
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_python_s_own_objects_are_refused() -> None:
    """What would have to be encoded first would be another thing for a transformer."""
    pool = pool_of()
    with pytest.raises(ConfigError, match="takes sources of JSON texts"):
        moved([{"_id": "a"}], assembly_of(pool))
    pool.close()


def test_what_cannot_be_imported_there_is_said() -> None:
    """A process that cannot begin gives the reason, and not a hang."""
    pool = pool_of(1, ("pool_no_such_module:change",))
    with pytest.raises(ConfigError, match="pool_no_such_module"):
        moved([text("a")], assembly_of(pool))
    pool.close()


def test_large_texts_go_alone() -> None:
    """A chunk is bounded by bytes, so that what waits is."""
    large = b'{"_id": "d", "pad": "%s"}' % (b"x" * 400_000)
    pool = pool_of(2)
    try:
        records = [Record(number, text=large) for number in range(5)]
        found = list(pool(records, assembly_of(pool)))
        assert [record.position for record in found] == [0, 1, 2, 3, 4]
        assert all(record.encoded and len(record.encoded.body) > 400_000 for record in found)
    finally:
        pool.close()
