"""Fixtures for pytest: a CouchDB server, and databases that are seeded and brought back after each test.

    # pytest.ini: couchdb_fixtures = tests/fixtures
    def test_order(seeded):
        response = httpx.get(f"{seeded.url_of('orders')}/o-1")

It is loaded with every pytest of an environment that has this package, so it imports nothing until it is used.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from migrator.fixtures.model import Fixtures
    from migrator.fixtures.servers import SeededDatabases

WORKER = "PYTEST_XDIST_WORKER"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare where the fixtures' folder is, and what ${now} is.

    Args:
        parser: pytest's own.
    """
    group = parser.getgroup("migrator", "CouchDB databases with test data")
    group.addoption(
        "--couchdb-fixtures", metavar="FOLDER", help="Folder for the fixture seeded; see migrator seed."
    )
    parser.addini("couchdb_fixtures", "Folder for the fixture seeded, from the root folder.", default="")
    parser.addini("couchdb_now", "What ${now} is in the fixtures, as in 2024-05-01.", default="")


@pytest.fixture(scope="session")
def couchdb_url() -> Iterator[str]:
    """URL of a server: COUCHDB_TEST_URL, else a container where Docker is there, else the sandbox.

    None to be had is a failure, never a skip.
    """
    from migrator.errors import MigratorError  # late, for pytest's quick start
    from migrator.fixtures.servers import server_for_tests

    server = server_for_tests()
    try:
        url = server.__enter__()
    except MigratorError as error:
        pytest.fail(f"These tests need a server: {error} Or set COUCHDB_TEST_URL.", pytrace=False)
    yield url
    server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def couchdb_prefix() -> str:
    """What the databases' names begin with: another for each run, and for each worker of pytest-xdist."""
    return f"t{uuid.uuid4().hex[:8]}_{os.environ.get(WORKER, 'main')}_"


@pytest.fixture(scope="session")
def couchdb_fixtures(pytestconfig: pytest.Config) -> Path:
    """The folder of fixtures, by --couchdb-fixtures or the ini file; define this again to choose another."""
    given = pytestconfig.getoption("--couchdb-fixtures") or pytestconfig.getini("couchdb_fixtures")
    if not given:
        pytest.fail(
            "There are no fixtures for the databases: set couchdb_fixtures in pytest.ini, or --couchdb-fixtures.",
            pytrace=False,
        )
    return pytestconfig.rootpath / str(given)


@pytest.fixture(scope="session")
def _couchdb_read(couchdb_fixtures: Path, pytestconfig: pytest.Config) -> Fixtures:
    from migrator.errors import MigratorError
    from migrator.fixtures.folder import read_fixtures
    from migrator.fixtures.values import parse_now

    try:
        now = parse_now(pytestconfig.getini("couchdb_now"))
        return read_fixtures(couchdb_fixtures, environ=os.environ, now=now)
    except MigratorError as error:
        pytest.fail(str(error), pytrace=False)


def _seeded(url: str, fixtures: Fixtures, prefix: str) -> Iterator[SeededDatabases]:
    from migrator.couch.locate import locate
    from migrator.fixtures.servers import SeededDatabases, fresh

    databases = SeededDatabases(locate(url)[0], fresh(fixtures, prefix), url)
    databases.seed()
    yield databases
    databases.remove()


@pytest.fixture(scope="session")
def _couchdb_by_test(couchdb_url: str, _couchdb_read: Fixtures, couchdb_prefix: str) -> Iterator[SeededDatabases]:
    yield from _seeded(couchdb_url, _couchdb_read, couchdb_prefix)


@pytest.fixture(scope="session")
def _couchdb_by_module(
    couchdb_url: str, _couchdb_read: Fixtures, couchdb_prefix: str
) -> Iterator[SeededDatabases]:
    yield from _seeded(couchdb_url, _couchdb_read, f"{couchdb_prefix}m_")


@pytest.fixture
def seeded(_couchdb_by_test: SeededDatabases) -> SeededDatabases:
    """Databases that hold just what the fixtures say when a test begins."""
    _couchdb_by_test.reset()
    return _couchdb_by_test


@pytest.fixture(scope="module")
def seeded_module(_couchdb_by_module: SeededDatabases) -> SeededDatabases:
    """Databases that hold just what the fixtures say when a module begins; its tests see each other's changes."""
    _couchdb_by_module.reset()
    return _couchdb_by_module
