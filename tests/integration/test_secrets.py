"""Credentials appear nowhere but in the request: every output of every command is searched for them."""

from __future__ import annotations

import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import run_whole
from tests.support.fault_proxy import FaultProxy, Request

USER = "u5er-n0t-secret"
# Raw and awkward characters, as people have them.
PASSWORD = "s3cr3t@p:w/d-7f3a"


def forms() -> list[bytes]:
    """How the password could show: as it is, quoted for a URL, and as a header."""
    quoted = PASSWORD.replace("@", "%40").replace(":", "%3A").replace("/", "%2F")
    header = b64encode(f"{USER}:{PASSWORD}".encode())
    return [PASSWORD.encode(), quoted.encode(), header]


@pytest.fixture
def proxy(server_url: str) -> Iterator[FaultProxy]:
    """A server that fails now and then, so that every kind of message is made."""
    turn = 0

    def plan(_request: Request) -> str | None:
        nonlocal turn
        turn += 1
        return {5: "busy_429", 7: "lost_reply", 9: "odd_500", 11: "torn_json"}.get(turn)

    with FaultProxy(server_url, plan, own_credentials=True) as proxy:
        yield proxy


def everything(folder: Path, output: subprocess.CompletedProcess[str]) -> bytes:
    """All that a command left: both streams and every file."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return b"\n".join([output.stdout.encode(), output.stderr.encode(), *files])


@pytest.mark.parametrize("how", ["url", "environment", "file", "netrc"])
@pytest.mark.parametrize("case", ["answering", "down"])
def test_no_output_holds_the_password(
    how: str,
    case: str,
    tmp_path: Path,
    proxy: FaultProxy,
    database_prefix: str,
    no_credentials: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However credentials are given and whatever goes wrong, no stream and no file shows them."""
    work = tmp_path / "work"
    work.mkdir()
    name = f"{database_prefix}a"
    (work / "source").mkdir()
    (work / "source" / f"{name}.ndjson").write_text('{"_id":"a"}\n{"_id":"_bad"}\n{"_id":"b","__v":1}\n')
    host = proxy.url.rpartition("@")[2].removeprefix("http://")
    if case == "down":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            host = f"127.0.0.1:{free.getsockname()[1]}"
    environ = {"HOME": str(tmp_path)}
    url = f"http://{host}"
    if how == "url":
        url = f"http://{USER}:{PASSWORD}@{host}"
    elif how == "environment":
        environ |= {"COUCHDB_USER": USER, "COUCHDB_PASSWORD": PASSWORD}
    elif how == "file":
        (tmp_path / "password").write_text(PASSWORD + "\n")
        environ |= {"COUCHDB_USER": USER, "COUCHDB_PASSWORD_FILE": str(tmp_path / "password")}
    else:
        (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
        (tmp_path / ".netrc").chmod(0o600)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    job = ["--from", "source", "--to", url, "--checkpoint", "cp.json"]
    seen = b""
    codes = []
    for command in (
        ["plan", *job, "--json"],
        ["run", *job, "--report", "report.json", "--log-level", "debug", "--log-format", "json", "--restart"],
        ["run", *job, "--dry-run", "--log-level", "debug", "--restart"],
        ["verify", "--from", "source", "--to", url, "--log-level", "debug"],
        ["run", "--from", f"{url}/{name}", "--to", "out"],
    ):
        done = run_whole(work, *command)
        codes.append(done.returncode)
        seen += everything(work, done)
        assert "Traceback" not in done.stderr
    for form in forms():
        assert form not in seen
    assert len(seen) > 100
    assert ({5} if case == "down" else {0, 3, 4}) == set(codes)
