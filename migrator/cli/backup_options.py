"""The flags that the commands about backups share."""

from __future__ import annotations

import click

PLACE = "A folder, or a URL such as s3://bucket/path, gcs://…, abfs://… or sftp://host/path."

from_option = click.option(
    "--from", "place", metavar="PLACE", required=True, help=f"Where the backups are. {PLACE}"
)
database_option = click.option(
    "--database",
    metavar="PATTERN",
    multiple=True,
    help="Only databases of this name, in which * stands for anything; may be given again.",
)
identity_option = click.option(
    "--identity",
    metavar="FILE",
    help="The file with the secret key of encrypted backups, as age-keygen writes it.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
