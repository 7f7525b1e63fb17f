"""`migrator sandbox`: run a local CouchDB-compatible server."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

import click

from migrator.errors import EndpointError


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5984,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--in-memory", is_flag=True, help="Keep no data.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("migrator-sandbox"),
    show_default=True,
    help="Where data is kept.",
)
def sandbox(port: int, host: str, in_memory: bool, folder: Path) -> None:
    """Run a local CouchDB-compatible server (PouchDB Server) until Ctrl-C; its URL is printed when it answers.

    Everybody who reaches it may do everything: it is for trying things out and for tests.

    \b
    Example:
      migrator sandbox --in-memory
    """
    from migrator.sandbox import Sandbox

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    if host not in {"127.0.0.1", "::1", "localhost"}:
        click.echo(f"Everybody who reaches {host} may read and change everything in this sandbox.", err=True)
    server = Sandbox(host=host, port=port, folder=folder, in_memory=in_memory)
    try:
        click.echo("Starting the sandbox (the first time, its packages are installed) ...", err=True)
        server.start()
        click.echo(server.url)
        click.echo("Ctrl-C stops it.", err=True)
        code = server.wait()
        raise EndpointError(f"The sandbox ended by itself with code {code}.", hint="Start it again.")
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
    finally:
        server.stop()
