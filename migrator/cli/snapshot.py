"""`migrator snapshot`: write databases back as fixtures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from migrator.cli import options
from migrator.cli.seed import finish, staging_options
from migrator.config import JobConfig
from migrator.couch.places import checked_place


@click.command()
@click.argument("url")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--collection", metavar="NAME", multiple=True, help="Only this database; may be given again.")
@click.option(
    "--format",
    type=click.Choice(["json", "ndjson"]),
    default="json",
    show_default=True,
    help="A file a document, or a file a database.",
)
@click.option(
    "--report", metavar="FILE", help="Write the report as JSON; - for standard output in place of the text."
)
@staging_options
@options.connection_options
@options.log_options
def snapshot(
    url: str,
    folder: Path,
    collection: tuple[str, ...],
    format: str,
    report: str | None,
    sample: str | None,
    where: tuple[str, ...],
    mask: tuple[str, ...],
    mask_key_file: str | None,
    log_format: str,
    log_level: str,
    quiet: bool,
    **connection: Any,
) -> None:
    """Write the databases at URL (one, or all of a server) into FOLDER as fixtures for `migrator seed`.

    Keys and files are sorted, so that a pull request shows what changed and nothing else. What FOLDER holds of
    these databases is replaced. `_users` is written only where it is named.

    \b
    Examples:
      migrator snapshot http://localhost:5984 fixtures/
      migrator snapshot https://db.example.com/orders staging/ --sample 5% --mask pseudonym:email
    """
    from migrator.fixtures.staging import Masking  # noqa: PLC0415 late, for a quick start
    from migrator.fixtures.take_snapshot import take  # noqa: PLC0415

    checked_place(str(folder), "FOLDER")
    given = {key: value for key, value in connection.items() if value is not None}
    config = JobConfig(source=url, collection=collection, **given)
    wanted = Masking(sample, where, mask, mask_key_file)
    with options.listening(log_format, log_level, quiet=quiet) as listener:
        taken = take(config, folder, format=format, masking=wanted, environ=os.environ, listener=listener)
    finish(taken.as_dict(), taken.as_text(), report, taken.unconfirmed)
