"""Each command that fills a database, while that is deleted or replaced: it says so, or everything is there."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests import support
from tests.reliability.soak_jobs import JOBS, Job
from tests.support.commands import run_whole
from tests.support.fault_proxy import FaultProxy, Request

pytestmark = pytest.mark.usefixtures("no_credentials")

COUNT = 300


class Once:
    """A plan that lets one thing happen before the nth request for documents, or before the last look at them."""

    def __init__(self, job: Job, event: str, before: int) -> None:
        self._job, self._event, self._before = job, event, before
        self._writes = 0
        self.happened = False

    def __call__(self, request: Request) -> None:
        """Count, and let it happen."""
        self._writes += request.method == "POST" and request.path.endswith("/_bulk_docs")
        if self._writes >= self._before and not self.happened:
            self.happened = support.request("DELETE", self._job.target)[0] in {200, 202}
            if self.happened and self._event == "replaced":
                # Somebody else's request can be under way; whatever makes the database, it is another one.
                support.request("PUT", self._job.target)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is prepared by a command takes no process of its own here."""

    def call(job: Job, *arguments: str) -> None:
        assert run_whole(job.folder, *arguments).returncode == 0

    monkeypatch.setattr(Job, "call", call)


@pytest.mark.parametrize("before", [2, 4])
@pytest.mark.parametrize("event", ["deleted", "replaced"])
@pytest.mark.parametrize("kind", JOBS)
def test_nothing_is_lost_unsaid(
    server_url: str, database_prefix: str, tmp_path: Path, kind: str, event: str, before: int
) -> None:
    """The run in which it happens ends with 6 and what to do; doing that brings everything there."""
    make, _ = JOBS[kind]
    job = make(server_url, f"{database_prefix}{kind}", tmp_path, Small(7), COUNT)
    job.begin()
    chaos, codes, flag = Once(job, event, before), [], ""
    try:
        with FaultProxy(server_url, chaos) as proxy:
            while 0 not in codes:
                # PouchDB Server can leave a request without an answer whose database is replaced meanwhile.
                words = [*job.arguments(proxy.url), "-q", "--timeout", "8"]
                done = run_whole(tmp_path, *words, *([flag] if flag else []))
                codes.append(done.returncode)
                assert done.returncode in {0, 6}, done.stderr
                if done.returncode:
                    assert "Error: " in done.stderr
                    assert "Type: migrator " in done.stderr or "Run the same command again" in done.stderr
                    assert len(codes) < 4, done.stderr
                flag = job.after(done.returncode)
        assert job.lost(support.documents(*job.target.rsplit("/", 1))) == 0
        # A seeding of this size is one write, so there is no second one to wait for.
        assert codes == ([6, 0] if chaos.happened else [0])
        assert chaos.happened or kind == "seed"
    finally:
        job.remove()


class Small(random.Random):
    """Chooses the smallest batches."""

    def choice(self, seq):  # type: ignore[no-untyped-def]
        """The first."""
        return seq[0]
