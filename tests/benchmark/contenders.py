"""Who is measured: the plainest way as the limit, this product, and its peers, each at its best settings."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.benchmark.measuring import Command
from tests.benchmark.peers import Peers
from tests.benchmark.server import Server

LIMIT = "posted bodies"
RAW = "raw stream"
OURS = "migrator"


@dataclass(frozen=True)
class Work:
    """One thing to do.

    Args:
        server: where.
        database: an empty database to load into, or a full one to read.
        file: the documents as NDJSON, with the same as `.backup` beside it.
        folder: an empty folder to write to.
    """

    server: Server
    database: str
    file: Path
    folder: Path


Contender = Callable[[Work], Command]


def loaders(peers: Peers | None) -> Mapping[str, Contender]:
    """Ways to load a file, the limit first."""
    found: dict[str, Contender] = {LIMIT: _posting("limit"), OURS: _migrator_load}
    if peers is not None:
        found["couchrestore"] = lambda work: Command(
            peers.argv("couchrestore", "--db", work.database, "--quiet"),
            work.server.environ,
            stdin=work.file.with_suffix(".backup"),
        )
        found["couchimport"] = lambda work: Command(
            peers.argv("couchimport", "--db", work.database, "--type", "jsonl", "--parallelism", "4"),
            work.server.environ,
            stdin=work.file,
        )
    found["couchdb package, update()"] = _posting("update")
    return found


def readers(peers: Peers | None) -> Mapping[str, Contender]:
    """Ways to read a database into a file, the raw stream first."""
    found: dict[str, Contender] = {RAW: _raw_stream, OURS: _migrator_read}
    if peers is not None:
        found["couchbackup"] = lambda work: Command(
            peers.argv("couchbackup", "--db", work.database, "--quiet"),
            work.server.environ,
            stdout=work.folder / "out.backup",
        )
        found["couchbackup, shallow"] = lambda work: Command(
            peers.argv("couchbackup", "--db", work.database, "--quiet", "--mode", "shallow"),
            work.server.environ,
            stdout=work.folder / "out.backup",
        )
    return found


def migrator() -> list[str]:
    """This product's command, as it is installed."""
    beside = Path(sys.executable).parent / "migrator"
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "migrator"]


def _migrator_load(work: Work) -> Command:
    target = f"{work.server.url}/{work.database}"
    return Command(
        [*migrator(), "run", "--from", str(work.file), "--to", target, "--quiet"],
        work.server.environ,
        cwd=work.folder,
    )


def _migrator_read(work: Work) -> Command:
    source = f"{work.server.url}/{work.database}"
    return Command(
        [*migrator(), "run", "--from", source, "--to", str(work.folder / "out"), "--quiet"],
        work.server.environ,
        cwd=work.folder,
    )


def _posting(way: str) -> Contender:
    return lambda work: Command(
        [sys.executable, "-m", "tests.benchmark.posting", way, work.server.url, work.database, str(work.file)],
        work.server.environ,
        reports=True,
    )


def _raw_stream(work: Work) -> Command:
    curl = shutil.which("curl")
    if curl is None:
        raise RuntimeError("The raw stream is read with curl, and there is none.")
    url = f"{work.server.url}/{work.database}/_all_docs?include_docs=true"
    # Credentials go by a file, as everybody can read a command line.
    settings = work.folder / "curl.conf"
    environ = work.server.environ
    if "COUCHDB_USER" in environ:
        pair = f"{environ['COUCHDB_USER']}:{environ['COUCHDB_PASSWORD']}"
        settings.write_text('user = "' + pair.replace("\\", "\\\\").replace('"', '\\"') + '"\n', encoding="utf-8")
    else:
        settings.touch()
    out = str(work.folder / "out.json")
    return Command([curl, "--silent", "--fail", "--config", str(settings), "--output", out, url], {})
