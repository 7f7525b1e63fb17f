"""`migrator plan`: show what run would do."""

from __future__ import annotations

import os
from typing import Any

import click

from migrator.cli import options
from migrator.cli.flags import flags, given
from migrator.cli.move import OWN, PlanFile, job_without_own, plan_and_print
from migrator.config import JobConfig
from migrator.server.move.options import PlanOptions


@click.command()
@options.sides
@flags(JobConfig, *options.WRITE)
@flags(JobConfig, "checkpoint", "resume", "restart", "report", "dry_run", "verify", hidden=True)
# The old form of plan-server.
@flags(PlanOptions, *OWN, hidden=True)
@flags(PlanFile, hidden=True)
@options.connection_options
@options.job_option
@options.log_options
@options.json_option
def plan(**values: Any) -> None:
    """Show what run with the same arguments would create, map and write; write nothing.

    The move of a whole server, with revisions, users and settings, is planned by `migrator plan-server`.

    \b
    Examples:
      migrator plan --from memory:app.db:service --to http://localhost:5984
      migrator plan --from export.json --to http://localhost:5984 --transform id:field=sku --json
    """
    config = job_without_own(values)
    if values["output"] or given(PlanOptions, {name: values[name] for name in OWN}):
        click.echo(f"This is the old form of: {_new_form()}", err=True)
        plan_and_print(config, values)
        return
    from migrator.cli.rendering import show
    from migrator.jobs.plan import make_plan, plan_to_text

    made = make_plan(config)
    show(made, f"{plan_to_text(made)}\n", as_json=values["as_json"])
    if _whole(config):
        click.echo(
            "This is what run would do with the documents. "
            f"To plan the move of the whole server, with revisions, users and settings: {_new_form()}",
            err=True,
        )


def _new_form() -> str:
    from migrator.cli.again import this_command

    return this_command().replace("migrator plan", "migrator plan-server", 1)


def _whole(config: JobConfig) -> bool:
    """True for a move from one server to another, whole."""
    from migrator.couch.endpoint import is_server_url

    if config.collection or config.transform or not is_server_url(config.source):
        return False
    from migrator.couch.locate import server_of
    from migrator.jobs.registry import target_text

    sides = {"source": config.source, "target": target_text(config)}
    return all(
        is_server_url(url) and server_of(config, url, role=role, environ=os.environ)[1] is None
        for role, url in sides.items()
    )
