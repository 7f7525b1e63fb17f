"""`migrator backup`, `restore` and `convert`: whole revisions to a place or a file, and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from migrator.backup.options import BackupOptions, RestoreOptions
from migrator.cli import options
from migrator.cli.flags import Command, flags, made
from migrator.cli.messages import say
from migrator.cli.rendering import rejected_text, show, this_command, whole_hint
from migrator.cli.stopping import stoppable
from migrator.config import JobConfig
from migrator.convert.options import ConvertJob
from migrator.couch.places import is_server_url
from migrator.errors import EXIT_OK, ConfigError, RejectsError
from migrator.files.streams import is_standard_output
from migrator.naming import counted, shown, was
from migrator.report.summary import unconfirmed_lines

if TYPE_CHECKING:
    from migrator.backup.result import RevisionsResult

F = TypeVar("F", bound=Callable[..., Any])
SERVER = "http(s)://host:5984, or http(s)://host:5984/database for one database."
REPORT = "Also write the result to a file."
CONVERTED = (
    "http(s)://host:5984/database, the PLACE of backups, or a file of one of the formats; - for standard input."
)
MADE = (
    "A file, compressed if its name ends with .gz or .zst; - for standard output. Or http(s)://host:5984/database."
)
OF_RESTORE = ("rejects", "batch_docs", "batch_bytes", "in_flight")


def _common_options(function: F) -> F:
    """The flags of both, after their own."""
    function = options.watch_options(options.connection_options(options.log_options(function)))
    return flags(JobConfig, "report", help={"report": REPORT})(function)


@click.command(cls=Command)
@flags(JobConfig, "source", help={"source": SERVER}, default={"source": "COUCHDB_URL"})
@flags(BackupOptions)
@flags(
    JobConfig,
    "prove",
    "rejects",
    help={
        "prove": "Prove what is read by its first revision where it has one; the result names what does not fit.",
        "rejects": "Where the names of revisions are written that could not be read.",
    },
    default={"rejects": "migrator-backup.rejects.ndjson"},
)
@_common_options
def backup(**values: Any) -> None:
    """Write databases to PLACE: all the first time, what has changed since then every other time.

    Every leaf revision goes along with its ancestry and attachments: conflicts, tombstones, design documents too.
    A snapshot appears when it is complete. After an interruption the same command goes on.

    \b
    Examples:
      migrator backup --from http://localhost:5984 --to backups/
      migrator backup --from http://localhost:5984 --to - | ssh backuphost 'cat > couchdb.tar'
      migrator backup --from http://localhost:5984 --database 'orders-*' --database _users --to s3://bucket/couchdb
      migrator backup --from http://localhost:5984/orders --to backups/ --recipient age1…
    """
    from migrator.backup.create import run_backup
    from migrator.jobs.registry import server_text

    source = server_text(values["source"], "source")
    config = options.part_of_job(values, "prove", "rejects", "report", source=source)
    _carry_out("backup", run_backup, config, made(BackupOptions, values, again=this_command()), values)


@click.command(cls=Command)
@flags(RestoreOptions, "place")
@flags(JobConfig, "target", help={"target": SERVER})
@flags(RestoreOptions, without=("place",))
@flags(
    JobConfig,
    *OF_RESTORE,
    help={
        "rejects": "Where rejected revisions are written.",
        "batch_docs": "Maximum revisions per batch.",
        "in_flight": "Maximum batches sent at once.",
    },
    default={"rejects": "migrator-restore.rejects.ndjson"},
)
@_common_options
def restore(**values: Any) -> None:
    """Write databases of PLACE back to a server, with the very revisions that they had.

    A database is made with the shards and the partitioning of the old one. Design documents come last, and who is
    let in at the very end. After an interruption the same command writes what is missing.

    \b
    Examples:
      migrator restore --from backups/ --to http://localhost:5984
      migrator restore --from backups/ --to http://localhost:5984 --database orders --map orders=orders-old
      migrator restore --from backups/ --to http://localhost:5984 --database orders --id o-17 --into-existing
      migrator restore --from backups/ --to http://localhost:5984 --at 2026-11-25T03:00:00Z
      ssh backuphost 'cat couchdb.tar' | migrator restore --from - --to http://localhost:5984
    """
    from migrator.backup.restore import run_restore
    from migrator.jobs.registry import server_text

    target = server_text(values["target"], "target")
    config = options.part_of_job(values, *OF_RESTORE, "report", target=target)
    more = () if values["into_existing"] else ("--into-existing",)
    _carry_out("restore", run_restore, config, made(RestoreOptions, values, again=this_command(*more)), values)


def _carry_out(
    name: str,
    function: Callable[..., RevisionsResult],
    config: JobConfig,
    wanted: BackupOptions | RestoreOptions,
    values: Mapping[str, Any],
) -> None:
    """Back up or restore, tell who watches, and print what became of it."""
    beside = isinstance(wanted, BackupOptions) and is_standard_output(wanted.place)
    if beside and config.report == "-":
        raise ConfigError(
            f"--to {wanted.place} and --report - would both write to standard output.",
            hint="Name a file: --report FILE.",
        )
    with stoppable() as stopping, options.timed(name, config) as told:
        with options.listening(values, told.listener) as listener:
            result = function(config, wanted, listener=listener, stopping=stopping)
        _tell(result, config.report, wanted.again, beside=beside)


def _tell(result: RevisionsResult, report: str, again: str, *, beside: bool) -> None:
    """Print the result, write the report, and leave with the exit code.

    Args:
        result: what became of it.
        report: the report file; "" for none.
        again: the command that does what was rejected, after a fix.
        beside: standard output has the backup.
    """
    for database in result.databases:
        if database.error is not None:
            database.error.hint = whole_hint(database.error)
    show(result.to_dict(), result.as_text(), report=report, beside=beside)
    for database in result.databases:
        for line in unconfirmed_lines(database.unconfirmed):
            say(line)
        if unlike := database.numbers.get("unlike"):
            count, ids = unlike["documents"], unlike["ids"]
            named = ", ".join([*map(shown, ids), *(["…"] if count > len(ids) else [])])
            say(
                f"{database.database}: {counted(count, 'document')} with other content than that of the first "
                f"revision: {named}. It was changed on the way here or at the server, or another program than "
                "CouchDB 3, such as PouchDB, gave that revision; it is in the backup as it was read"
            )
        if database.error is not None:
            say(f"Error: {database.database}: {database.error.text}", "error")
        elif database.rejected:
            what, where = rejected_text(database.rejected, "revision"), result.rejects or "the backup"
            they = was(database.rejected, "it is", "they are")
            say(f"{database.database}: {what}; {they} in {where}; after a fix: {again}", "warning")
    if result.exit_code != EXIT_OK:
        sys.exit(result.exit_code)


@click.command(cls=Command)
@flags(
    JobConfig,
    *("source", "target"),
    help={"source": CONVERTED, "target": MADE},
    default={"target": ""},
    required=True,
)
@flags(ConvertJob)
@flags(JobConfig, "rejects", help={"rejects": "Where rejected rows are written."})
@options.connection_options
@options.log_options
def convert(**values: Any) -> None:
    """Write the documents of SOURCE, with their revisions, as another tool's file, or a file into a database.

    Formats: those of couchbackup (also of releases before 2.10, resumed, with attachments), dumps of _all_docs and
    _changes, the _bulk_docs body of couchdb-dump, couchdb-python's multipart, pouchdb-dump, couchsnap, and plain
    NDJSON. Numbers and texts stay as they are spelled. What a format has no place for is counted; a row that
    cannot be read is named in the file of rejects, and the command ends with 3.

    \b
    Examples:
      migrator convert --from orders.backup --to orders.json --format all-docs
      migrator convert --from orders.dump.gz --to orders.backup --format couchbackup
      migrator convert --from orders.backup --to http://localhost:5984/orders
      migrator convert --from http://localhost:5984/orders --to orders.dump --format couchdb-python
      migrator convert --from /var/backups/couchdb --database orders --to orders.backup --format couchbackup
    """
    from migrator.convert.job import convert_leaves

    over = "into_existing" if is_server_url(values["target"]) else "overwrite"
    again = this_command(*(() if values[over] else (f"--{over.replace('_', '-')}",)))
    job = made(ConvertJob, values, config=made(JobConfig, values), again=again)
    with options.at_work(values) as (listener, stopping):
        result, rejects = convert_leaves(job, listener=listener, stopping=stopping)
    value = {**result.as_dict(), "rejects": str(rejects) if result.rejected else ""}
    show(value, result.as_text(), beside=is_standard_output(job.config.target))
    for line in unconfirmed_lines(result.unconfirmed):
        say(line)
    for what, number in result.left_out.items():
        say(f"Left out: {number:,} {what}.")
    if result.ancestries_shortened:
        say(f"Without the revisions before theirs: {counted(result.ancestries_shortened, 'document')}.")
    if result.rejected:
        they = was(result.rejected, "It is", "They are")
        raise RejectsError(f"{rejected_text(result.rejected)}.", hint=f"{they} in {rejects}; after a fix: {again}")
