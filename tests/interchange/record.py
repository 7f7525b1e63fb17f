"""Records what the tools write of the sample, as the files that the tests read.

    python -m tests.interchange.record http://user:password@host:5984 [couchdb-dump.sh]

Needs an Apache CouchDB, npm and curl. Run it again when a tool has a new release, and read the difference.
"""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from pathlib import Path
from urllib.parse import quote

import urllib3

from tests.interchange.sample import as_json, fill, leaves
from tests.interchange.tools import Tools
from tests.support import request

DATA = Path(__file__).parents[1] / "data" / "interchange"


def main(server: str, couchdb_dump: str | None) -> None:
    """Fill a database, let every tool dump it, and remove it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = os.environ.get("MIGRATOR_PEERS", scratch)
        tools = Tools(Path(folder), server, Path(couchdb_dump).resolve() if couchdb_dump else None)
        tools.install()
        full, bare, filled = names = [f"t{uuid.uuid4().hex[:12]}" for _ in range(3)]
        DATA.mkdir(exist_ok=True)
        try:
            fill(server, full)
            fill(server, bare, attachments=False)
            fill(server, filled, empty=False)
            record(tools, full, bare, filled)
        finally:
            for name in names:
                request("DELETE", f"{server}/{name}")


def record(tools: Tools, full: str, bare: str, filled: str) -> None:
    """One file a tool and a way of calling it."""
    write("leaves.ndjson", as_json(leaves(tools.server, full)).encode())
    small = ["--buffer-size", "4", "--parallelism", "1"]
    write("couchbackup-2.11.12.backup", tools.couchbackup("2.11.12", bare, *small))
    write("couchbackup-2.11.12-shallow.backup", tools.couchbackup("2.11.12", bare, "--mode", "shallow"))
    write("couchbackup-2.11.12-attachments.backup", tools.couchbackup("2.11.12", full, *small, "--attachments"))
    write("couchbackup-2.9.2.backup", tools.couchbackup("2.9.2", bare, *small))
    write("couchbackup-2.9.2-shallow.backup", tools.couchbackup("2.9.2", bare, "--mode", "shallow"))
    for version in ("2.11.12", "2.9.2"):
        write(f"couchbackup-{version}-resumed.backup", resumed(tools, version, bare))
    write("couchdb-python-1.2.dump", tools.couchdb_python_dump(filled))
    write("pouchdb-dump-cli-2.0.6.txt", tools.pouchdb_dump(bare))
    dumps = {
        "all-docs": "_all_docs?include_docs=true&attachments=true",
        "all-docs-stubs": "_all_docs?include_docs=true",
        "all-docs-keys": '_all_docs?include_docs=true&keys=["plain","gone","never"]',
        "changes": "_changes?include_docs=true&attachments=true",
        "changes-all-leaves": "_changes?include_docs=true&attachments=true&style=all_docs",
        "changes-continuous": "_changes?include_docs=true&attachments=true&feed=continuous&timeout=300",
    }
    for name, question in dumps.items():
        write(f"{name}.json", fetched(tools.server, full, question))
    if tools.couchdb_dump:
        file = tools.folder / "couchdb-dump.json"
        tools.couchdb_dump_sh("-b", full, file)
        write("couchdb-dump.json", file.read_bytes())


def resumed(tools: Tools, version: str, database: str) -> bytes:
    """A backup whose last line was torn by a kill, and that was then resumed by the tool itself."""
    log = tools.folder / f"log-{version}"
    log.unlink(missing_ok=True)
    flags = ["--buffer-size", "4", "--parallelism", "1", "--log", str(log)]
    text = tools.couchbackup(version, database, *flags)
    kept, done, _ = log.read_text().rpartition(":d batch")
    assert done
    log.write_text(kept)
    torn = text[: text.rstrip(b"\n").rfind(b"\n") + 1]
    torn = text[: len(torn) + (len(text) - len(torn)) * 2 // 3]
    return torn + tools.couchbackup(version, database, *flags, "--resume")


def fetched(server: str, database: str, question: str) -> bytes:
    """The answer to a GET, as curl would save it."""
    parts = urllib3.util.parse_url(server)
    headers = urllib3.make_headers(basic_auth=parts.auth)
    url = f"{parts.scheme}://{parts.netloc}/{database}/{quote(question, safe='?&=_')}"
    return urllib3.PoolManager().request("GET", url, headers=headers).data


def write(name: str, content: bytes) -> None:
    """Keep a file."""
    (DATA / name).write_bytes(content)
    print(f"{name}: {len(content)} bytes", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
