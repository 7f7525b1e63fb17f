"""`migrator plan`: show what run would do."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrator.cli import options
from migrator.cli.flags import flags
from migrator.config import JobConfig
from migrator.errors import EXIT_REJECTS, EXIT_USAGE

if TYPE_CHECKING:
    from migrator.events import Listener
    from migrator.server.move.options import PlanOptions
    from migrator.server.move.plan import ServerPlan


@click.command()
@options.sides
@flags(JobConfig, *options.WRITE)
@flags(JobConfig, "checkpoint", "resume", "restart", "report", "dry_run", "verify", hidden=True)
@click.option(
    "--database",
    "patterns",
    metavar="PATTERN",
    multiple=True,
    help="Whole server: only databases whose names fit, as in 'orders_*'; may be given again.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="PLAN", help="Whole server: write it for apply."
)
@click.option("--no-users", is_flag=True, help="Whole server: leave _users behind.")
@click.option("--replicator", is_flag=True, help="Whole server: take the replications along, paused.")
@click.option(
    "--quick",
    is_flag=True,
    help="Whole server: read documents only where one can be too large; count no attachments.",
)
@click.option(
    "--no-probe", is_flag=True, help="Whole server: no sample into a scratch database; no time expected."
)
@options.connection_options
@options.job_option
@options.log_options
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(
    job_file: str | None,
    as_json: bool,
    patterns: tuple[str, ...],
    output: Path | None,
    no_users: bool,
    replicator: bool,
    quick: bool,
    no_probe: bool,
    **values: Any,
) -> None:
    """Show what run with the same arguments would create, map and write; write nothing.

    Between two servers (URLs without a database, and no collection or transformer) it is the plan of the whole
    server's move: databases with their options, sizes and counts, what cannot go, disk and time. Every document is
    read for it, which --quick leaves out. --output keeps it for `migrator apply`. Exit 2 when it cannot be done as
    it is, 3 when some documents cannot go.

    \b
    Examples:
      migrator plan --from memory:app.db:service --to http://localhost:5984
      migrator plan --from http://old:5984 --to http://new:5984 --output move.json
      migrator plan --from http://old:5984 --to http://new:5984 --database 'app_*' --map 'app_*=shop_*'
    """
    config = options.job_config(job_file, values)
    if patterns or output or replicator or quick or no_users or no_probe or _whole(config):
        from migrator.server.move.options import PlanOptions  # noqa: PLC0415 late, for a quick start

        wanted = PlanOptions(
            patterns=patterns,
            map=config.map,
            users=not no_users,
            replicator=replicator,
            quick=quick,
            probe=not no_probe,
        )
        with options.listening(values) as listener:
            server_plan = _server_plan(config, wanted, listener)
        _show(server_plan, output, as_json=as_json)
        return
    from migrator.jobs.plan import make_plan, plan_to_text  # noqa: PLC0415 late, for a quick start

    made = make_plan(config)
    click.echo(json.dumps(made, indent=2, ensure_ascii=False) if as_json else plan_to_text(made))


def _whole(config: JobConfig) -> bool:
    """True for a move from one server to another, whole."""
    from migrator.couch.endpoint import is_server_url  # noqa: PLC0415

    if config.collection or config.transform or not is_server_url(config.source):
        return False
    from migrator.couch.locate import server_of  # noqa: PLC0415
    from migrator.jobs.registry import target_text  # noqa: PLC0415

    sides = {"source": config.source, "target": target_text(config)}
    return all(
        is_server_url(url) and server_of(config, url, role=role, environ=os.environ)[1] is None
        for role, url in sides.items()
    )


def _server_plan(config: JobConfig, wanted: PlanOptions, listener: Listener) -> ServerPlan:
    from migrator.jobs.registry import target_text  # noqa: PLC0415
    from migrator.server.move.make_plan import plan_server  # noqa: PLC0415

    with options.stoppable() as stopping:
        return plan_server(
            config.source, target_text(config), wanted, config=config, listener=listener, stopping=stopping
        )


def _show(made: ServerPlan, output: Path | None, *, as_json: bool) -> None:
    from migrator.report.summary import dump  # noqa: PLC0415
    from migrator.server.move.plan import save_plan  # noqa: PLC0415
    from migrator.server.move.plan_text import plan_to_text  # noqa: PLC0415

    if output:
        save_plan(made, output)
    text = dump(made.as_dict()) if as_json else plan_to_text(made, str(output) if output else "")
    click.echo(text, nl=False)
    if not made.ok:
        sys.exit(EXIT_USAGE)
    if made.cannot_go:
        sys.exit(EXIT_REJECTS)
