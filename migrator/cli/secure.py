"""`migrator secure`: a least-privilege user for a job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from migrator.cli import options
from migrator.errors import ConfigError


@click.command()
@click.argument("url")
@click.option("--user", required=True, metavar="NAME", help="The user; created if missing.")
@click.option(
    "--role",
    "roles",
    metavar="ROLE",
    multiple=True,
    help="Let this role in, and give it to the user. [default: NAME]",
)
@click.option(
    "--admin", is_flag=True, help="The job writes design documents too; make it an admin of this database."
)
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    help="File with the password; a new one is written there, for its owner only. [default: NAME.password]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@options.json_option
@options.connection_options
@options.log_options
def secure(
    url: str,
    user: str,
    roles: tuple[str, ...],
    admin: bool,
    password_file: Path | None,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Make a user who may use the database URL/database and nothing else, and prove it by logging in.

    The password comes from MIGRATOR_USER_PASSWORD or the file; it is never an argument. URL's own credentials
    are an admin's. Exit 4 when the user can do less than its job, or more.

    \b
    Example:
      migrator secure http://localhost:5984/orders --user nightly-backup
    """
    from migrator.cli.admin_options import opened, print_json
    from migrator.server.admin import passwords, secure

    path = password_file or Path(f"{user.replace('/', '_')}.password")
    with opened(url, values) as (server, database):
        if database is None:
            raise ConfigError("The URL names no database.", hint=f"Write {server.url}/DATABASE.")
        password = passwords.given_password(path, os.environ)
        made = False
        if password is None and not dry_run and not secure.user_exists(server, user):
            password, made = passwords.new_password(path), True
        secured = secure.secure(server, database, user, password, roles=roles, admin=admin, dry_run=dry_run)
    if made:
        secured.changes.append(f"keep the new password in {path}")
    if as_json:
        print_json(secured.as_dict())
    else:
        click.echo(secure.secured_to_text(secured), nl=False)
