"""The flags of `migrator run` that keep a target up to date."""

from __future__ import annotations

import click

from migrator.cli.options import together

sync_options = together(
    click.option(
        "--since-last",
        is_flag=True,
        default=None,
        help="Between two servers: copy all at the first run, and at each later one what changed since.",
    ),
    click.option(
        "--follow",
        is_flag=True,
        default=None,
        help="As --since-last, and go on carrying changes as they happen, until told to stop.",
    ),
    click.option(
        "--until-caught-up",
        is_flag=True,
        default=None,
        help="Of --follow: end when the target has all that the source has, for a cut-over.",
    ),
    click.option(
        "--deletions",
        type=click.Choice(["carry", "ignore"]),
        help="Of documents deleted at the source: delete them at the target, or leave them. [default: carry]",
    ),
    click.option(
        "--executor",
        metavar="dask://HOST:8786",
        help="Have the workers of a Dask scheduler move the job, divided into splits; they must see SOURCE, "
        "TARGET and the folder of --checkpoint.",
    ),
    click.option("--splits", type=int, metavar="N", help="How many splits. [default: four for each worker]"),
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
