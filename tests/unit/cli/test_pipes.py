"""Pipes, FIFOs and `-` as sources and targets: read and written like files, or refused in words."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from tests.support import commands
from tests.support.processes import joined, started
from tests.unit.cli.test_streams import shell

Pipe = Callable[[bytes], str]
REV = "1-967a00dff5e02add41819138abb3284d"
LINES = b'{"_id":"a","n":1}\n{"_id":"b","n":2}\n'
EXPORT = b'{"metadata":{},"data":{"users":[{"_id":"a"},{"_id":"b"}],"other":{"c":{}}}}'
SINGER = (
    b'{"type":"SCHEMA","stream":"s","schema":{"properties":{"id":{"type":"string"}}},"key_properties":["id"]}\n'
    b'{"type":"RECORD","stream":"s","record":{"id":"a"}}\n{"type":"RECORD","stream":"s","record":{"id":"b"}}\n'
)
LEAVES = b'[{"_id":"a","_rev":"%s"},{"_id":"b","_rev":"%s"}]\n' % (REV.encode(), REV.encode())
# The source's scheme and options, what is in the pipe, more words, and the collections that come out of it.
KINDS = [
    ("", "", LINES, [], {"": {"a", "b"}}),
    ("ndjson:", "", LINES, [], {"": {"a", "b"}}),
    ("", "", LINES.rstrip(), [], {"": {"a", "b"}}),
    ("", "", b"\xef\xbb\xbf" + LINES, [], {"": {"a", "b"}}),
    ("", "", b"", [], {"": set()}),
    ("", "", gzip.compress(LINES, mtime=0), [], {"": {"a", "b"}}),
    ("ndjson:", "", zstandard.compress(LINES), [], {"": {"a", "b"}}),
    ("", "", EXPORT, [], {"users": {"a", "b"}, "other": {"c"}}),
    ("csv:", "", b"_id,x\na,1\nb,2\n", [], {"": {"a", "b"}}),
    ("csv:", "?delimiter=;", b"_id;x\na;1\nb;2\n", [], {"": {"a", "b"}}),
    ("csv:", "", gzip.compress(b"_id,x\na,1\nb,2\n", mtime=0), [], {"": {"a", "b"}}),
    ("mongo:", "", b'{"_id":{"$oid":"5f0000000000000000000001"}}\n', [], {"": {"5f0000000000000000000001"}}),
    ("mongo:", "", b'[{"_id":"a"},{"_id":"b"}]', [], {"": {"a", "b"}}),
    ("elasticdump:", "", b'{"_index":"i","_id":"a","_source":{"x":1}}\n', [], {"": {"a"}}),
    ("singer:", "", SINGER, [], {"s": {"a", "b"}}),
    ("", "", LINES, ["--collection", "people"], {"people": {"a", "b"}}),
    ("", "", EXPORT, ["--collection", "other"], {"other": {"c"}}),
    ("", "", LINES * 1 + b'{"_id":"big","x":"' + b"y" * 300_000 + b'"}\n', [], {"": {"a", "b", "big"}}),
]
KIND_NAMES = [f"{kind[0]}{kind[1]} {number}" for number, kind in enumerate(KINDS)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A function that gives a descriptor's name, from which some bytes can be read once."""
    threads: list[threading.Thread] = []

    def made(content: bytes) -> str:
        reading, writing = os.pipe()

        def write() -> None:
            # A command that refuses the pipe may end before it is written to.
            with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as file:
                file.write(content)

        threads.append(started(write))
        opened.append(reading)
        return f"/dev/fd/{reading}"

    opened: list[int] = []
    yield made
    for descriptor in opened:
        os.close(descriptor)
    joined(*threads)


def fifo(name: str, content: bytes) -> threading.Thread:
    """Make a FIFO that one reader is given some bytes from."""
    os.mkfifo(name)
    return started(lambda: Path(name).write_bytes(content))


def names() -> list[str]:
    """What is in the current folder."""
    return sorted(path.name for path in Path().iterdir())


def ids(folder: Path) -> dict[str, set[str]]:
    """The ids of each file of a folder of NDJSON."""
    return {
        path.stem: {json.loads(line)["_id"] for line in path.read_text().splitlines()} for path in folder.iterdir()
    }


@pytest.mark.parametrize(("scheme", "options", "content", "words", "expected"), KINDS, ids=KIND_NAMES)
def test_a_descriptor_is_read(
    pipe: Pipe, scheme: str, options: str, content: bytes, words: list[str], expected: dict[str, set[str]]
) -> None:
    """As <(…) of a shell gives it."""
    source = f"{scheme}{pipe(content)}{options}"
    ran = commands.run("run", "-q", "--from", source, "--to", "out", *words)
    assert ran.code == 0, ran.output
    assert ids(Path("out")) == {name or "stdin": found for name, found in expected.items()}
    assert names() == ["out"]


@pytest.mark.parametrize(("scheme", "options", "content", "words", "expected"), KINDS, ids=KIND_NAMES)
def test_a_fifo_is_read(
    scheme: str, options: str, content: bytes, words: list[str], expected: dict[str, set[str]]
) -> None:
    """Its name is the collection's."""
    thread = fifo("users", content)
    ran = commands.run("run", "-q", "--from", f"{scheme}users{options}", "--to", "out", *words)
    joined(thread)
    assert ran.code == 0, ran.output
    assert ids(Path("out")) == {name or "users": found for name, found in expected.items()}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("users.ndjson", LINES),
        ("users.jsonl", LINES),
        ("users.ndjson.gz", gzip.compress(LINES, mtime=0)),
        ("users.csv", b"_id\na\nb\n"),
        ("users.tsv", b"_id\tx\na\t1\nb\t2\n"),
        ("users.json", b'{"users":[{"_id":"a"},{"_id":"b"}]}'),
        ("users.json", b'[{"_id":"a"},{"_id":"b"}]'),
    ],
)
def test_the_name_of_a_fifo_says_what_it_is(name: str, content: bytes) -> None:
    """As that of a file does."""
    thread = fifo(name, content)
    ran = commands.run("run", "-q", "--from", name, "--to", "out")
    joined(thread)
    assert (ran.code, ids(Path("out"))) == (0, {"users": {"a", "b"}}), ran.output


@pytest.mark.parametrize(
    "source", ["-", "/dev/stdin", "ndjson:-", "ndjson:/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"]
)
@pytest.mark.parametrize("how", ["cat in.ndjson | {}", "{} < in.ndjson"])
def test_standard_input(tmp_path: Path, source: str, how: str) -> None:
    """From a pipe, and from a file that a shell has opened."""
    (tmp_path / "in.ndjson").write_bytes(LINES)
    line = how.format(f"migrator run -q --from {source} --to out --verify")
    done = shell(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert ids(tmp_path / "out") == {"stdin": {"a", "b"}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.ndjson", "out"]


@pytest.mark.parametrize("target", ["-", "/dev/stdout", "/dev/fd/1"])
def test_documents_go_to_standard_output_alone(tmp_path: Path, target: str) -> None:
    """The table goes to standard error, and the report to its file."""
    (tmp_path / "in.ndjson").write_bytes(LINES)
    words = f"migrator run --from in.ndjson --to {target} --report report.json --transform set:x=y"
    done = shell(f"{words} | cat", tmp_path)
    documents = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert sorted(document["_id"] for document in documents) == ["a", "b"]
    assert len(done.stdout.splitlines()) == 2
    assert "total" in done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["totals"]["written"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.ndjson", "report.json"]


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        (">/dev/full", 5, "No space left"),
        (">&-", 2, "closed"),
        ("> >(true)", 5, "reader has gone"),
    ],
)
def test_documents_that_cannot_be_written_are_an_error(tmp_path: Path, end: str, code: int, words: str) -> None:
    """They are the work, not what is told of it."""
    lines = "".join(f'{{"_id":"{n}","x":"{"y" * 1000}"}}\n' for n in range(2000))
    (tmp_path / "in.ndjson").write_text(lines)
    done = shell(f"migrator run -q --from in.ndjson --to - {end}", tmp_path)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_a_fifo_is_written(tmp_path: Path) -> None:
    """To whoever reads it."""
    Path("in.ndjson").write_bytes(LINES)
    os.mkfifo("sink")
    got: list[bytes] = []
    thread = started(lambda: got.append(Path("sink").read_bytes()))
    assert commands.run("run", "-q", "--from", "in.ndjson", "--to", "sink").code == 0
    joined(thread)
    assert got == [LINES]


def test_one_stream_takes_one_collection() -> None:
    """And says how to choose it."""
    Path("in.json").write_bytes(EXPORT)
    ran = commands.run("run", "-q", "--from", "in.json", "--to", "-")
    assert (ran.code, "--collection NAME" in ran.output) == (2, True)
    ran = commands.run("run", "-q", "--from", "in.json", "--to", "-", "--collection", "other")
    assert (ran.code, ran.output.splitlines()[0]) == (0, '{"_id":"c"}')


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("run --from PIPE --to out --resume", "read once only"),
        ("run --from csv:PIPE --to out --resume --checkpoint c", "read once only"),
        ("verify --from PIPE --to out --resume", "read once only"),
        ("run --from FIFO --to out --verify", "read once only"),
        ("run --from in.ndjson --to - --resume", "cannot be taken up again"),
        ("run --from in.ndjson --to - --verify", "cannot be read back"),
        ("verify --from in.ndjson --to -", "cannot be read back"),
        ("run --from in.ndjson --to - --report -", "both write to standard output"),
        ("run --from in.ndjson --to - --json", "both write to standard output"),
        ("run --from in.ndjson --to out --rejects -", "cannot go to standard output"),
        ("run --from in.ndjson --to out --checkpoint -", "this needs a file"),
        ("run --from in.ndjson --to out --metrics -", "this needs a file"),
        ("verify --from in.ndjson --to out --differences -", "this needs a file"),
        ("verify --from in.ndjson --to out --checkpoint -", "this needs a file"),
        ("plan --from http://a --to http://b --output -", "this needs a file"),
        ("backup --from http://a --to - --full-every 3", "always full"),
        ("backup --from http://a --to - --report -", "both write to standard output"),
        ("snapshot http://a -", "this needs a file"),
        ("convert --from in.ndjson --to out --format all-docs --identity -", "this needs a file"),
        ("run --from PIPE --to out --executor dask://host:1", "read once only"),
        ("run --from in.ndjson --to - --executor dask://host:1", "Workers cannot write"),
        ("run --from /dev/fd/999 --to out", "cannot be read"),
        ("backup --from http://a --to localhost:9000/bucket", "looks like a server"),
        ("backups list --from 192.0.2.7", "looks like a server"),
        ("snapshot http://a http://b", "looks like a server"),
        ("snapshot http://a localhost:5984", "looks like a server"),
        ("seed localhost:5984 --to http://a", "looks like a server"),
        ("convert --from localhost:5984/db --to out --format all-docs", "looks like a server"),
        ("convert --from in.ndjson --to localhost:5984/db", "looks like a server"),
        ("retry in.ndjson --to localhost:5984", "looks like a server"),
        ("verify --from in.ndjson --to localhost:5984", "looks like a server"),
        ("verify --from localhost:5984/db --to out", "looks like a server"),
        ("plan --from localhost:5984 --to http://a", "looks like a server"),
        ("restore --from in --to localhost:5984", "looks like a server"),
        ("doctor localhost:5984", "looks like a server"),
        ("wait localhost:5984", "looks like a server"),
        ("compact localhost:5984", "looks like a server"),
        ("secure localhost:5984/db --user u", "looks like a server"),
        ("replicate list localhost:5984", "looks like a server"),
        ("replicate set-up --from localhost:5984/a --to http://a/b", "looks like a server"),
    ],
)
def test_what_a_stream_cannot_do_is_said(pipe: Pipe, words: str, meant: str) -> None:
    """Exit code 2, at once, nothing read or written; and nothing makes a file called -."""
    Path("in.ndjson").write_bytes(LINES)
    os.mkfifo("fifo")
    here = words.replace("PIPE", str(pipe(b""))).replace("FIFO", "fifo")
    ran = commands.run(*here.split())
    assert (ran.code, meant in ran.output) == (2, True), ran.output
    assert names() == ["fifo", "in.ndjson"]


@pytest.mark.parametrize("source", ["in", "PIPE", "FIFO", "-"])
@pytest.mark.parametrize("target", ["out", "-", "SINK"])
def test_convert_reads_and_writes_streams(tmp_path: Path, source: str, target: str) -> None:
    """The result's line goes where the documents do not."""
    (tmp_path / "in").write_bytes(LEAVES)
    start = {"PIPE": "", "FIFO": "mkfifo fifo; (cat in > fifo &); ", "-": "cat in | "}.get(source, "")
    name = {"PIPE": "<(cat in)", "FIFO": "fifo"}.get(source, source)
    sink = "/dev/stdout" if target == "SINK" else target
    words = f"migrator convert -q --json --from {name} --to {sink} --format ndjson"
    done = shell(f"{start}{words}", tmp_path)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "out").read_text() if target == "out" else done.stdout
    assert [json.loads(line)["_id"] for line in written.splitlines()] == ["a", "b"]
    result = json.loads((done.stdout if target == "out" else done.stderr).splitlines()[-1])
    assert result["rejected"] == 0
    assert not (tmp_path / "-").exists()


def test_a_stream_is_verified_against_what_is_there(pipe: Pipe) -> None:
    """It is read once for that."""
    assert commands.run("run", "-q", "--from", pipe(LINES), "--to", "out").code == 0
    assert commands.run("verify", "-q", "--from", pipe(LINES), "--to", "out").code == 0
    other = pipe(b'{"_id":"a","n":9}\n')
    ran = commands.run("verify", "-q", "--from", other, "--to", "out")
    assert (ran.code, "differ" in ran.output) == (4, True)
    assert names() == ["out"]


def test_rejects_come_from_a_pipe(pipe: Pipe) -> None:
    """`jq … rejects.ndjson | migrator retry -`."""
    line = {"collection": "c", "id": "a", "stage": "load", "error": "x", "reason": "", "document": {"_id": "a"}}
    source = pipe(json.dumps(line).encode() + b"\n")
    ran = commands.run("retry", "-q", source, "--to", "out")
    assert (ran.code, ids(Path("out"))) == (0, {"c": {"a"}}), ran.output


def test_a_fault_names_the_stream_and_not_its_copy(pipe: Pipe) -> None:
    """In the reject file and in errors."""
    source = pipe(b'{"_id":"a"}\nnothing\n')
    ran = commands.run("run", "-q", "--from", source, "--to", "out", "--rejects", "rejects")
    assert ran.code == 3
    reason = json.loads(Path("rejects").read_text().splitlines()[0])["reason"]
    assert reason.startswith(f"{source}:2")
    ran = commands.run("run", "-q", "--from", pipe(b"\x1f\x8bnothing"), "--to", "out")
    assert ran.code == 2
    assert "migrator-stream" not in ran.output


def test_a_stream_that_ends_early_is_not_gone_on_with(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice of a run from a pipe is one that can be followed."""
    source = pipe(b'{"_id":"a"}\nnothing\n')
    ran = commands.run("run", "-q", "--from", source, "--to", "out", "--rejects", "r", "--max-errors", "0")
    assert ran.code == 3
    assert "--resume" not in ran.output
    assert names() == ["out", "r"]


def test_nothing_is_left_of_a_copy(tmp_path: Path) -> None:
    """Neither of a run that ends well nor of one that does not."""
    (tmp_path / "temporary").mkdir()
    environ = {"TMPDIR": str(tmp_path / "temporary")}
    for content in ("_id\\na\\n", "_id,_id\\n"):
        shell(f"printf '{content}' | migrator run -q --from csv:- --to out", tmp_path, environ)
        shell(f"migrator run -q --from csv:<(printf '{content}') --to out", tmp_path, environ)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_standard_input_that_is_closed_is_an_error(tmp_path: Path) -> None:
    """It is not empty: nobody gave it."""
    done = shell("migrator run -q --from - --to out <&-", tmp_path)
    assert (done.returncode, "closed" in done.stderr) == (2, True), done.stderr


def test_a_folder_for_copies_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipe: Pipe
) -> None:
    """As every file that cannot be written."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    ran = commands.run("run", "-q", "--from", pipe(LINES), "--to", "out")
    assert (ran.code, "TMPDIR" in ran.output) == (2, True), ran.output


def test_a_copy_that_has_no_room_is_told(tmp_path: Path) -> None:
    """As every file that cannot be written."""
    done = shell("head -c 3000000 /dev/zero | (ulimit -f 1000; migrator run -q --from - --to out)", tmp_path)
    assert (done.returncode, "TMPDIR" in done.stderr) == (5, True), done.stderr


def test_a_signal_ends_the_waiting_for_a_pipe(tmp_path: Path) -> None:
    """A FIFO that nobody writes to, and an open pipe that nothing comes from."""
    os.mkfifo(tmp_path / "fifo")
    for line in (
        "migrator run -q --from fifo --to out",
        # Open for writing too, by the shell, so that its end never comes.
        "exec 3<>fifo; migrator run -q --from - --to out <&3",
    ):
        done = shell(f"{line} & while kill -INT $! 2>/dev/null; do sleep 0.2; done; wait $!", tmp_path)
        assert done.returncode == 130, (line, done.stderr)
