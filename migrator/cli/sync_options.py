"""The flags of `migrator run` that keep a target up to date."""

from __future__ import annotations

import click

from migrator.cli.options import together

sync_options = together(
    click.option(
        "--replicate", is_flag=True, default=None, help="Have CouchDB's own replicator copy revisions as they are."
    ),
    click.option(
        "--replicator",
        type=click.Choice(["target", "source"]),
        help="Which server runs the replication; it must reach both URLs. [default: target]",
    ),
    click.option(
        "--keep-job", is_flag=True, default=None, help="Leave the replication's document in _replicator."
    ),
)
