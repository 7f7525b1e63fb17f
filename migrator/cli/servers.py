"""The commands about one server: wait, sandbox, doctor, secure, compact."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import click

from migrator.cli import options
from migrator.cli.flags import Command, flags, made
from migrator.cli.messages import say
from migrator.cli.options import DryRun
from migrator.cli.rendering import show
from migrator.config import Connection
from migrator.config.option import SECONDS, CommandOptions, documented, option, options_class, said
from migrator.config.pace import PACE
from migrator.couch.locate import wait_for_server
from migrator.errors import EXIT_DIFFERENCES, EXIT_UNREACHABLE, ConfigError, EndpointError
from migrator.server.move.options import PlanOptions

# A server that is examined because it is ill is not waited for.
DOCTOR_DEFAULTS = Connection(max_attempts=2, max_outage_s=15.0)


@documented
@dataclass(frozen=True, kw_only=True)
class WaitOptions:
    """How long to wait for a server."""

    timeout_s: float = option(60.0, "Give up after this long.", unit=SECONDS)

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise ConfigError(f"--timeout is {self.timeout_s:g}.", hint="It must be above 0.")


@options_class
class SandboxOptions:
    """Where the sandbox listens and keeps its data."""

    port: int = option(5984, "Port to listen on; 0 takes a free one.", unit="PORT", at_least=0, at_most=65535)
    host: str = option("127.0.0.1", "The address to listen at.", unit="ADDRESS")
    in_memory: bool = option(False, "Keep no data.")
    folder: Path = option(Path("migrator-sandbox"), "Where data is kept.", unit="FOLDER")


@options_class
class SecureOptions(DryRun):
    """Who is let into a database, and as what."""

    user: str = field(metadata=said("The user; created if missing.", unit="NAME"))
    roles: tuple[str, ...] = option(
        (), "Let this role in, and give it to the user.", unit="ROLE", flag="--role", text="NAME"
    )
    admin: bool = option(False, "The job writes design documents too; make it an admin of this database.")
    password_file: Path | None = option(
        None,
        "File with the password; a new one is written there, for its owner only.",
        unit="FILE",
        text="NAME.password",
    )


@click.command(cls=Command)
@click.argument("url")
@flags(WaitOptions)
def wait(url: str, **values: Any) -> None:
    """Wait until the server at URL is ready; exit 5 when it is not in time.

    No credentials are sent: five failed logins would lock the account.

    \b
    Example:
      migrator wait http://localhost:5984 --timeout 120
    """
    ready = wait_for_server(url, **vars(made(WaitOptions, values)))
    show({"schema": 1, "ok": True, "url": ready}, f"{ready} is ready.\n")


@click.command(cls=Command)
@flags(SandboxOptions)
def sandbox(**values: Any) -> None:
    """Run a local CouchDB-compatible server (PouchDB Server) until Ctrl-C; its URL is printed when it answers.

    Everybody who reaches it may do everything: it is for trying things out and for tests.

    \b
    Example:
      migrator sandbox --in-memory
    """
    from migrator.sandbox import Sandbox

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    asked = made(SandboxOptions, values)
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    if asked.host not in {"127.0.0.1", "::1", "localhost"}:
        say(f"Everybody who reaches {asked.host} may read and change everything in this sandbox.")
    server = Sandbox(**vars(asked))
    try:
        say("Starting the sandbox (the first time, its packages are installed) ...")
        server.start()
        show({"schema": 1, "ok": True, "url": server.url}, f"{server.url}\n")
        say("Ctrl-C stops it.")
        code = server.wait()
        raise EndpointError(f"The sandbox ended by itself with code {code}.", hint="Start it again.")
    except KeyboardInterrupt:
        say("Stopped.")
    finally:
        server.stop()


@click.command(cls=Command)
@click.argument("url")
@flags(CommandOptions, "probe")
@flags(DryRun, help={"dry_run": "The same as --no-probe."})
@flags(DOCTOR_DEFAULTS, without=PACE)
@options.log_options
def doctor(url: str, **values: Any) -> None:
    """Check the server at URL (or URL/database): reachable, credentials, rights, disk, sizes, clock, exposure.

    Each finding has its remedy. Credentials are tried once, so no account is locked by it.
    Exit 0 when nothing needs fixing, 4 when something does, 5 when the server cannot be used at all.

    \b
    Examples:
      migrator doctor http://localhost:5984
      migrator doctor https://db.example.com/orders --json
    """
    from migrator.server.admin.doctor import examine
    from migrator.server.admin.probes import diagnosis_to_text

    asked = made(CommandOptions, values)
    with options.opened(url, values, defaults=DOCTOR_DEFAULTS) as (server, database):
        diagnosis = examine(server, database, probe=asked.probe and not values["dry_run"])
    show(diagnosis.as_dict(), diagnosis_to_text(diagnosis))
    if not diagnosis.reachable:
        sys.exit(EXIT_UNREACHABLE)
    if not diagnosis.ok:
        sys.exit(EXIT_DIFFERENCES)


@click.command(cls=Command)
@click.argument("url")
@flags(SecureOptions)
@options.server_options
def secure(url: str, **values: Any) -> None:
    """Make a user who may use the database URL/database and nothing else, and prove it by logging in.

    The password comes from MIGRATOR_USER_PASSWORD or the file; it is never an argument. URL's own credentials
    are an admin's. Exit 4 when the user can do less than its job, or more.

    \b
    Example:
      migrator secure http://localhost:5984/orders --user nightly-backup
    """
    from migrator.server.admin import secure

    asked = made(SecureOptions, values)
    path = asked.password_file or Path(f"{asked.user.replace('/', '_')}.password")
    with options.opened(url, values) as (server, database):
        if database is None:
            raise ConfigError("The URL names no database.", hint=f"Write {server.url}/DATABASE.")
        password = secure.given_password(path, os.environ)
        written = password is None and not asked.dry_run and secure.stored_user(server, asked.user) is None
        if written:
            password = secure.new_password(path)
        wanted = {name: value for name, value in vars(asked).items() if name != "password_file"}
        secured = secure.secure(server, database, password=password, **wanted)
    if written:
        secured.changes.append(f"keep the new password in {path}")
    show(secured.as_dict(), secure.secured_to_text(secured))


@click.command(cls=Command)
@click.argument("url")
@flags(PlanOptions, "patterns")
@flags(DryRun, help={"dry_run": "Show sizes, and do nothing."})
@options.server_options
def compact(url: str, patterns: Sequence[str], **values: Any) -> None:
    """Compact the databases of a server (or one: URL/database) and their views, and remove stale index files.

    Waits until the server is done. Reading and writing go on meanwhile. Admins only.

    \b
    Examples:
      migrator compact http://localhost:5984 --database 'orders_*'
      migrator compact http://localhost:5984/orders --dry-run
    """
    from migrator.server.admin import compact

    asked = vars(made(DryRun, values))
    with options.opened(url, values) as (server, database):
        done = compact.compact(server, database, patterns=patterns, **asked)
    show(compact.compacted_to_json(done, **asked), compact.compacted_to_text(done, **asked))
