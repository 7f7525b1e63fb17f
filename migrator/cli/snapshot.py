"""`migrator snapshot`: write databases back as fixtures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from migrator.cli import options
from migrator.cli.flags import flags, made
from migrator.cli.options import REPORT
from migrator.cli.seed import ONLY, finish
from migrator.config import JobConfig
from migrator.couch.places import checked_place
from migrator.fixtures.options import Masking


@click.command()
@click.argument("url")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@flags(JobConfig, "collection", help={"collection": ONLY})
@click.option(
    "--format",
    type=click.Choice(["json", "ndjson"]),
    default="json",
    show_default=True,
    help="One file per document (json), or one file per database (ndjson).",
)
@flags(JobConfig, "report", help={"report": REPORT})
@flags(Masking)
@options.connection_options
@options.log_options
def snapshot(url: str, folder: Path, format: str, **values: Any) -> None:
    """Write the databases at URL (one, or all of a server) into FOLDER as fixtures for `migrator seed`.

    Keys and files are sorted, so that a pull request shows what changed and nothing else. What FOLDER holds of
    these databases is replaced. `_users` is written only where it is named.

    \b
    Examples:
      migrator snapshot http://localhost:5984 fixtures/
      migrator snapshot https://db.example.com/orders staging/ --sample 5% --mask pseudonym:email
    """
    from migrator.fixtures.take_snapshot import take

    checked_place(str(folder), "FOLDER")
    config = made(JobConfig, values, source=url)
    with options.listening(values) as listener:
        taken = take(
            config, folder, format=format, masking=made(Masking, values), environ=os.environ, listener=listener
        )
    finish(taken.as_dict(), taken.as_text(), config.report, taken.unconfirmed)
