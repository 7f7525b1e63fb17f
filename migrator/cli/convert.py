"""`migrator convert`: databases, backups and other tools' files into other tools' files, and back."""

from __future__ import annotations

import json
from typing import Any

import click

from migrator.cli import options
from migrator.cli.again import this_command
from migrator.cli.flags import flags, made
from migrator.cli.rendering import rejected_text
from migrator.config import JobConfig
from migrator.convert.options import ConvertJob
from migrator.couch.places import is_server_url
from migrator.errors import RejectsError
from migrator.files.streams import is_standard_output
from migrator.report.summary import unconfirmed_lines

SOURCE = (
    "http(s)://host:5984/database, the PLACE of backups, or a file of one of the formats; - for standard input."
)
TARGET = (
    "A file, compressed if its name ends with .gz or .zst; - for standard output. Or http(s)://host:5984/database."
)


@click.command()
@flags(
    JobConfig,
    *("source", "target"),
    help={"source": SOURCE, "target": TARGET},
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
    NDJSON. Numbers and texts stay as they are spelled. What a format has no place for is counted in the line of
    JSON that this prints; a row that cannot be read is named in the file of rejects, and the command ends with 3.

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
    result_line = json.dumps({**result.as_dict(), "rejects": str(rejects) if result.rejected else ""})
    click.echo(result_line, err=is_standard_output(job.config.target))
    for line in unconfirmed_lines(result.unconfirmed):
        click.echo(line, err=True)
    for what, number in result.left_out.items():
        click.echo(f"Left out: {number:,} {what}.", err=True)
    if result.ancestries_shortened:
        click.echo(f"Without the revisions before theirs: {result.ancestries_shortened:,} documents.", err=True)
    if result.rejected:
        raise RejectsError(
            f"{rejected_text(result.rejected)}.", hint=f"They are in {rejects}; after a fix: {again}"
        )
