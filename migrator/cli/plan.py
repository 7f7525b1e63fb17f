"""`migrator plan`, `plan-server` and `apply`: what run would do; the move of a whole server, planned and done."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from migrator.cli import options
from migrator.cli.flags import Command, flags, given, made
from migrator.cli.messages import say, screen_lines
from migrator.cli.rendering import rejected_text, show, this_command
from migrator.config import JobConfig
from migrator.config.option import CommandOptions
from migrator.couch.places import is_server_url
from migrator.errors import ConfigError
from migrator.naming import was
from migrator.report.summary import plan_to_text
from migrator.server.move.options import ApplyOptions, PlanOptions

# Of a command line of run; a job file may have them, as it is for run too.
IGNORED = ("resume", "restart", "report", "dry_run", "verify")
NOT_PLANNED = ("since_last", "follow", "replicate", "executor")
OWN = ("users", "replicator", "quick", "probe")


@click.command(cls=Command)
@options.sides
@flags(JobConfig, *options.WRITE)
@flags(JobConfig, "checkpoint", "resume", "restart", "report", "dry_run", "verify", hidden=True)
# The old form of plan-server.
@flags(PlanOptions, *OWN, hidden=True)
@flags(CommandOptions, "output", hidden=True)
@options.connection_options
@options.job_option
@options.log_options
def plan(**values: Any) -> None:
    """Show what run with the same arguments would create, map and write; write nothing.

    The move of a whole server, with revisions, users and settings, is planned by `migrator plan-server`.

    \b
    Examples:
      migrator plan --from memory:app.db:service --to http://localhost:5984
      migrator plan --from export.json --to http://localhost:5984 --transform id:field=sku --json
    """
    config = job_without_own(values)
    refuse_ignored(config, values)
    if values["output"] or given(PlanOptions, {name: values[name] for name in OWN}):
        say(f"This is the old form of: {_new_form()}")
        plan_and_print(config, values)
        return
    from migrator.jobs.run import make_plan

    made = make_plan(config)
    show(made, f"{plan_to_text(made, max_lines=screen_lines())}\n")
    if _whole(config):
        say(
            "This is what run would do with the documents. "
            f"To plan the move of the whole server, with revisions, users and settings: {_new_form()}"
        )


def refuse_ignored(config: JobConfig, values: Mapping[str, Any]) -> None:
    """A plan that passes over what it was told would be a plan of something else.

    Raises:
        ConfigError: a flag was typed that plan does not look at, or the job is of a kind that it cannot plan.
    """
    for name in IGNORED:
        if values.get(name):
            raise ConfigError(f"--{name.replace('_', '-')} is for run: plan writes nothing.", hint="Leave it out.")
    for name in NOT_PLANNED:
        if getattr(config, name):
            raise ConfigError(
                f"The job has {name}, which plan cannot show: it plans a run that reads all of the source.",
                hint=f"Take {name} out of the job file to plan a run that copies everything.",
            )


def _new_form() -> str:

    return this_command().replace("migrator plan", "migrator plan-server", 1)


def _whole(config: JobConfig) -> bool:
    """True for a move from one server to another, whole."""
    if config.collection or config.transform or not is_server_url(config.source):
        return False
    from migrator.couch.locate import locate
    from migrator.jobs.registry import target_text

    sides = {"source": config.source, "target": target_text(config)}
    return all(
        is_server_url(url) and locate(url, config=config, role=role, environ=os.environ)[1] is None
        for role, url in sides.items()
    )


@click.command(cls=Command)
@flags(
    JobConfig,
    *("source", "target"),
    help={"source": "http(s)://host:5984 that is moved.", "target": "http(s)://host:5984 that is moved to."},
)
@flags(PlanOptions)
@flags(CommandOptions, "output")
@options.connection_options
@options.job_option
@options.log_options
def plan_server(**values: Any) -> None:
    """Plan the move of a whole server, with revisions, attachments, users and settings; write nothing lasting.

    Shows the databases with their options, sizes and counts, what cannot be moved, disk space and duration. Every
    document is read for it, unless --quick is given. --output keeps the plan for `migrator apply`. Exit 2 when it
    cannot be done as it is, 3 when some documents cannot be moved.

    \b
    Examples:
      migrator plan-server --from http://old:5984 --to http://new:5984 --output move.json
      migrator plan-server --from http://old:5984 --to http://new:5984 --database 'app_*' --map 'app_*=shop_*'
    """
    plan_and_print(job_without_own(values), values)


def job_without_own(values: Mapping[str, Any]) -> JobConfig:
    """The job of flags of which some have the name of a job's option and are not one."""
    return options.job_config({name: value for name, value in values.items() if name not in OWN})


def plan_and_print(config: JobConfig, values: Mapping[str, Any]) -> None:
    """Plan, keep the plan where a file is named, print it, and leave with 2 or 3 where something cannot be moved.

    Args:
        config: source, target, new names, and how servers are reached.
        values: of all flags, by name.
    """
    from migrator.jobs.registry import target_text
    from migrator.server.move.make_plan import plan_server as make
    from migrator.server.move.plan import plan_to_text, save_plan

    wanted = made(PlanOptions, values, map=config.map, patterns=values.get("patterns") or config.collection)
    target = target_text(config)
    with options.at_work(values) as (listener, stopping):
        plan = make(config.source, target, wanted, config=config, listener=listener, stopping=stopping)
    output = values["output"]
    if output:
        save_plan(plan, output)
    text = plan_to_text(plan, str(output or ""), max_lines=screen_lines())
    show(plan.to_dict(), text)
    if plan.exit_code:
        sys.exit(plan.exit_code)


@click.command(cls=Command)
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path))
@flags(ApplyOptions)
@flags(JobConfig, "report", "batch_docs", "batch_bytes", help={"batch_docs": "Maximum documents per batch."})
@options.connection_options
@options.log_options
def apply(plan_file: Path, **values: Any) -> None:
    """Do exactly what PLAN says, which `migrator plan-server --output PLAN` has written.

    Databases with their options, all revisions and attachments; then indexes and views, built; validation
    functions, users, and last of all who may come in. Then both servers are compared. Kill it and go on with
    --resume. A plan that does not fit source or target any more is refused with exit code 6 before anything is
    written. Exit 3 when something was rejected, 4 when the comparison finds something missing.

    The plan holds no credentials: set COUCHDB_SOURCE_USER and COUCHDB_SOURCE_PASSWORD, COUCHDB_TARGET_USER and
    COUCHDB_TARGET_PASSWORD, or give --from and --to again.

    \b
    Example:
      migrator apply move.json --resume --report report.json
    """
    from migrator.server.move.apply import apply_plan
    from migrator.server.move.plan import load_plan
    from migrator.server.move.result import applied_to_text

    plan = load_plan(plan_file)
    config = options.part_of_job(values, "report", "batch_docs", "batch_bytes")
    files = {"keep_checkpoint": values["checkpoint"] is not None, "again": this_command("--restart")}
    settings = made(ApplyOptions, values, **files).beside(plan_file)
    with options.at_work(values) as (listener, stopping):
        applied = apply_plan(plan, settings, config=config, listener=listener, stopping=stopping)
    show(applied.to_dict(), applied_to_text(applied), report=config.report)
    if applied.totals.rejected:
        they = was(applied.totals.rejected, "It is", "They are")
        say(
            f"{rejected_text(applied.totals.rejected, 'revision')}. {they} in {settings.rejects}.\n"
            f"Fix what stands in the way, then: {settings.again} (what is there already stays as it is)",
            "warning",
        )
    elif not applied.ok:
        say(f"The target has not all that the source has. Write what is missing: {settings.again}", "warning")
    if applied.exit_code:
        sys.exit(applied.exit_code)
