"""A disk that is full, over its quota or closed: one sentence, exit code 5, nothing left, and on it goes."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import json
import os
import secrets
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.support import leaf_states
from tests.support.commands import Ran, run
from tests.support.leaf_states import leaf
from tests.support.small_disk import limited

pytestmark = pytest.mark.usefixtures("no_credentials")

# By name: the words of a command that writes below `there`, with NAME before names of databases.
COMMANDS: dict[str, str] = {
    "run": "run -q --from in --to there/out --checkpoint ck",
    "run, checkpoint": "run -q --from in --to out --checkpoint there/ck",
    "run, rejects": "run -q --from bad --to out --checkpoint ck --rejects there/r",
    "run, report": "run -q --from in --to out --checkpoint ck --report there/r.json",
    "run, sorted": "run -q --from in --to URL --map docs=NAMEsorted --sort always --checkpoint there/ck",
    "report": "report r.json --html there/page.html",
    "convert": "convert -q --from URL/NAMEa --to there/x --format ndjson",
    "convert, gzip": "convert -q --from URL/NAMEa --to there/x.gz --format ndjson",
    "convert, zstd": "convert -q --from URL/NAMEa --to there/x.zst --format ndjson",
    "convert, couchbackup": "convert -q --from URL/NAMEa --to there/x --format couchbackup",
    "convert, all-docs": "convert -q --from URL/NAMEa --to there/x --format all-docs",
    "convert, bulk-docs": "convert -q --from URL/NAMEa --to there/x --format bulk-docs",
    "convert, couchdb-python": "convert -q --from URL/NAMEa --to there/x --format couchdb-python",
    "convert, pouchdb": "convert -q --from URL/NAMEa --to there/x --format pouchdb",
    "convert, changes": "convert -q --from URL/NAMEa --to there/x --format changes",
    "backup": "backup -q --from URL/NAMEa --to there/bk",
    "backup, report": "backup -q --from URL/NAMEa --to bk --report there/r.json",
    "snapshot": "snapshot -q URL there/fixtures --collection NAMEa",
    "snapshot, ndjson": "snapshot -q URL there/fixtures --collection NAMEa --format ndjson",
    "verify, differences": "verify -q --from in --to URL --map docs=NAMEempty --differences there/d",
    "verify, report": "verify -q --from in --to URL --map docs=NAMEempty --report there/d",
    "verify, checkpoint": "verify -q --from in --to URL --map docs=NAMEempty --checkpoint there/ck",
    "plan": "plan-server -q --from URL --to URL --database NAMEa --map NAMEa=NAMEz --no-users "
    "--output there/plan.json",
    "secure": "secure -q URL/NAMEa --user NAMEUSER --password-file there/pw",
}
# So long a file may be, where a part is written before it fails.
ROOM_BYTES = {
    **{name: 20_000 for name in COMMANDS if name.startswith("convert")},
    "run": 20_000,
    "run, rejects": 3_000,
    "run, sorted": 5_000,
    "backup": 20_000,
    "snapshot, ndjson": 10_000,
    "verify, differences": 5_000,
    "verify, report": 5_000,
}
# Here no part of a small file may be written, and nothing else is.
SMALL = ("run, checkpoint", "report", "plan", "secure", "verify, checkpoint", "backup, report")
# What an interrupted run goes on from; everything else is gone.
DOCUMENTS = [{"_id": f"d{number:04}", "x": secrets.token_hex(100)} for number in range(300)]
STAYS = {"run": {"out", "out/docs.ndjson.part"}, "run, sorted": {"ck"}}
FOLDERS = {"backup"}


@pytest.fixture(scope="module")
def prefix(server_url: str) -> Iterator[str]:
    """Of databases that all tests here read; what they make begins with it too, and is removed with them."""
    prefix = f"t{uuid.uuid4().hex[:12]}_"
    for name in ("a", "empty"):
        leaf_states.make(server_url, f"{prefix}{name}")
    leaf_states.write(server_url, f"{prefix}a", *(leaf(each["_id"], "1-a", x=each["x"]) for each in DOCUMENTS))
    yield prefix
    for name in support.get(f"{server_url}/_all_dbs"):
        if name.startswith(prefix):
            support.request("DELETE", f"{server_url}/{name}")
    for row in support.rows(server_url, "_users"):
        if row["id"].startswith(f"org.couchdb.user:{prefix}"):
            support.request("DELETE", f"{server_url}/_users/{row['id']}?rev={row['value']['rev']}")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a source and a report, and a folder `there` for what is written."""
    monkeypatch.chdir(tmp_path)
    for name in ("in", "bad", "there"):
        Path(name).mkdir()
    Path("in/docs.ndjson").write_text("".join(json.dumps(each) + "\n" for each in DOCUMENTS))
    Path("bad/docs.ndjson").write_text('{"_id":"a"}\n' + "{no\n" * 50)
    assert run("run", "-q", "--from", "in", "--to", "first", "--report", "r.json").code == 0
    return tmp_path


@pytest.fixture
def command(server_url: str, prefix: str) -> Callable[[str, bool], Ran]:
    """Runs one of the commands; a user is this test's own."""
    user = uuid.uuid4().hex[:12]

    def ran(name: str, again: bool) -> Ran:
        words = COMMANDS[name].replace("URL", server_url).replace("NAME", prefix).replace("USER", user).split()
        more = ["--resume"] if again and "--checkpoint" in words else []
        return run(*words, *more, with_errors=True)

    return ran


def below(folder: Path) -> set[str]:
    """All that is there."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def check(world: Path, name: str, ran: Ran, reason: str) -> None:
    """One sentence, the exit code of a target that cannot be used, and nothing half done."""
    assert ran.code == 5, ran.output
    assert "there" in ran.output
    assert f"cannot be written: {reason}." in ran.output
    full = {os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)}
    assert ("Make room" in ran.output) is (reason in full)
    assert "then run the same command again" in ran.output or "then go on with --resume" in ran.output
    left = below(world / "there") - STAYS.get(name, set())
    if name in FOLDERS:
        left = {each for each in left if (world / "there" / each).is_file()}
    assert left == set()


def goes_on(name: str, ran: Ran) -> None:
    """With room, the same command ends as it does where there is no trouble."""
    assert ran.code == (3 if name == "run, rejects" else 4 if name.startswith("verify") else 0), ran.output


@contextlib.contextmanager
def closed(folder: Path, number: int) -> Iterator[None]:
    """Whatever is to be made or written below a folder fails."""
    with pytest.MonkeyPatch.context() as patch:

        def guarded(real: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
            def call(path: Any, *words: Any, **named: Any) -> Any:
                inside = isinstance(path, str | os.PathLike) and folder in (Path.cwd() / path).parents
                if inside and writes(*words, **named):
                    raise OSError(number, os.strerror(number), os.fspath(path))
                return real(path, *words, **named)

            return call

        def opens(mode: str = "r", *_: Any, **__: Any) -> bool:
            return bool(set(mode) & set("wax+"))

        patch.setattr(os, "open", guarded(os.open, lambda flags, *_, **__: flags & (os.O_WRONLY | os.O_RDWR) != 0))
        patch.setattr(os, "mkdir", guarded(os.mkdir, lambda *_, **__: True))
        patch.setattr(io, "open", guarded(io.open, opens))
        patch.setattr(builtins, "open", guarded(builtins.open, opens))
        yield


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_is_closed(world: Path, command: Callable[[str, bool], Ran], name: str, number: int) -> None:
    """Nothing can be made there."""
    with closed(world / "there", number):
        ran = command(name, False)
    check(world, name, ran, os.strerror(number))
    goes_on(name, command(name, True))


@pytest.mark.parametrize("name", [*ROOM_BYTES, *SMALL])
def test_a_disk_that_gets_full(world: Path, command: Callable[[str, bool], Ran], name: str) -> None:
    """Files can be made there, and not as long as they are to be."""
    with limited(ROOM_BYTES.get(name, 10)):
        ran = command(name, False)
    check(world, name, ran, os.strerror(errno.EFBIG))
    goes_on(name, command(name, True))


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC], ids=errno.errorcode.get)
def test_metrics_that_cannot_be_written(world: Path, server_url: str, prefix: str, number: int) -> None:
    """They are said and make no good run a bad one."""
    source = f"{server_url}/{prefix}a"
    with closed(world / "there", number):
        ran = run("backup", "-q", "--from", source, "--to", "bk", "--metrics", "there/m.prom", with_errors=True)
    assert ran.code == 0
    assert f"there/m.prom cannot be written: {os.strerror(number)}." in ran.output
    assert below(world / "there") == set()


def test_an_old_file_stays_when_there_is_no_room(world: Path, command: Callable[[str, bool], Ran]) -> None:
    """Reports, pages and fixtures are replaced whole or not at all."""
    for name in ("run, report", "report", "snapshot", "plan"):
        assert command(name, True).code == 0
    before = {path: path.read_bytes() for path in Path("there").rglob("*") if path.is_file()}
    assert len(before) > 300
    for path in ("out", "ck"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            Path(path).unlink()
    for name in ("run, report", "report", "snapshot", "plan"):
        with limited(10):
            assert command(name, True).code == 5, name
    assert before == {path: path.read_bytes() for path in Path("there").rglob("*") if path.is_file()}
