"""`migrator plan`: show what run would do."""

from __future__ import annotations

import json
from typing import Any

import click

from migrator.cli import options


@click.command()
@options.source_option
@options.target_option
@options.collection_option
@options.map_option
@options.transform_option
@options.codec_option
@options.write_options
@click.option("--checkpoint", metavar="FILE", hidden=True)
@click.option("--resume", is_flag=True, default=None, hidden=True)
@click.option("--restart", is_flag=True, default=None, hidden=True)
@click.option("--report", metavar="FILE", hidden=True)
@click.option("--dry-run", is_flag=True, default=None, hidden=True)
@click.option("--verify", is_flag=True, default=None, hidden=True)
@options.connection_options
@options.job_option
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(job_file: str | None, as_json: bool, **flags: Any) -> None:
    """Show what run with the same arguments would create, map and write; write nothing.

    Example:
    \b
      migrator plan --from memory:app.db:service --to http://localhost:5984
    """
    config = options.job_config(job_file, flags)
    from migrator.planning import make_plan, plan_to_text  # noqa: PLC0415 late, for a quick start

    made = make_plan(config)
    click.echo(json.dumps(made, indent=2, ensure_ascii=False) if as_json else plan_to_text(made))
