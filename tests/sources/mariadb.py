"""A private MariaDB server, where one is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from tests.support.processes import LIMIT_S, SOON_S, ended, wait_until

PASSWORD = "s3cr3t-pw"
PROGRAMS = ("mariadb-install-db", "mariadbd")


def missing() -> str:
    """What is not installed here; "" where all is, or MARIADB_TEST_URL names a server."""
    if os.environ.get("MARIADB_TEST_URL"):
        return ""
    return ", ".join(name for name in PROGRAMS if _program(name) is None)


@contextmanager
def running() -> Iterator[str]:
    """Start one in a folder of its own, at a socket that nobody else uses.

    Yields:
        The URL of its administrator's database; MARIADB_TEST_URL names another server to use.
    """
    if os.environ.get("MARIADB_TEST_URL"):
        yield os.environ["MARIADB_TEST_URL"]
        return
    folder = tempfile.TemporaryDirectory(prefix="migrator-mariadb-", ignore_cleanup_errors=True)
    with folder as name, server(Path(name)) as url:
        yield url


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start one in a folder, with the data that may be there already.

    Yields:
        The URL of its administrator's database.
    """
    data, socket, log = folder / "data", folder / "socket", folder / "log"
    # Two that begin at one time take each other's temporary tables for their own.
    environ = {**os.environ, "TMPDIR": str(folder)}
    # As root it wants to be told that this is meant.
    user = ["--user=root"] if os.geteuid() == 0 else []
    install, daemon = (str(_program(program)) for program in PROGRAMS)
    if not data.exists():
        made = [install, "--no-defaults", *user, f"--datadir={data}", "--skip-test-db"]
        made += ["--auth-root-authentication-method=normal"]
        subprocess.run(made, check=True, capture_output=True, timeout=LIMIT_S, env=environ)
    command = [daemon, "--no-defaults", *user, f"--datadir={data}", f"--socket={socket}", "--skip-networking"]
    # What is lost when the power fails is a test's; and no name of this machine is looked up.
    command += ["--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve", f"--pid-file={folder / 'pid'}"]
    url = f"mysql+pymysql://root@localhost/mysql?unix_socket={socket}"
    with (
        log.open("wb") as output,
        ended(subprocess.Popen(command, stdout=output, stderr=output, env=environ)) as process,
    ):
        wait_until(lambda: b"ready for connections" in log.read_bytes(), process=process)
        yield url
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(SOON_S)


@contextmanager
def database(url: str) -> Iterator[str]:
    """A database of a test's own, removed afterwards, with a user whose password must show nowhere."""
    name = f"t{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            connection.exec_driver_sql(f"CREATE USER {name} IDENTIFIED BY '{PASSWORD}'")
            connection.exec_driver_sql(f"GRANT ALL ON *.* TO {name} WITH GRANT OPTION")
        own = sa.make_url(url).set(username=name, password=PASSWORD, database=name, drivername="mysql")
        yield own.render_as_string(hide_password=False)
        with engine.connect() as connection:
            # A reader that was not closed holds its tables: that is a failure, and nothing to wait for.
            connection.exec_driver_sql("SET lock_wait_timeout = 60")
            connection.exec_driver_sql(f"DROP DATABASE {name}")
            connection.exec_driver_sql(f"DROP USER {name}")
    finally:
        engine.dispose()


def statements(url: str, *texts: str) -> None:
    """Run some SQL, as it stands."""
    engine = sa.create_engine(sa.make_url(url).set(drivername="mysql+pymysql"), poolclass=sa.pool.NullPool)
    with engine.connect() as connection, closing(connection.connection.cursor()) as cursor:
        for text in texts:
            cursor.execute(text)
        connection.connection.commit()


def _program(name: str) -> str | None:
    # Debian has the server where only administrators look.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
