"""Large documents at the target are read one by one: 30 of 5 MB need the memory of few."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.couch.revision import revision_after
from tests.support.processes import LIMIT_S
from tests.support.stub_server import Asked, Reply, StubServer, recorded_reply

DOCUMENTS = 30
BYTES = 5_000_000
# The command itself takes some 70 MB; all documents would be 150 MB as text, and several times that as values.
MAX_KB = 300_000
TEXT = b'"' + b"x" * BYTES + b'"'
NUMBERS = b"[" + b",".join([b"1234567"] * (BYTES // 8)) + b"]"
REV = "1-0123456789abcdef0123456789abcdef"


class LargeCouch:
    """A database full of large documents, which are never held more than once."""

    def __init__(self, value: bytes, *, one_line: bool) -> None:
        self._value = value
        self._end = b"" if one_line else b"\n"
        self.one_line = one_line
        self.read = 0

    def answer(self, asked: Asked) -> Reply:
        """One request."""
        path = asked.path.partition("?")[0]
        if path == "/":
            return recorded_reply("welcome")
        if path.endswith("_bulk_docs"):
            return Reply(201, [_outcome(doc) for doc in asked.json["docs"]])
        if path.endswith("_all_docs"):
            keys = asked.json.get("keys") if asked.body else None
            return Reply(200, chunks=tuple(self._rows(keys, with_docs="include_docs=true" in asked.path)))
        if path.count("/") == 1:
            info = {"db_name": "db", "doc_count": DOCUMENTS, "doc_del_count": 0, "props": {}, "update_seq": "1"}
            return Reply(200, {**info, "instance_start_time": "1"})
        return Reply(404, {"error": "not_found", "reason": "missing"})

    def _rows(self, keys: list[str] | None, *, with_docs: bool) -> Iterator[bytes]:
        yield b'{"total_rows":30,"offset":0,"rows":[' + self._end
        ids = ids_of() if keys is None else keys
        for place, id in enumerate(ids):
            head = json.dumps({"id": id, "key": id, "value": {"rev": REV}}, separators=(",", ":")).encode()[:-1]
            comma = b"," if place < len(ids) - 1 else b""
            if with_docs:
                self.read += 1
                yield head + b',"doc":{"_id":"%b","_rev":"%b","v":' % (id.encode(), REV.encode())
                yield self._value
                yield b"}}" + comma + self._end
            else:
                yield head + b"}" + comma + self._end
        yield b"]}\n"


def ids_of() -> list[str]:
    """In order."""
    return [f"d{n:03}" for n in range(DOCUMENTS)]


def _outcome(doc: dict[str, Any]) -> dict[str, Any]:
    if "_rev" in doc:
        return {"ok": True, "id": doc["_id"], "rev": revision_after(json.dumps(doc), doc["_rev"])}
    return {"id": doc["_id"], "error": "conflict", "reason": "Document update conflict."}


# What a process needed before it became another program counts as that one's, so a small one starts it and looks.
MEASURE = """
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "migrator", *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, file=sys.stderr)
"""


def peak_kb(folder: Path, *arguments: str) -> tuple[int, int]:
    """Run the command; its exit code and the most memory that it held."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COUCHDB_")}
    environ |= {"HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-S", "-c", MEASURE, *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=LIMIT_S)
    code, kb = done.stderr.splitlines()[-1].split()
    return int(code), int(kb)


COMMANDS: dict[str, Callable[[str, str], list[str]]] = {
    "run": lambda source, target: ["run", "--from", source, "--to", target],
    "run overwriting": lambda source, target: [
        "run",
        "--from",
        source,
        "--to",
        target,
        "--on-conflict",
        "overwrite",
    ],
    "verify": lambda source, target: ["verify", "--from", source, "--to", target],
}


@pytest.mark.parametrize(
    ("command", "value", "one_line"),
    [
        ("run", TEXT, False),
        ("run", TEXT, True),
        ("run overwriting", NUMBERS, False),
        ("verify", TEXT, True),
        ("verify", NUMBERS, False),
    ],
    ids=["run-text", "run-text-one line", "overwriting-numbers", "verify-text-one line", "verify-numbers"],
)
def test_large_documents_at_the_target(
    command: str, value: bytes, one_line: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source's are small and others, so each of the target's is read, and none of them is kept."""
    monkeypatch.chdir(tmp_path)
    Path("db.ndjson").write_text("".join(f'{{"_id":"{id}","v":0}}\n' for id in ids_of()), encoding="utf-8")
    couch = LargeCouch(value, one_line=one_line)
    with StubServer(couch.answer) as server:
        code, kb = peak_kb(tmp_path, *COMMANDS[command]("db.ndjson", f"{server.url}/db"), "-q")
    assert code == {"run": 3, "run overwriting": 0, "verify": 4}[command]
    assert couch.read >= DOCUMENTS
    assert kb < MAX_KB
