"""`migrator plan-server`: plan the move of a whole server, for `migrator apply`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from migrator.cli import options
from migrator.cli.flags import flags, made
from migrator.config import JobConfig
from migrator.errors import EXIT_REJECTS, EXIT_USAGE
from migrator.server.move.options import PlanOptions

OWN = ("patterns", "users", "replicator", "quick", "probe")
output_option = click.option(
    "--output", type=click.Path(path_type=Path), metavar="PLAN", help="Write the plan to this file, for apply."
)


@click.command()
@flags(
    JobConfig,
    *("source", "target"),
    help={"source": "http(s)://host:5984 that is moved.", "target": "http(s)://host:5984 that is moved to."},
)
@flags(PlanOptions)
@output_option
@options.connection_options
@options.job_option
@options.log_options
@options.json_option
def plan_server(job_file: str | None, **values: Any) -> None:
    """Plan the move of a whole server, with revisions, attachments, users and settings; write nothing lasting.

    Shows the databases with their options, sizes and counts, what cannot be moved, disk space and duration. Every
    document is read for it, unless --quick is given. --output keeps the plan for `migrator apply`. Exit 2 when it
    cannot be done as it is, 3 when some documents cannot be moved.

    \b
    Examples:
      migrator plan-server --from http://old:5984 --to http://new:5984 --output move.json
      migrator plan-server --from http://old:5984 --to http://new:5984 --database 'app_*' --map 'app_*=shop_*'
    """
    config = options.job_config(job_file, {name: value for name, value in values.items() if name not in OWN})
    plan_and_print(config, values)


def plan_and_print(config: JobConfig, values: Mapping[str, Any]) -> None:
    """Plan, keep the plan where a file is named, print it, and leave with 2 or 3 where something cannot be moved.

    Args:
        config: source, target, new names, and how servers are reached.
        values: of all flags, by name.
    """
    from migrator.jobs.registry import target_text
    from migrator.report.summary import dump
    from migrator.server.move.make_plan import plan_server as make
    from migrator.server.move.plan import save_plan
    from migrator.server.move.plan_text import plan_to_text

    wanted = made(PlanOptions, values, map=config.map)
    with options.listening(values) as listener, options.stoppable() as stopping:
        plan = make(
            config.source, target_text(config), wanted, config=config, listener=listener, stopping=stopping
        )
    output = values["output"]
    if output:
        save_plan(plan, output)
    text = dump(plan.as_dict()) if values["as_json"] else plan_to_text(plan, str(output) if output else "")
    click.echo(text, nl=False)
    if not plan.ok:
        sys.exit(EXIT_USAGE)
    if plan.cannot_go:
        sys.exit(EXIT_REJECTS)
