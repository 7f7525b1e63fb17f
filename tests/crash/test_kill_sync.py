"""Kill -9 at random moments of a run that carries changes, while a writer writes: the same in the end."""

from __future__ import annotations

import functools
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.support.processes import LIMIT_S, SOON_S, ended, joined, wait_until
from tests.support.seeds import seeds

DOCUMENTS = 800
KILLS = 4
MISSES = 20


class Application:
    """Writes, changes and deletes documents at the source until it is frozen."""

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._chance = random.Random(seed)
        self._frozen = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._revisions: dict[str, str] = {}
        self.failure: BaseException | None = None

    def __enter__(self) -> Application:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.freeze()

    def freeze(self) -> None:
        """Write no more."""
        self._frozen.set()
        joined(self._thread)
        assert self.failure is None, self.failure

    def _work(self) -> None:
        try:
            while not self._frozen.wait(0.02):
                self._step()
        except BaseException as error:  # noqa: BLE001 raised where the application is frozen
            self.failure = error

    def _step(self) -> None:
        docs: list[dict[str, Any]] = []
        for id in {f"w{self._chance.randrange(300):03}" for _ in range(10)}:
            doc: dict[str, Any] = {"_id": id, "n": self._chance.random()}
            if id in self._revisions:
                doc["_rev"] = self._revisions.pop(id)
                doc |= {"_deleted": True} if self._chance.random() < 0.3 else {}
            docs.append(doc)
        status, rows = support.request("POST", f"{self._url}/_bulk_docs", {"docs": docs})
        assert status in {201, 202}, rows
        deleted = {doc["_id"] for doc in docs if "_deleted" in doc}
        self._revisions |= {row["id"]: row["rev"] for row in rows if row["id"] not in deleted}


@pytest.fixture
def urls(server_url: str, second_url: str, database_prefix: str) -> Iterator[tuple[str, str]]:
    """A source of documents, and a target that is not there yet."""
    pair = support.filled_pair(server_url, second_url, f"{database_prefix}a", DOCUMENTS)
    yield pair
    support.request("DELETE", pair[1])


def generations(url: str) -> dict[str, int]:
    server, _, name = url.rpartition("/")
    return {id: int(rev.partition("-")[0]) for id, rev in support.revisions(server, name).items()}


@pytest.mark.parametrize("seed", seeds(1, 4))
@pytest.mark.parametrize("mode", ["--since-last", "--follow"])
def test_killed_again_and_again(urls: tuple[str, str], tmp_path: Path, mode: str, seed: int) -> None:
    """Killed at random places, in the first copy and after, no document is lost, doubled or brought back."""
    chance = random.Random(seed)
    command = [
        sys.executable,
        "-m",
        "migrator",
        "run",
        "--from",
        urls[0],
        "--to",
        urls[1],
        "--checkpoint",
        "cp.json",
    ]
    command += ["--batch-docs", "50", "--quiet", "--json"]
    killed = missed = 0
    with Application(urls[0], seed):
        # A round that is over before it is killed says nothing: another follows, as there is always more to carry.
        while killed < KILLS and missed < MISSES:
            before = _read(tmp_path / "cp.json")
            pipe = subprocess.PIPE
            with ended(
                subprocess.Popen([*command, mode], cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
            ) as process:
                # A kill before the first step proves nothing; the checkpoint says that one was made.
                wait_until(functools.partial(_has_moved, process, tmp_path / "cp.json", before), pause_s=0.002)
                time.sleep(chance.uniform(0.0, 0.6) / 2**missed)
                process.kill()
                _, err = process.communicate(timeout=SOON_S)
            assert "Traceback" not in err
            assert process.returncode in {0, -signal.SIGKILL}, err
            killed += process.returncode == -signal.SIGKILL
            missed += process.returncode == 0
        assert killed == KILLS
    done = subprocess.run(
        [*command, "--follow", "--until-caught-up", "--verify"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert json.loads(done.stdout)["behind"] == 0
    assert support.contents(urls[0]) == support.contents(urls[1])
    # What nobody changed at the source was written once, whatever was sent twice.
    still = {id: generation for id, generation in generations(urls[1]).items() if id.startswith("d")}
    assert len(still) == DOCUMENTS
    assert set(still.values()) == {1}
    # The target never has more revisions of a document than the source: each write of ours stands for one there.
    source = generations(urls[0])
    assert {id for id, generation in generations(urls[1]).items() if generation > source[id]} == set()
    again = subprocess.run(
        [*command, "--since-last"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert json.loads(again.stdout)["totals"]["read"] == 0


def _has_moved(process: subprocess.Popen[str], path: Path, before: bytes) -> bool:
    return process.poll() is not None or _read(path) != before


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
