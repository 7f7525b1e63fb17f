"""The plan of a whole server's move: what is in it, and its file, which holds no credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from migrator.errors import EXIT_OK, EXIT_REJECTS, EXIT_USAGE, CheckpointError, ConfigError
from migrator.files.durable import replace_file
from migrator.files.failures import writing
from migrator.files.own_json import from_json
from migrator.naming import counted, printable
from migrator.report.result import Result
from migrator.report.summary import number, table, without_idle

KIND = "migrator plan"
SCHEMA = 1
# A database takes about a kilobyte; a larger file is something else.
MAX_FILE_BYTES = 256_000_000

MAX_LINES = 50
# On a screen: of each list of what stands in the way, and what there is beside the databases.
MAX_LINES_SHOWN, LINES_BESIDE = 3, 18

ABSENT = "is created"
EMPTY = "is there, empty"
OCCUPIED = "holds documents"


class PlanError(CheckpointError):
    """A plan cannot be done: its file is damaged, or source or target are not any more what it was made for."""


@dataclass(frozen=True)
class ServerFacts:
    """One side, without credentials. `uuid` tells a server from another at the same address."""

    url: str
    version: str = ""
    uuid: str = ""

    def is_same(self, other: ServerFacts) -> bool:
        """True for the same server: one can have several addresses; one address can have had several servers."""
        if self.uuid and other.uuid:
            return self.uuid == other.uuid
        return self.url == other.url


@dataclass(frozen=True)
class DatabasePlan:
    """One database. Counts and sizes are the source's own; what it does not count is None where nobody did.

    Args:
        source: its name.
        target: its name at the target.
        target_state: what stands there now.
        started: tells the source's database from a later one of the same name.
        external_bytes: of all documents and attachments, not compressed.
        leaves: living and deleted ones, conflicts included.
        attachments: of all leaves.
        conflicts: documents with more than one living leaf.
        design_documents: ids without `_design/`.
        validators: those with a validation function.
        security: False where everybody may read and write it.
    """

    source: str
    target: str
    target_state: str
    started: str
    documents: int
    deleted_documents: int
    file_bytes: int | None
    active_bytes: int | None
    external_bytes: int | None
    leaves: int | None
    attachments: int | None
    conflicts: int | None
    q: int | None
    n: int | None
    partitioned: bool
    revs_limit: int | None
    security: bool
    design_documents: tuple[str, ...] = ()
    views: int = 0
    indexes: int = 0
    validators: tuple[str, ...] = ()


@dataclass(frozen=True)
class CannotGo:
    """A document or attachment that the target is sure to refuse; apply rejects it by name and goes on."""

    database: str
    id: str
    rev: str
    reason: str


@dataclass(frozen=True)
class Estimate:
    """Time expected, from a sample: a few documents read from the source and written into a scratch database."""

    seconds: float
    documents_per_second: float
    bytes_per_second: float
    sample_documents: int


@dataclass(frozen=True, repr=False)
class ServerPlan(Result):
    """All of a move, as people review it and `apply` does it.

    Args:
        made: when, in UTC.
        patterns: which databases were asked for; all where empty.
        found_by: how documents that cannot go were looked for.
        users: so many users go along; None where they do not.
        replications: so many replications go along, paused; None where they do not.
        left_out: databases that do not go, with the reason.
        problems: why the plan cannot be done as it is.
        warnings: what to think about before.
        disk_needed_bytes: at the target, about.
        disk_free_bytes: there; None where the server does not tell.
    """

    made: str
    source: ServerFacts
    target: ServerFacts
    patterns: tuple[str, ...]
    databases: tuple[DatabasePlan, ...]
    cannot_go: tuple[CannotGo, ...] = ()
    found_by: str = ""
    users: int | None = None
    replications: int | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    disk_needed_bytes: int = 0
    disk_free_bytes: int | None = None
    estimate: Estimate | None = None

    @property
    def ok(self) -> bool:
        """True when the plan can be done."""
        return not self.problems

    @property
    def exit_code(self) -> int:
        """2 where it cannot be done as it is, 3 where some documents cannot go."""
        return EXIT_USAGE if self.problems else EXIT_REJECTS if self.cannot_go else EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """For machines, and for the file."""
        return {"kind": KIND, "schema": SCHEMA, "ok": self.ok, **asdict(self)}


def save_plan(plan: ServerPlan, path: Path) -> None:
    """Write a plan's file whole, for its owner only: it names databases and documents.

    Raises:
        StorageError: there is no room, or no right to write.
        ConfigError: the path is wrong, or something that is not a plan stands there.
    """
    if path.exists():
        try:
            load_plan(path)
        except PlanError as error:
            raise ConfigError(
                f"{path} exists and is not a plan, so it is not replaced.", hint="Name another with --output FILE."
            ) from error
    with writing(path, what="Plan", instead="name another with --output FILE"):
        replace_file(path, json.dumps(plan.to_dict(), indent=1) + "\n")


def load_plan(path: Path) -> ServerPlan:
    """Read a plan's file.

    Raises:
        ConfigError: there is none.
        PlanError: it is damaged, of a newer version, or something else.
    """
    make = "Make one with: migrator plan-server --from URL --to URL --output FILE"
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        value = json.loads(text) if len(text) <= MAX_FILE_BYTES else None
    except FileNotFoundError:
        raise ConfigError(f"There is no plan {path}.", hint=make) from None
    except OSError as error:
        raise PlanError(f"Plan {path} cannot be read: {error.strerror}.", hint=make) from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise PlanError(f"{path} is not a plan, or it is damaged.", hint=make)
    if value.get("schema") != SCHEMA:
        raise PlanError(
            f"Plan {path} is of format {value.get('schema')}; this migrator knows {SCHEMA}.", hint=make
        )
    try:
        return from_json(ServerPlan, value)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise PlanError(f"Plan {path} is damaged.", hint=make) from None


def plan_to_text(plan: ServerPlan, file: str = "", *, max_lines: int | None = None) -> str:
    """A plan for people.

    Args:
        plan: the plan.
        file: where it was written to; without it, how to write it is told.
        max_lines: of the screen that it is for.
    """
    return "\n".join(_lines(plan, file, max_lines)) + "\n"


def _lines(plan: ServerPlan, file: str, max_lines: int | None) -> Iterator[str]:
    for side, facts in (("from", plan.source), ("to", plan.target)):
        yield f"{side:<6}{facts.url}" + (f", CouchDB {facts.version}" if facts.version else "")
    yield f"made  {plan.made}"
    yield ""
    rows: list[Sequence[str]] = [
        ("database", "goes to", "target", "documents", "deleted", "attachments", "bytes", "q/n", "also")
    ]
    rows += [_row(database) for database in plan.databases]
    if max_lines is None:
        yield table(rows, left=3)
    else:
        narrow = without_idle(rows)
        yield table(narrow, left=3 - len(rows[0][:3]) + len(narrow[0][:3]), max_rows=max_lines - LINES_BESIDE)
    documents = sum(database.documents for database in plan.databases)
    size = sum(database.external_bytes or 0 for database in plan.databases)
    yield f"{counted(len(plan.databases), 'database')}, {counted(documents, 'document')}, {counted(size, 'byte')}"
    yield ""
    yield f"users         {number(plan.users, 'stay behind')}" + (" with their passwords" if plan.users else "")
    yield f"replications  {number(plan.replications, 'stay behind')}" + (", paused" if plan.replications else "")
    free = "not told by CouchDB" if plan.disk_free_bytes is None else f"{plan.disk_free_bytes:,}"
    yield f"disk          about {plan.disk_needed_bytes:,} bytes at the target; free: {free}"
    if plan.estimate:
        took = timedelta(seconds=round(plan.estimate.seconds))
        yield (
            f"time          about {took}, from a sample of {counted(plan.estimate.sample_documents, 'document')} "
            f"({plan.estimate.documents_per_second:,.0f}/s)"
        )
    yield f"too large     {plan.found_by}"
    if any(database.attachments is None for database in plan.databases):
        yield "attachments   are counted only where documents were read, which is everywhere without --quick"
    cannot_go = [f"{item.database} {item.id} {item.rev}: {item.reason}" for item in plan.cannot_go]
    most = MAX_LINES if max_lines is None else MAX_LINES_SHOWN
    for what, lines in (
        ("stays behind", [f"{name}: {reason}" for name, reason in plan.left_out.items()]),
        ("cannot go", cannot_go),
        ("warning", plan.warnings),
        ("problem", plan.problems),
    ):
        yield from _listed(what, lines, most)
    yield ""
    if plan.problems:
        yield "This plan cannot be done as it is. Nothing was written."
    elif file:
        yield f"Nothing was written but the plan. Do it with: migrator apply {file}"
    else:
        yield "Nothing was written. Keep the plan with --output PLAN.json, then: migrator apply PLAN.json"


def _row(database: DatabasePlan) -> Sequence[str]:
    also = ["partitioned"] if database.partitioned else []
    for count, what in (
        (database.views, "views"),
        (database.indexes, "indexes"),
        (len(database.validators), "validation functions"),
        (database.conflicts or 0, "in conflict"),
    ):
        also += [f"{count} {what}"] if count else []
    also += ["_security"] if database.security else ["no members"]
    also += [f"revs_limit {database.revs_limit}"] if database.revs_limit not in {None, 1000} else []
    return (
        printable(database.source),
        printable(database.target),
        database.target_state,
        f"{database.documents:,}",
        f"{database.deleted_documents:,}",
        number(database.attachments),
        number(database.external_bytes),
        f"{number(database.q, '-')}/{number(database.n, '-')}",
        ", ".join(also),
    )


def _listed(what: str, lines: Sequence[str], most: int) -> Iterator[str]:
    for line in lines[:most]:
        yield f"{what:<13} {printable(line)}"
    if len(lines) > most:
        yield f"{what:<13} and {len(lines) - most:,} more, all in the JSON"
