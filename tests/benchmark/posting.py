"""The two plainest ways to load a file: bodies made beforehand on four connections, and the `couchdb` package.

The first is what the server can take; everything is read and joined before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3

LIMIT_DOCUMENTS = 500
LIMIT_CONNECTIONS = 4
UPDATE_DOCUMENTS = 1_000


def bodies(path: Path, documents: int = LIMIT_DOCUMENTS) -> list[bytes]:
    """Ready request bodies of so many documents each."""
    made = []
    with path.open("rb") as file:
        while lines := [line.rstrip(b"\n") for line in islice(file, documents)]:
            made.append(b'{"docs":[' + b",".join(lines) + b"]}")
    return made


def post(url: str, database: str, made: Sequence[bytes]) -> tuple[float, float]:
    """Post them all on four connections; seconds on the clock and of CPU."""
    headers = {"Content-Type": "application/json"}
    if "COUCHDB_USER" in os.environ:
        pair = f"{os.environ['COUCHDB_USER']}:{os.environ['COUCHDB_PASSWORD']}"
        headers |= urllib3.make_headers(basic_auth=pair)
    path = f"/{quote(database, safe='')}/_bulk_docs"
    with urllib3.connection_from_url(url, maxsize=LIMIT_CONNECTIONS, retries=False) as pool:

        def one(body: bytes) -> None:
            answer = pool.urlopen("POST", path, body=body, headers=headers)
            if answer.status not in {201, 202} or b'"error"' in answer.data:
                raise RuntimeError(f"{answer.status}: {answer.data[:200]!r}")

        started, cpu_started = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(LIMIT_CONNECTIONS) as threads:
            for _ in threads.map(one, made):
                pass
        return time.perf_counter() - started, time.process_time() - cpu_started


def update(url: str, database: str, path: Path) -> tuple[float, float]:
    """Read and write with the `couchdb` package's `update()`, as its documentation does."""
    import couchdb  # only here

    server = couchdb.Server(url)
    if "COUCHDB_USER" in os.environ:
        server.resource.credentials = (os.environ["COUCHDB_USER"], os.environ["COUCHDB_PASSWORD"])
    target = server[database]
    started, cpu_started = time.perf_counter(), time.process_time()
    with path.open("rb") as file:
        for documents in _parsed(file):
            for ok, id, answer in target.update(documents):
                if not ok:
                    raise RuntimeError(f"{id}: {answer}")
    return time.perf_counter() - started, time.process_time() - cpu_started


def _parsed(lines: Iterator[bytes]) -> Iterator[list[dict[str, Any]]]:
    while documents := [json.loads(line) for line in islice(lines, UPDATE_DOCUMENTS)]:
        yield documents


def main() -> None:
    """Load a file and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=["limit", "update"])
    parser.add_argument("url")
    parser.add_argument("database")
    parser.add_argument("file", type=Path)
    asked = parser.parse_args()
    if asked.way == "limit":
        seconds, cpu_seconds = post(asked.url, asked.database, bodies(asked.file))
    else:
        seconds, cpu_seconds = update(asked.url, asked.database, asked.file)
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    main()
