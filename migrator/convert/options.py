"""What is asked of a conversion."""

from __future__ import annotations

from dataclasses import field

from migrator.config import JobConfig
from migrator.config.option import BYTES, DATABASES, option, options_class

READ = ("couchbackup", "all-docs", "changes", "bulk-docs", "couchdb-python", "pouchdb", "couchsnap", "ndjson")
WRITTEN = (
    *("couchbackup", "couchbackup-shallow", "all-docs", "changes", "changes-continuous", "bulk-docs"),
    *("couchdb-python", "pouchdb", "ndjson"),
)


@options_class
class ConvertJob:
    """One conversion.

    `config` has source and target as on the command line, the reject file, and how servers are reached; `again` is
    the command that repeats it, for who reads the rejects.
    """

    config: JobConfig = field(default_factory=JobConfig)
    format: str = option("", "Format of the file to write.", choices=WRITTEN)
    source_format: str = option(
        "", "Format of SOURCE.", choices=READ, flag="--from-format", text="detected from the file"
    )
    database: str = option(
        "",
        "The database, where SOURCE holds several; a name, or a pattern that means one.",
        unit="NAME",
        flag=DATABASES,
    )
    at: str = option("", "The state of a backup at this time.", unit="TIME", text="the newest")
    identity: str = option("", "File with the secret key of encrypted backups.", unit="FILE")
    overwrite: bool = option(False, "Replace an existing file.")
    into_existing: bool = option(False, "Write into a database that already holds documents.")
    max_document_bytes: int = option(
        268_435_456,
        "Longest document of a file that is read into memory, with its attachments.",
        unit=BYTES,
        at_least=1,
    )
    again: str = ""
