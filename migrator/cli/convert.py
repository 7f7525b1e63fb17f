"""`migrator convert`: databases, backups and other tools' files into other tools' files, and back."""

from __future__ import annotations

import json
from typing import Any

import click

from migrator.cli import options
from migrator.cli.rendering import rejected_text
from migrator.config import JobConfig
from migrator.errors import RejectsError

# What is no word of other jobs.
OWN = (
    *("format", "source_format", "database", "at", "identity"),
    *("overwrite", "into_existing", "max_document_bytes"),
)
READ = ("couchbackup", "all-docs", "changes", "bulk-docs", "couchdb-python", "pouchdb", "couchsnap", "ndjson")
WRITTEN = (
    *("couchbackup", "couchbackup-shallow", "all-docs", "changes", "changes-continuous", "bulk-docs"),
    *("couchdb-python", "pouchdb", "ndjson"),
)


@click.command()
@click.option(
    "--from",
    "source",
    metavar="SOURCE",
    required=True,
    help="http(s)://host:5984/database, the PLACE of backups, or a file of one of the formats; "
    "- for standard input.",
)
@click.option(
    "--to",
    "target",
    metavar="TARGET",
    required=True,
    help="A file; also packed, .gz or .zst; - for standard output. Or http(s)://host:5984/database.",
)
@click.option("--format", type=click.Choice(WRITTEN), help="Of the file that is written.")
@click.option("--from-format", "source_format", type=click.Choice(READ), help="Of SOURCE, where it is not seen.")
@click.option("--database", metavar="NAME", help="The database of a backup, where PLACE holds several.")
@click.option("--at", metavar="TIME", help="The state of a backup at that time. [default: the newest]")
@click.option("--identity", metavar="FILE", help="The file with the secret key of encrypted backups.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@click.option("--into-existing", is_flag=True, help="Write into a database that holds documents.")
@click.option(
    "--rejects", metavar="FILE", help="Where rows go that were not written. [default: migrator-….rejects.ndjson]"
)
@click.option(
    "--max-document-bytes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Longest document of a file that is held, attachments included. [default: 268435456]",
)
@options.connection_options
@options.log_options
def convert(log_format: str, log_level: str, quiet: bool, **given: Any) -> None:
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
    from migrator.cli.again import this_command  # noqa: PLC0415 late, for a quick start
    from migrator.convert.job import ConvertJob, convert_leaves  # noqa: PLC0415
    from migrator.couch.endpoint import is_server_url  # noqa: PLC0415
    from migrator.files.streams import is_standard_output  # noqa: PLC0415
    from migrator.report.summary import unconfirmed_lines  # noqa: PLC0415

    flags = {name: value for name, value in given.items() if value is not None}
    own = {name: flags.pop(name) for name in OWN if name in flags}
    over = "into_existing" if is_server_url(given["target"]) else "overwrite"
    again = this_command(*(() if own.get(over) else (f"--{over.replace('_', '-')}",)))
    job = ConvertJob(config=JobConfig(**flags), **own, again=again)
    with (
        options.stoppable() as stopping,
        options.listening(log_format, log_level, quiet=quiet) as listener,
    ):
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
