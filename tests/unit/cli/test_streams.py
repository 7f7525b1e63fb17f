"""Logs, progress and results that cannot be written: the work is done, and ends with its own exit code."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.cli.streams import SafeStream, safe_streams
from tests.support.backups import local, simple, write
from tests.support.small_disk import NO_COMPILED_FILES

MIGRATOR = f"{shlex.quote(sys.executable)} -m migrator"
REV = "1-967a00dff5e02add41819138abb3284d"
LOST = "Standard output cannot be written: {}. Its text is lost; the work ended as the exit code says.\n"
NAMES = ["plain", "größe", "数据", "𝄞"]
BROKEN = ["2>&-", "2>/dev/full", "2> >(true)", ">&-", ">/dev/full", "> >(true)", ">&- 2>&-", "<&- >&- 2>&-"]
BROKEN += [">/dev/full 2>/dev/full", "2>&1 >/dev/full"]
ASCII = [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}]
ASCII += [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name in NAMES:
        documents = [json.dumps({"_id": f"{name}-{n}", "_rev": REV}) for n in "ab"]
        (folder / f"{name}.ndjson").write_text("\n".join(documents) + "\n")
    return folder


def shell(words: str, folder: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, where `migrator` is the command."""
    root = str(Path(__file__).parents[3])
    limited = NO_COMPILED_FILES if "ulimit -f" in words else {}
    return subprocess.run(
        ["bash", "-c", words.replace("migrator ", f"{MIGRATOR} ", 1)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, **limited, **(environ or {})},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("how", BROKEN)
def test_a_run_is_done_whatever_becomes_of_its_output(source: Path, tmp_path: Path, how: str) -> None:
    """Exit code 0, and each document is at the target."""
    done = shell(f"migrator run --from source --to out --report report.json --transform drop:_rev {how}", tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert sorted(len(path.read_text().splitlines()) for path in (tmp_path / "out").iterdir()) == [2, 2, 2, 2]
    assert json.loads((tmp_path / "report.json").read_text())["ok"]


@pytest.mark.parametrize("how", ["2>&-", ">/dev/full 2>/dev/full", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("verify --from other --to other", 0),
        ("verify --from source/plain.ndjson --to other", 4),
        ("plan --from source --to out", 0),
        ("convert --from source/plain.ndjson --from-format ndjson --format all-docs --to out.json", 0),
        ("run --from nowhere.ndjson --to out", 2),
        ("run --no-such-flag", 2),
        ("plugins", 0),
    ],
)
def test_every_command_ends_with_its_own_code(
    source: Path, tmp_path: Path, command: str, code: int, how: str
) -> None:
    """Also where it fails, and has nobody to tell."""
    other = tmp_path / "other"
    other.mkdir()
    for path in source.iterdir():
        (other / f"{path.stat().st_ino}.ndjson").write_text('{"_id":"x"}\n')
    done = shell(f"migrator {command} {how}", tmp_path)
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize("environ", ASCII, ids=str)
def test_names_that_the_encoding_lacks_are_escaped(source: Path, tmp_path: Path, environ: dict[str, str]) -> None:
    """Table, log and JSON alike; the JSON stays JSON."""
    told = shell("migrator run --from source --to out", tmp_path, environ)
    assert (told.returncode, "Traceback" in told.stderr) == (0, False), told.stderr
    report = shell("migrator run -q --from source --to more --report -", tmp_path, environ)
    names = [os.fsencode(name).decode() for name in json.loads(report.stdout)["collections"]]
    assert (report.returncode, sorted(names)) == (0, sorted(NAMES))


def test_a_result_that_is_lost_is_told(source: Path, tmp_path: Path) -> None:
    """On standard error, with the reason; the reader that went by itself is told nothing."""
    full = shell("migrator run -q --json --from source --to out >/dev/full", tmp_path)
    assert (full.returncode, full.stderr) == (
        0,
        LOST.format("No space left on device"),
    )
    gone = shell("migrator completion bash > >(true)", tmp_path)
    assert (gone.returncode, gone.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    ["ls orders", "ls", "find a", "find n=77", "diff 9000-01-01", "cat orders a", "history orders a", "show"],
)
def test_what_only_prints_has_failed_where_its_text_is_lost(tmp_path: Path, words: str) -> None:
    """`cat … > file` on a full disk must not look well; a reader that had enough is no failure."""
    write(local(tmp_path / "b"), [simple(1)], database="a")
    leaf = simple(2)._replace(id="a", body=b'{"_id":"a","_rev":"1-a"}', rev="1-a")
    write(local(tmp_path / "b"), [leaf])
    command = f"migrator backups {words} --from b"
    for form in ("", "--json"):
        full = shell(f"{command} {form} >/dev/full", tmp_path)
        if not (form and words in {"find n=77", "diff 9000-01-01"}):
            assert (full.returncode, "No space left on device" in full.stderr) == (5, True), form
            assert full.stderr.count("Standard output cannot be written") == 1
        gone = shell(f"{command} {form} > >(true)", tmp_path)
        assert (gone.returncode, gone.stderr) == (0, "")


def test_a_file_never_gets_the_number_of_a_closed_stream(source: Path, tmp_path: Path) -> None:
    """Else the log would be written into the target."""
    done = shell("migrator run --from source --to out >&- 2>&-", tmp_path)
    assert done.returncode == 0
    for path in (tmp_path / "out").iterdir():
        assert [set(json.loads(line)) for line in path.read_text().splitlines()] == [{"_id"}] * 2


class Failing(io.StringIO):
    """A stream that fails in a way of its own."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, _text: str) -> int:
        """Fail."""
        raise self.error

    def flush(self) -> None:
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        BrokenPipeError(32, "Broken pipe"),
        OSError(5, "Input/output error"),
        OSError(9, "Bad file descriptor"),
        BlockingIOError(11, "later"),
        ValueError("I/O operation on closed file"),
    ],
)
def test_no_failure_of_a_stream_comes_out(error: Exception) -> None:
    """Neither of a write nor of a flush."""
    stream = SafeStream(Failing(error))
    assert stream.write("text") == 4
    stream.flush()
    assert stream.lost


def test_bytes_are_taken_for_text() -> None:
    """As with any text stream; but click's completion writes some."""
    with pytest.raises(TypeError):
        SafeStream(None).write(b"")
    shown = io.StringIO()
    SafeStream(shown).write("größe".encode())
    assert shown.getvalue() == "größe"


def test_the_streams_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever calls the command from Python keeps his own."""
    before = sys.stdout, sys.stderr
    with safe_streams():
        print("shown")
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "shown\n"


def test_a_folder_as_the_target_is_said(source: Path, tmp_path: Path) -> None:
    """On standard error, unless quiet: it might have been meant as a server."""
    said = shell("migrator run --from source --to couchdb", tmp_path)
    assert (said.returncode, str(tmp_path / "couchdb") in said.stderr, "folder" in said.stderr) == (0, True, True)
    quiet = shell("migrator run -q --from source --to other", tmp_path)
    assert (quiet.returncode, quiet.stderr) == (0, "")
