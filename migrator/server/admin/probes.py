"""What the doctor says, and what can only be found out by trying: disk, conflicts, how fast and large a write is.

A finding has a check's name, how bad it is, a sentence, and the next command to type.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migrator.couch.client import CouchClient
from migrator.errors import Forbidden, MigratorError, TransientError, Unauthorized
from migrator.naming import counted, printable
from migrator.server.admin.connection import Server

OK = "ok"
ADVICE = "advice"
PROBLEM = "problem"
UNREACHABLE = "unreachable"
UNKNOWN = "unknown"
"""The levels: in order; worth a thought; needs fixing; nothing goes before it is fixed; not to be told."""

SCRATCH_PREFIX = "migrator_scratch_"
SCRATCH_NAME = SCRATCH_PREFIX + r"(\d{10})_[0-9a-f]{12}"
# A probe takes seconds, and clocks of machines differ.
STALE_S = 3_600.0
# What a run sends at once, and twice that.
BODY_BYTES = (500_000, 1_500_000, 4_500_000, 9_000_000, 18_000_000)
WRITES = 8
SLOW_WRITE_S = 0.25
BULK_DOCUMENTS = 200
MIN_FREE_SHARE = 0.1
MAX_DATABASES = 20
MAX_CHANGES = 2_000
KEYS_PER_REQUEST = 100


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` is the next command to type; "" where all is well."""

    check: str
    level: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings about one server."""

    url: str
    findings: tuple[Finding, ...]

    @property
    def reachable(self) -> bool:
        """False when the server does not answer or lets these credentials in to nothing."""
        return all(finding.level != UNREACHABLE for finding in self.findings)

    @property
    def ok(self) -> bool:
        """True when nothing needs fixing; advice may be there."""
        return all(finding.level not in {PROBLEM, UNREACHABLE} for finding in self.findings)

    def find(self, check: str) -> Finding | None:
        """The first finding of a check."""
        return next((finding for finding in self.findings if finding.check == check), None)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {"schema": 1, "ok": self.ok, "server": self.url, "findings": [asdict(f) for f in self.findings]}


def diagnosis_to_text(diagnosis: Diagnosis) -> str:
    """For people: one line a finding, and its remedy below."""
    lines = []
    for finding in diagnosis.findings:
        lines.append(f"{finding.level:<11}  {finding.check}: {printable(finding.message)}")
        if finding.remedy:
            lines.append(f"{'':<11}  → {printable(finding.remedy)}")
    bad = sum(finding.level in {PROBLEM, UNREACHABLE} for finding in diagnosis.findings)
    lines.append(f"{diagnosis.url} has {counted(bad, 'problem')}." if bad else f"{diagnosis.url} is in order.")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def scratch_database(client: CouchClient) -> Iterator[str]:
    """A database of our own, which is removed whatever happens; what a killed command left before is removed, too.

    Raises:
        EndpointError: the user may not create one.
    """
    remove_stale(client)
    name = scratch_name()
    client.create_database(name)
    try:
        yield name
    finally:
        client.delete_database(name)


def scratch_name() -> str:
    """A name that nobody has, with the time in it."""
    return f"{SCRATCH_PREFIX}{int(time.time())}_{secrets.token_hex(6)}"


def remove_stale(client: CouchClient) -> list[str]:
    """Remove scratch databases that are older than any command that could still use them; their names.

    Only names that `scratch_name` gives are meant, and only where the time in them is long past.
    """
    answer = client.call("GET", "_all_dbs", params={"startkey": f'"{SCRATCH_PREFIX}"'})
    found = answer.json("_all_dbs") if answer.status == 200 else []
    stale = [name for name in found if _is_stale(str(name))]
    for name in stale:
        client.delete_database(name)
    return stale


def _is_stale(name: str) -> bool:
    named = re.fullmatch(SCRATCH_NAME, name)
    return named is not None and time.time() - int(named[1]) > STALE_S


def disk(server: Server, *, admin: bool) -> Iterator[Finding]:
    """Space on the disk that holds the databases, where it is this machine's: CouchDB itself does not tell."""
    space = free_space(server) if admin else None
    if space is None:
        yield Finding("disk", UNKNOWN, "CouchDB does not tell its disk's space; on its machine: df -h")
        return
    free, total, folder = space
    if free < total * MIN_FREE_SHARE:
        yield Finding(
            "disk",
            PROBLEM,
            f"{free:,} of {total:,} bytes are free at {folder}; compaction needs as much as the largest database",
            f"Make room first, then: migrator compact {server.url}",
        )
    else:
        yield Finding("disk", OK, f"{free:,} of {total:,} bytes are free at {folder}")


def free_space(server: Server) -> tuple[int, int, str] | None:
    """Free and all bytes of the disk and its folder, when the server's files are on this machine; else None."""
    if not server.endpoint.local:
        return None
    folder = Path(str(server.setting("couchdb", "database_dir", default="")))
    # A container's path can name another folder of this machine.
    if not (folder.is_absolute() and (folder / "_dbs.couch").exists()):
        return None
    usage = shutil.disk_usage(folder)
    return usage.free, usage.total, str(folder)


def conflicts(server: Server, database: str | None) -> Iterator[Finding]:
    """Documents with more than one living leaf among those that changed last."""
    names = [database] if database else [n for n in server.databases() if not n.startswith("_")][:MAX_DATABASES]
    found: dict[str, list[str]] = {}
    looked = 0
    for name in names:
        params = {"style": "all_docs", "descending": "true", "limit": MAX_CHANGES}
        answer = server.client.call("GET", name, "_changes", params=params)
        if answer.status != 200:
            continue
        changes = answer.json("_changes")["results"]
        looked += len(changes)
        # A leaf that is deleted is a conflict that somebody has settled.
        many = [change["id"] for change in changes if len(change["changes"]) > 1]
        for start in range(0, len(many), KEYS_PER_REQUEST):
            keys = many[start : start + KEYS_PER_REQUEST]
            params = {"include_docs": "true", "conflicts": "true"}
            rows = server.value("Conflicts", "POST", name, "_all_docs", params=params, value={"keys": keys})[
                "rows"
            ]
            ids = [row["id"] for row in rows if (row.get("doc") or {}).get("_conflicts")]
            if ids:
                found.setdefault(name, []).extend(ids)
    if not found:
        yield Finding("conflicts", OK, f"none among the {looked:,} documents that changed last")
        return
    for name, ids in found.items():
        yield Finding(
            "conflicts",
            ADVICE,
            f"{name} has {counted(len(ids), 'document')} in conflict among those that changed last, "
            f"such as {ids[0]}",
            f"Look at one: curl '{server.url}/{name}/{ids[0]}?conflicts=true'; delete the revisions that lost.",
        )


def writing(server: Server) -> Iterator[Finding]:
    """Writes into a scratch database: whether, how fast, and how large a request may be."""
    try:
        with scratch_database(server.client) as name:
            yield from _rates(server, name)
            yield from _body_limit(server, name)
    except (Unauthorized, Forbidden) as error:
        yield Finding(
            "writes",
            ADVICE,
            f"not tried: {error.message}",
            "Only admins can create the scratch database; give an admin's credentials to have it tried.",
        )
    except MigratorError as error:
        yield Finding(
            "writes",
            PROBLEM,
            f"the server does not write: {error.message}",
            f"Its disk may be full (there: df -h), or its log says why; then: migrator compact {server.url}",
        )


def _rates(server: Server, name: str) -> Iterator[Finding]:
    seconds = []
    for number in range(WRITES):
        started = time.monotonic()
        answer = server.client.call("PUT", name, f"probe-{number}", body=b'{"value": "probe"}')
        seconds.append(time.monotonic() - started)
        if answer.status not in {201, 202}:
            error, reason = answer.error()
            full = error == "insufficient_storage"
            remedy = (
                f"Make room on the disk, then: migrator compact {server.url}" if full else "See the server's log."
            )
            check = "disk" if full else "writes"
            yield Finding(check, PROBLEM, f"the server refuses to write: {error} ({reason})", remedy)
            return
    one = statistics.median(seconds)
    bodies = [json.dumps({"_id": f"bulk-{n:06}", "text": "x" * 200}).encode() for n in range(BULK_DOCUMENTS)]
    started = time.monotonic()
    server.client.bulk_docs(name, bodies)
    rate = BULK_DOCUMENTS / (time.monotonic() - started)
    told = f"one document takes {one * 1000:.0f} ms, {BULK_DOCUMENTS} at once go at {rate:,.0f} documents/s"
    if one > SLOW_WRITE_S:
        yield Finding(
            "slow writes",
            PROBLEM,
            told,
            f"See what else is running: curl {server.url}/_active_tasks; look at the disk: iostat -x 1; and send "
            "fewer, larger batches: migrator run --batch-docs 1000 --in-flight 2",
        )
    else:
        yield Finding("slow writes", OK, told)


def _body_limit(server: Server, name: str) -> Iterator[Finding]:
    """The first size that is refused: CouchDB takes 4 GiB, so a smaller limit is a proxy's."""
    # Compressed, the bodies would be smaller than what they are to try out.
    client = CouchClient(server.endpoint, max_connections=1, compress=False)
    passed = 0
    with contextlib.closing(client):
        for size in BODY_BYTES:
            refusal = _refusal(client, name, size)
            if refusal:
                yield Finding(
                    "body limit",
                    PROBLEM,
                    f"a request of {size:,} bytes is refused ({refusal:.120}); {passed:,} bytes passed",
                    f"Raise the proxy's limit (nginx: client_max_body_size), or --batch-bytes {passed or 100_000}",
                )
                return
            passed = size
    yield Finding("body limit", OK, f"requests of {passed:,} bytes pass")


def _refusal(client: CouchClient, name: str, size: int) -> str:
    body = json.dumps({"docs": [], "padding": os.urandom(size // 2).hex()}).encode()
    try:
        answer = client.call("POST", name, "_bulk_docs", body=body)
    except TransientError as error:
        # A proxy may close the connection in place of an answer.
        return error.message
    if answer.status in {200, 201, 202}:
        return ""
    # A proxy answers with a page, whose title says it all.
    title = re.search(rb"<title>([^<]*)</title>", answer.body)
    return title[1].decode("utf-8", "replace") if title else " ".join((str(answer.status), *answer.error()))
