"""`migrator replicate`: replications that the server itself runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from migrator.cli import options
from migrator.errors import ConfigError

if TYPE_CHECKING:
    from migrator.couch.endpoint import Endpoint
    from migrator.server.admin.replications import Replication

F = TypeVar("F", bound=Callable[..., Any])


def _common(function: F) -> F:
    return options.json_option(options.connection_options(options.log_options(function)))


dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")


@click.group()
def replicate() -> None:
    """Set up, list, start and stop replications that the server itself runs; credentials are never shown.

    \b
    Examples:
      migrator replicate set-up --from http://a:5984/orders --to http://b:5984/orders --continuous
      migrator replicate list http://b:5984
      migrator replicate stop http://b:5984 NAME
    """


@replicate.command("set-up")
@click.option("--from", "source", required=True, metavar="URL", help="http(s)://host:5984/database that is read.")
@click.option("--to", "target", required=True, metavar="URL", help="http(s)://host:5984/database that is written.")
@click.option("--on", "runner", metavar="URL", help="The server that runs it. [default: that of --to]")
@click.option("--name", default="", metavar="NAME", help="Name of the job. [default: made from what it does]")
@click.option("--continuous", is_flag=True, help="Keep replicating later changes.")
@click.option("--create-target", is_flag=True, help="Create the database of --to.")
@click.option("--paused", is_flag=True, help="Create it paused.")
@dry_run_option
@_common
def set_up(
    source: str,
    target: str,
    runner: str | None,
    as_json: bool,
    name: str,
    continuous: bool,
    create_target: bool,
    paused: bool,
    dry_run: bool,
    **values: Any,
) -> None:
    """Set up a replication and wait until it runs; exit 5 when it fails to begin.

    The server keeps the credentials of both sides in the job, where its admins can read them: give users made
    for it (migrator secure). The server must reach both URLs itself.

    Examples:

    \b
      migrator replicate set-up --from http://a:5984/shop --to http://b:5984/shop --continuous
      migrator replicate set-up --from http://a:5984/shop --to http://b:5984/shop --create-target --dry-run
    """
    from migrator.cli.admin_options import opened
    from migrator.server.admin import replications

    places = [_place(source, "source"), _place(target, "target")]
    with opened(runner or target, values) as (server, _):
        found = replications.set_up(
            server,
            *places,
            name=name,
            continuous=continuous,
            create_target=create_target,
            paused=paused,
            dry_run=dry_run,
        )
    _print([found], as_json=as_json)


@replicate.command("list")
@click.argument("url")
@_common
def list_(url: str, as_json: bool, **values: Any) -> None:
    """List the replications of the server at URL with their states and failures.

    Examples:

    \b
      migrator replicate list http://localhost:5984
      migrator replicate list http://localhost:5984 --json
    """
    from migrator.cli.admin_options import opened
    from migrator.server.admin import replications

    with opened(url, values) as (server, _):
        found = replications.listed(server)
    _print(found, as_json=as_json)


@replicate.command()
@click.argument("url")
@click.argument("name")
@dry_run_option
@_common
def stop(
    url: str,
    name: str,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Remove the replication NAME and wait until it has stopped; what it wrote stays.

    Examples:

    \b
      migrator replicate stop http://localhost:5984 shop-to-b --dry-run
      migrator replicate stop http://localhost:5984 shop-to-b
    """
    from migrator.cli.admin_options import opened
    from migrator.server.admin import replications

    with opened(url, values) as (server, _):
        found = replications.stop(server, name, dry_run=dry_run)
    _print([found], as_json=as_json)


@replicate.command()
@click.argument("url")
@click.argument("name")
@dry_run_option
@_common
def start(
    url: str,
    name: str,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Start the replication NAME, which was created paused or has failed for good.

    Examples:

    \b
      migrator replicate start http://localhost:5984 shop-to-b
    """
    from migrator.cli.admin_options import opened
    from migrator.server.admin import replications

    with opened(url, values) as (server, _):
        found = replications.start(server, name, dry_run=dry_run)
    _print([found], as_json=as_json)


def _place(url: str, role: str) -> tuple[Endpoint, str]:
    from migrator.couch.endpoint import redact
    from migrator.couch.locate import locate

    endpoint, database = locate(url, environ=os.environ, role=role)
    if database is None:
        raise ConfigError(f"{redact(url)} names no database of a server.", hint="Write http://host:5984/database.")
    return endpoint, database


def _print(found: list[Replication], *, as_json: bool) -> None:
    from migrator.cli.admin_options import print_json
    from migrator.server.admin.replications import replications_to_text

    if as_json:
        print_json({"schema": 1, "ok": True, "replications": [asdict(job) for job in found]})
    else:
        click.echo(replications_to_text(found), nl=False)
