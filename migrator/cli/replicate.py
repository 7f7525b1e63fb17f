"""`migrator replicate`: replications that the server itself runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, field
from typing import TYPE_CHECKING, Any

import click

from migrator.cli import options
from migrator.cli.flags import Group, flags, made
from migrator.cli.options import DryRun
from migrator.cli.rendering import show
from migrator.config.option import option, options_class, said
from migrator.couch.places import redact
from migrator.errors import ConfigError

if TYPE_CHECKING:
    from migrator.couch.endpoint import Endpoint
    from migrator.server.admin.connection import Server
    from migrator.server.admin.replications import Replication


@options_class
class Sides:
    """Between which databases, and where it runs."""

    source: str = field(metadata=said("http(s)://host:5984/database that is read.", unit="URL", flag="--from"))
    target: str = field(metadata=said("http(s)://host:5984/database that is written.", unit="URL", flag="--to"))
    runner: str = option("", "The server that runs it.", unit="URL", flag="--on", text="that of --to")


@options_class
class ReplicationOptions(DryRun):
    """What a replication does."""

    name: str = option("", "Name of the job.", unit="NAME", text="made from what it does")
    continuous: bool = option(False, "Keep replicating later changes.")
    create_target: bool = option(False, "Create the database of --to.")
    paused: bool = option(False, "Create it paused.")


@click.group(cls=Group)
def replicate() -> None:
    """Set up, list, start and stop replications that the server itself runs; credentials are never shown.

    \b
    Examples:
      migrator replicate set-up --from http://a:5984/orders --to http://b:5984/orders --continuous
      migrator replicate list http://b:5984
      migrator replicate stop http://b:5984 NAME
    """


@replicate.command("set-up")
@flags(Sides)
@flags(ReplicationOptions)
@options.server_options
def set_up(**values: Any) -> None:
    """Set up a replication and wait until it runs; exit 5 when it fails to begin.

    The server keeps the credentials of both sides in the job, where its admins can read them: give users made
    for it (migrator secure). The server must reach both URLs itself.

    Examples:

    \b
      migrator replicate set-up --from http://a:5984/shop --to http://b:5984/shop --continuous
      migrator replicate set-up --from http://a:5984/shop --to http://b:5984/shop --create-target --dry-run
    """
    sides = made(Sides, values)
    places = [_place(sides.source, "source"), _place(sides.target, "target")]
    asked = vars(made(ReplicationOptions, values))
    _do(sides.runner or sides.target, values, lambda jobs, server: [jobs.set_up(server, *places, **asked)])


@replicate.command("list")
@click.argument("url")
@options.server_options
def list_(url: str, **values: Any) -> None:
    """List the replications of the server at URL with their states and failures.

    Examples:

    \b
      migrator replicate list http://localhost:5984
      migrator replicate list http://localhost:5984 --json
    """
    _do(url, values, lambda jobs, server: jobs.listed(server))


@replicate.command()
@click.argument("url")
@click.argument("name")
@flags(DryRun)
@options.server_options
def stop(url: str, name: str, **values: Any) -> None:
    """Remove the replication NAME and wait until it has stopped; what it wrote stays.

    Examples:

    \b
      migrator replicate stop http://localhost:5984 shop-to-b --dry-run
      migrator replicate stop http://localhost:5984 shop-to-b
    """
    _do(url, values, lambda jobs, server: [jobs.stop(server, name, **vars(made(DryRun, values)))])


@replicate.command()
@click.argument("url")
@click.argument("name")
@flags(DryRun)
@options.server_options
def start(url: str, name: str, **values: Any) -> None:
    """Start the replication NAME, which was created paused or has failed for good.

    Examples:

    \b
      migrator replicate start http://localhost:5984 shop-to-b
    """
    _do(url, values, lambda jobs, server: [jobs.start(server, name, **vars(made(DryRun, values)))])


def _place(url: str, role: str) -> tuple[Endpoint, str]:
    from migrator.couch.locate import locate

    endpoint, database = locate(url, environ=os.environ, role=role)
    if database is None:
        raise ConfigError(f"{redact(url)} names no database of a server.", hint="Write http://host:5984/database.")
    return endpoint, database


def _do(url: str, values: dict[str, Any], act: Callable[[Any, Server], list[Replication]]) -> None:
    """Do something with replications at a server, by the module for them, and print them."""
    from migrator.server.admin import replications

    with options.opened(url, values) as (server, _):
        found = act(replications, server)
    value = {"schema": 1, "ok": True, "replications": [asdict(job) for job in found]}
    show(value, replications.replications_to_text(found))
