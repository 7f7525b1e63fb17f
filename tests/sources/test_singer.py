"""Singer: the messages of a tap as a source, and this product as a target."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from migrator.checkpoint.reject_file import RejectFile
from migrator.codec.rejected import field_in_text
from migrator.config import JobConfig
from migrator.errors import CheckpointError, ConfigError, TransientError
from migrator.extractors.singer import SingerExtractor
from migrator.integrations.singer import SingerTarget
from migrator.jobs.dispatch import StreamWriter
from migrator.testing import DOCUMENTS, ExtractorContract, Source
from tests import support
from tests.contract.test_extractors import Local
from tests.sources.killing import killed_and_resumed
from tests.sources.record import DATA
from tests.sources.record import TAP as TAP_VERSION
from tests.support.processes import LIMIT_S, ended

pytestmark = pytest.mark.usefixtures("no_credentials")


def schema(stream: str, *key: str) -> dict[str, Any]:
    """A SCHEMA message."""
    return {"type": "SCHEMA", "stream": stream, "schema": {"properties": {}}, "key_properties": list(key)}


def record(stream: str, content: Any) -> dict[str, Any]:
    """A RECORD message."""
    return {"type": "RECORD", "stream": stream, "record": content, "time_extracted": "2024-02-29T00:00:00Z"}


def state(value: Any) -> dict[str, Any]:
    """A STATE message."""
    return {"type": "STATE", "value": value}


def batch(stream: str, path: Path, documents: Sequence[Any], *, packed: bool = True) -> dict[str, Any]:
    """A BATCH message, with its file."""
    text = "".join(f"{json.dumps(document)}\n" for document in documents).encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    encoding = {"format": "jsonl", "compression": "gzip" if packed else "none"}
    return {"type": "BATCH", "stream": stream, "encoding": encoding, "manifest": [path.as_uri()]}


def lines(*messages: Mapping[str, Any]) -> str:
    """As a tap writes them."""
    return "".join(f"{json.dumps(message)}\n" for message in messages)


class TestSingerFile(ExtractorContract):
    """Of a file in which the streams take turns, with records alone and with batches."""

    @pytest.fixture(params=["records", "batches"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Source:
        """One file."""
        messages = [schema(name, "_id") for name in DOCUMENTS]
        for number in range(40):
            for name, documents in DOCUMENTS.items():
                messages += [record(name, document) for document in documents[number : number + 1]]
            messages.append(state({"number": number}))
        if request.param == "batches":
            messages = [schema(name, "_id") for name in DOCUMENTS]
            for name, documents in DOCUMENTS.items():
                messages.append(batch(name, tmp_path / f"{name} 1.gz", documents[:3]))
                messages.append({"type": "ACTIVATE_VERSION", "stream": name, "version": 1})
                messages.append(batch(name, tmp_path / f"{name}2", documents[3:], packed=False))
        path = tmp_path / "tap.ndjson"
        path.write_text(lines(*messages))
        return Local(lambda names: SingerExtractor(str(path), collections=names))


def test_what_is_no_tap_is_refused(tmp_path: Path) -> None:
    """Text, an unknown message, a batch of another form, a foreign position."""
    path = tmp_path / "tap"
    cases = {
        "hello\n": "Singer tap",
        lines({"type": "RECORD", "record": {}}): "names no stream",
        '{"type": "STATE", "value": NaN}\n': "Singer tap",
        '{"type": "RECORD", "strea\n': "Singer tap",
        lines({"type": "WHAT"}): "not a kind of message",
        lines(
            schema("a"), {"type": "BATCH", "stream": "a", "encoding": {"format": "csv"}, "manifest": []}
        ): "jsonl",
    }
    for text, words in cases.items():
        path.write_text(text)
        extractor = SingerExtractor(str(path))
        with pytest.raises(ConfigError, match=words):
            list(extractor.extract(extractor.collections()[0]))
    with pytest.raises(ConfigError, match="no file"):
        SingerExtractor(str(tmp_path / "none"))
    for position in ("x", "1:1.x", "900:1"):
        with pytest.raises(CheckpointError):
            list(SingerExtractor(str(path)).extract("a", after=position))


@pytest.mark.parametrize(
    "line",
    [
        "INFO starting sync",
        '{"type": "RECORD", "record": {"id": 7}}',
        '{"type": "RECORD", "strea',
        '{"type": "WHAT"}',
        "null",
        "[1]",
        '{"type": "SCHEMA", "stream": "s", "key_properties": 7}',
    ],
)
def test_what_a_tap_prints_by_mistake_is_one_reject(tmp_path: Path, line: str) -> None:
    """Named with its line and its text, in the stream before it; the records around it are read."""
    path = tmp_path / "tap"
    path.write_text(lines(schema("s", "id"), record("s", {"id": 1})) + line + "\n" + lines(record("s", {"id": 2})))
    found = list(SingerExtractor(str(path)).extract("s"))
    assert [each.document and each.document["_id"] for each in found] == ["1", None, "2"]
    fault = found[1].fault
    assert fault is not None
    assert (fault.error, fault.document) == ("not_a_message", line.encode())
    assert f"{path}:3" in fault.reason


# Lines of a stream s whose key is id, with the id that each shows.
BROKEN = [
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":NaN}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":Infinity}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":-Infinity}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":1e400}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":[{"y":-1e999}]}}', "7"),
    (b'{"record": {"x": [NaN], "id": 7}, "stream": "s", "type": "RECORD"}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"x":' + b"9" * 5000 + b',"id":7}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":"\xff"}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":"\xed\xa0\x80"}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":"a\x01"}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":"\\q"}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":undefined}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":01}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":1}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7,"x":', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":"7","x":"unfin', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7}}}', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":7}} {"type":"RECORD"', "7"),
    (b'{"type":"RECORD","stream":"s","record":{"id":NaN}}', ""),
    (b'{"type":"RECORD","stream":"s","record":{"id":"\xff"}}', ""),
    (b'{"type":"RECORD","stream":"s","record":{"x":{"id":7},"y":NaN}}', ""),
    (b'{"type":"RECORD","stream":"s","record":', ""),
    (b'{"type":"RECORD","stream":"s"', ""),
    (b'{"type":"RECORD","stream":"s","record":[NaN]}', ""),
    (b'{"type":"RECORD","stream":"s","record":null}', ""),
    (b'{"type":"RECORD","stream":"s","record":{"other":1}}', ""),
    (b'{"type":"RECORD","stream":"s","record":{"id":null}}', ""),
    (b'{"type":"RECORD","stream":"s","record":{"id":{"a":1}}}', ""),
]


@pytest.mark.parametrize(("line", "id"), BROKEN)
def test_a_record_that_is_no_document_is_a_reject_of_its_own(tmp_path: Path, line: bytes, id: str) -> None:
    """What comes before and after is given, the id is named where the line shows it."""
    path = tmp_path / "tap"
    around = [lines(record("s", {"id": n})).encode() for n in (1, 2)]
    path.write_bytes(lines(schema("s", "id")).encode() + around[0] + line + b"\n" + around[1])
    extractor = SingerExtractor(str(path))
    assert list(extractor.collections()) == ["s"]
    first, second, third = extractor.extract("s")
    assert (first.document, third.document) == ({"id": 1, "_id": "1"}, {"id": 2, "_id": "2"})
    assert second.fault is not None
    assert second.fault.id == id
    assert second.fault.reason.startswith(f"{path}:3: ")
    assert list(SingerExtractor(str(path)).extract("s", after=second.position)) == [third]
    if id:
        # Put right by hand, it is that document.
        assert second.fault.document.startswith(b'{"_id": "7", ')


@pytest.mark.parametrize(("line", "id"), BROKEN)
def test_a_line_of_a_batch_that_is_no_document_is_a_reject(tmp_path: Path, line: bytes, id: str) -> None:
    """As a record of its own is; its file and line are named."""
    content = field_in_text(line, "record").encode("utf-8", "surrogateescape")
    if not content:
        content = b"{"
    message = batch("s", tmp_path / "b", [{"id": 1}, {"id": 2}], packed=False)
    (tmp_path / "b").write_bytes(b'{"id":1}\n' + content + b'\n{"id":2}\n')
    (tmp_path / "tap").write_text(lines(schema("s", "id"), message))
    first, second, third = SingerExtractor(str(tmp_path / "tap")).extract("s")
    assert (first.document, third.document) == ({"id": 1, "_id": "1"}, {"id": 2, "_id": "2"})
    if second.fault is None:
        # What was broken was the message and not the record in it.
        assert second.document is not None
        assert second.document["_id"] == "7"
        return
    assert second.fault.id == id
    assert second.fault.reason.startswith(f"{tmp_path}/b:2: ")


@pytest.mark.parametrize(
    "line",
    [
        '\ufeff{"type":"SCHEMA","stream":"s","schema":{},"key_properties":["id"]}',
        '{"type":"SCHEMA","stream":"s","schema":{"properties":{"x":{"default":NaN}}},"key_properties":["id"]}',
        '{"key_properties":["id"],"schema":{"maximum":1e400},"stream":"s","type":"SCHEMA"}',
        '{"type":"SCHEMA","stream":"s","schema":{"description":"a\x01"},"key_properties":["id"]}\r',
        '{"type":"SCHEMA","stream":"s","schema":{"description":"\udcff"},"key_properties":["id"]}',
    ],
)
def test_of_a_schema_only_its_key_counts(tmp_path: Path, line: str) -> None:
    """Values that are none elsewhere in it, and what Windows puts before a file, end nothing."""
    text = f'{line}\n{{"type":"ACTIVATE_VERSION","stream":"s","version":NaN}}\n{lines(record("s", {"id": 7}))}'
    (tmp_path / "tap").write_bytes(text.encode("utf-8", "surrogateescape"))
    (found,) = SingerExtractor(str(tmp_path / "tap")).extract("s")
    assert found.document == {"id": 7, "_id": "7"}


def test_a_record_before_its_schema_is_a_reject(tmp_path: Path) -> None:
    """Its key is not known; those after the SCHEMA are given, and so is another stream."""
    path = tmp_path / "tap"
    path.write_text(
        lines(record("s", {"id": 1}), schema("s", "id"), record("s", {"id": 2}), record("t", {"id": 3}))
    )
    extractor = SingerExtractor(str(path))
    assert list(extractor.collections()) == ["s", "t"]
    found = [
        each.fault.error if each.fault else each.document for name in "st" for each in extractor.extract(name)
    ]
    assert found == ["no_schema", {"id": 2, "_id": "2"}, "no_schema"]


@pytest.mark.parametrize("key", [[], None, "absent"])
def test_a_stream_without_a_key_gets_ids_by_content(key: Any, tmp_path: Path) -> None:
    """The same record has the same id whenever it comes, another record another; its own _id is kept."""
    message = schema("s") | {"key_properties": key}
    if key == "absent":
        del message["key_properties"]
    contents: list[Any] = [
        {"a": 1, "b": [2]},
        {"b": [2], "a": 1},
        {"a": 1, "b": [2], "_sdc_batched_at": "2024-01-01"},
        {"a": 1, "b": [2], "_rev": "1-x"},
        {"a": 1.0, "b": [2]},
        {"a": "1", "b": [2]},
        {},
        {"_id": "own", "a": 1},
    ]
    path = tmp_path / "tap"
    path.write_text(lines(message, *(record("s", content) for content in contents)))
    ids = [each.document["_id"] for each in SingerExtractor(str(path)).extract("s") if each.document]
    assert len(ids[0]) == 64
    assert len(set(ids[:4])) == 1
    assert len(set(ids)) == 5
    assert ids[-1] == "own"


def test_a_stream_without_a_key_is_written_once(tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """A tap that starts again with its last STATE finds its records unchanged."""
    name = f"{database_prefix}rows"
    for _ in range(2):
        fed = Fed(server_url, tmp_path)
        fed(schema(name), record(name, {"a": 1}), record(name, {"a": 2}), record(name, {"a": 1}), state({"at": 3}))
        assert fed.states == [{"at": 3}]
    assert len(support.documents(server_url, name)) == 2


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """After SIGKILL in the middle and --resume, every record is at the target once."""
    (tmp_path / "tap").write_text(lines(schema("a", "n"), *(record("a", {"n": n}) for n in range(12_000))))
    found = killed_and_resumed("singer:tap", tmp_path)
    assert [document["_id"] for document in found] == [str(n) for n in range(12_000)]


def test_another_key_holds_from_its_schema_on(tmp_path: Path) -> None:
    """A tap may say another SCHEMA in the middle; going on before it, the records have the key that they had."""
    path = tmp_path / "tap"
    contents = [{"a": n, "b": f"b{n}"} for n in range(4)]
    first, second = ([record("s", content) for content in some] for some in (contents[:2], contents[2:]))
    path.write_text(lines(schema("s", "a"), *first, schema("s", "b", "a"), *second, schema("s")))
    records = list(SingerExtractor(str(path)).extract("s"))
    assert [each.document and each.document["_id"] for each in records] == ["0", "1", "b2:2", "b3:3"]
    for number, each in enumerate(records, 1):
        assert list(SingerExtractor(str(path)).extract("s", after=each.position)) == records[number:]


def test_a_published_taps_messages_are_written(tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """What tap-csv-folder of Meltano's SDK wrote: its records are there, its last state is given back."""
    messages = []
    for line in (DATA / f"tap-csv-folder-{TAP_VERSION}.ndjson").read_text().splitlines():
        message = json.loads(line)
        if "stream" in message:
            message["stream"] = database_prefix + message["stream"]
        messages.append(message)
    renamed = ["path=file", "line_number=line", "modified_at=modified"]
    spec = "rename:" + ",".join(f"_sdc_{pair}" for pair in renamed)
    done = command(server_url, tmp_path, lines(*messages), "--transform", spec)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [m["value"] for m in messages if m["type"] == "STATE"][-1]
    people = support.plain(support.documents(server_url, f"{database_prefix}people"))
    assert {document["id"]: document["note"] for document in people.values()} == {"1": "a\nb", "2": "", "3": "007"}
    assert "files/people.csv:3" in people
    assert len(support.documents(server_url, f"{database_prefix}orders")) == 2


def test_standard_input_is_a_source_too(tmp_path: Path) -> None:
    """A tap can be piped into a run, into a folder even."""
    text = lines(schema("a", "x", "y"), record("a", {"x": "1:2", "y": 3}), record("a", {"x": 1}))
    command = [
        sys.executable,
        "-m",
        "migrator",
        "run",
        "--from",
        "singer:-",
        "--to",
        "out",
        "-q",
        "--rejects",
        "r",
    ]
    done = subprocess.run(
        command, input=text, cwd=tmp_path, text=True, capture_output=True, check=False, timeout=LIMIT_S
    )
    assert done.returncode == 3, done.stderr
    assert json.loads((tmp_path / "out" / "a.ndjson").read_text()) == {"x": "1:2", "y": 3, "_id": "1%3A2:3"}
    assert json.loads((tmp_path / "r").read_text())["error"] == "no_key"


class Fed:
    """A target that is fed messages, with the states that it gave back."""

    def __init__(self, url: str, folder: Path, **options: Any) -> None:
        self.states: list[Any] = []
        config = JobConfig(target=url, on_conflict="overwrite")
        self._rejects = RejectFile(folder / "rejects.ndjson")
        self.target = SingerTarget(
            config, self._rejects, lambda text: self.states.append(json.loads(text)), **options
        )

    def __call__(self, *messages: Mapping[str, Any]) -> None:
        """Take them all."""
        try:
            self.target.run(io.BytesIO(lines(*messages).encode()))
        finally:
            self._rejects.close()


def test_records_are_written_and_the_last_state_is_given_back(
    tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """Streams go to databases, a later record of a key replaces an earlier one, and states come when settled."""
    users, empty = f"{database_prefix}users", f"{database_prefix}empty"
    fed = Fed(server_url, tmp_path, piece_records=3)
    fed(
        schema(users, "id"),
        schema(empty, "id"),
        state({"at": 0}),
        record(users, {"id": 1, "name": "Ada", "deep": {"list": [1, None]}}),
        record(users, {"id": 2, "name": "Bob"}),
        state({"at": 2}),
        record(users, {"id": 1, "name": "Ada L."}),
        state({"at": 3}),
        record(users, {"id": 3, "name": "Zoë"}),
        state({"at": 4}),
        batch(users, tmp_path / "b.gz", [{"id": 4}, {"id": 5}]),
    )
    found = support.plain(support.documents(server_url, users))
    assert found == {
        "1": {"_id": "1", "id": 1, "name": "Ada L."},
        "2": {"_id": "2", "id": 2, "name": "Bob"},
        "3": {"_id": "3", "id": 3, "name": "Zoë"},
        "4": {"_id": "4", "id": 4},
        "5": {"_id": "5", "id": 5},
    }
    assert support.documents(server_url, empty) == {}
    assert fed.states == [{"at": 2}, {"at": 4}]
    assert fed.target.counts.as_dict() | {"written": 0, "unchanged": 0, "proven": 0} == {
        "read": 6, "written": 0, "unchanged": 0, "skipped": 0, "filtered": 0, "rejected": 0, "conflicts": 1,
        "proven": 0, "altered": 0,
    }  # fmt: skip


def test_no_state_is_given_back_for_what_is_not_settled(
    tmp_path: Path, server_url: str, database_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the target fails, the states since the last piece that was settled are kept from the tap."""
    name = f"{database_prefix}a"
    honest = StreamWriter.write
    pieces = 0

    def failing(self: StreamWriter, records: Any) -> Any:
        nonlocal pieces
        pieces += 1
        if pieces > 1:
            raise TransientError("gone")
        return honest(self, records)

    monkeypatch.setattr(StreamWriter, "write", failing)
    fed = Fed(server_url, tmp_path, piece_records=2)
    messages = [message for n in range(6) for message in (record(name, {"k": str(n)}), state(n))]
    with pytest.raises(TransientError):
        fed(schema(name, "k"), *messages)
    assert fed.states == [0]


def test_time_passing_ends_a_piece(tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """A tap that trickles gets its state back before there are records enough for a piece."""
    name = f"{database_prefix}a"
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 20
        return now

    fed = Fed(server_url, tmp_path, clock=clock)
    messages = [message for n in range(3) for message in (record(name, {"k": str(n)}), state(n))]
    fed(schema(name, "k"), *messages)
    assert fed.states[-1] == 2
    assert len(fed.states) >= 2


def command(url: str, folder: Path, text: str, *more: str) -> subprocess.CompletedProcess[str]:
    """The command, fed a text."""
    return subprocess.run(
        [sys.executable, "-m", "migrator", "singer-target", "--to", url, "-q", *more],
        input=text,
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
        timeout=LIMIT_S,
    )


def test_the_command(tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """Standard output has states and nothing else; rejects are 3, and are settled too."""
    name = f"{database_prefix}a"
    text = lines(schema(name, "k"), record(name, {"k": "a"}), record(name, {"no": "key"}), state({"é": 2**70}))
    done = command(server_url, tmp_path, text, "--transform", "set:x=1")
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout) == {"é": 2**70}
    assert "1 document" in done.stderr
    assert support.plain(support.documents(server_url, name)) == {"a": {"_id": "a", "k": "a", "x": 1}}
    assert json.loads((tmp_path / "migrator-singer.rejects.ndjson").read_text())["error"] == "no_key"
    broken = lines(schema(name, "k"), record(name, {"k": "b"}), state(1)) + "torn {\n"
    done = command(server_url, tmp_path, broken)
    assert (done.returncode, done.stdout) == (3, "1\n"), done.stderr
    torn = json.loads((tmp_path / "migrator-singer.rejects.ndjson").read_text().splitlines()[-1])
    assert (torn["error"], torn["collection"]) == ("not_a_message", name)
    assert "standard input:4" in torn["reason"]
    assert command(server_url, tmp_path, "torn {\n").returncode == 2
    assert sorted(support.documents(server_url, name)) == ["a", "b"]
    done = command("out", tmp_path, "")
    assert done.returncode == 2
    assert "server" in done.stderr


TAP = """
import json, sys, time
begin = json.loads(sys.argv[2])
print(json.dumps({"type": "SCHEMA", "stream": sys.argv[1], "schema": {}, "key_properties": ["n"]}))
for n in range(begin, 3000):
    print(json.dumps({"type": "RECORD", "stream": sys.argv[1], "record": {"n": n}}))
    if n % 10 == 9:
        print(json.dumps({"type": "STATE", "value": n + 1}), flush=True)
"""


def test_a_killed_target_goes_on_from_the_last_state(
    tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """Killed at any moment, and the tap started from the last state that was given back: every record is there."""
    name = f"{database_prefix}a"
    (tmp_path / "tap.py").write_text(TAP)
    program = (
        "import sys; from migrator.integrations import singer; singer.PIECE_SECONDS = 0.1\n"
        "from migrator.cli import main; main()"
    )
    last = 0
    kills = 0
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", program, "singer-target", "--to", server_url, "-q"]
    while True:
        tap_words = [sys.executable, "tap.py", name, str(last)]
        with (
            ended(subprocess.Popen(tap_words, cwd=tmp_path, stdout=pipe)) as tap,
            ended(subprocess.Popen(words, cwd=tmp_path, stdin=tap.stdout, stdout=pipe)) as target,
        ):
            assert tap.stdout is not None
            assert target.stdout is not None
            tap.stdout.close()
            given = []
            if kills < 2:
                given.append(target.stdout.readline())
                time.sleep(0.02)
                os.kill(target.pid, signal.SIGKILL)
                kills += 1
            given += target.stdout.read().splitlines()
            code = target.wait(LIMIT_S)
        states = [int(line) for line in given if line.strip()]
        assert states == sorted(states)
        last = states[-1] if states else last
        if code == 0:
            break
        # What was vouched for is there.
        assert set(map(str, range(last))) <= set(support.documents(server_url, name))
    assert kills == 2
    assert last == 3000
    assert sorted(map(int, support.documents(server_url, name))) == list(range(3000))
