"""Records what other programs write of a small sample, as the files that the tests read.

    python -m tests.sources.record

Needs npm, and a network for it and pip. elasticdump asks a stand-in that answers as Elasticsearch does, so what
it makes of the answers is its own. Run it again when a program has a new release, and read the difference.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data" / "exports"
ELASTICDUMP = "6.125.1"
TAP = "0.0.1a1"
# What is easily lost on the way: a quote, a line separator, digits, an emptiness.
HITS: list[dict[str, Any]] = [
    {"_id": "1", "_source": {"name": "Zoë", "deep": {"list": [1, {"x": None}]}}},
    {"_id": "a b/c", "_source": {"text": 'tab \t, quote ", separator \u2028', "float": 1.0, "tiny": 1e-7}},
    {"_id": "é\U0001f600", "_source": {}, "_routing": "r1"},
    {"_id": "big", "_source": {"n": 9007199254740993, "exact": 2**63 - 1}},
    {"_id": "own", "_source": {"_id": "own", "n": 1}},
]
PEOPLE = 'id,name,note\r\n1,Zoë,"a\nb"\r\n2,"q""q",\r\n3,x,007\r\n'
ORDERS = "country,no\r\na:b,1\r\nc,2\r\n"
PAGE_HITS = 2


def main() -> None:
    """Run the programs, and keep what they write."""
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(os.environ.get("MIGRATOR_PEERS", scratch))
        record_elasticdump(folder)
        record_tap(folder)


def record_elasticdump(folder: Path) -> None:
    """Hits, hits packed, and bare sources."""
    folder.mkdir(exist_ok=True)
    npm = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts", "--prefix", str(folder)]
    subprocess.run([*npm, f"elasticdump@{ELASTICDUMP}"], check=True)
    dump = folder / "node_modules" / ".bin" / "elasticdump"
    ways: dict[str, list[str]] = {
        "hits.json": [],
        "source-only.json": ["--sourceOnly"],
        "hits.json.gz": ["--fsCompress"],
        "big-int.json": ["--support-big-int"],
    }
    with elasticsearch() as url:
        for name, flags in ways.items():
            output = DATA / f"elasticdump-{ELASTICDUMP}-{name}"
            output.unlink(missing_ok=True)
            command = [str(dump), "--input", f"{url}/orders", "--output", str(output), "--type", "data", "--quiet"]
            subprocess.run([*command, "--limit", str(PAGE_HITS), *flags], check=True)


@contextmanager
def elasticsearch() -> Iterator[str]:
    """A server that has one index, and gives it by scrolling."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer: dict[str, Any] = {"version": {"number": "8.15.0"}}
            if "scroll" in self.path:
                begin = 0 if "/_search?" in self.path else pages.pop(0)
                if not begin:
                    pages[:] = [*range(PAGE_HITS, len(HITS) + PAGE_HITS, PAGE_HITS)]
                hits = [{"_index": "orders", "_score": 1, **hit} for hit in HITS[begin : begin + PAGE_HITS]]
                total = {"value": len(HITS), "relation": "eq"}
                answer = {"_scroll_id": "s", "took": 1, "timed_out": False, "hits": {"total": total, "hits": hits}}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = do_any  # noqa: N815 the names that the library calls

    pages: list[int] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def record_tap(folder: Path) -> None:
    """The messages of a tap that Meltano's SDK made, of two CSV files."""
    environment = folder / "tap"
    if not (environment / "bin" / "tap-csv-folder").exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        pip = [str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"tap-csv-folder=={TAP}"], check=True)
    files = folder / "files"
    files.mkdir(exist_ok=True)
    for name, text in {"people": PEOPLE, "orders": ORDERS}.items():
        (files / f"{name}.csv").write_bytes(text.encode())
        os.utime(files / f"{name}.csv", (1_700_000_000, 1_700_000_000))
    config = folder / "config.json"
    config.write_text(json.dumps({"path": "files", "filesystem": "local", "read_mode": "one_stream_per_file"}))
    command = [str(environment / "bin" / "tap-csv-folder"), "--config", str(config)]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    (DATA / f"tap-csv-folder-{TAP}.ndjson").write_bytes(done.stdout)


if __name__ == "__main__":
    main()
