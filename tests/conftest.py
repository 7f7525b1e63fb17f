"""Fixtures for tests that talk to a server: COUCHDB_TEST_URL, else a container, else a sandbox of this session."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import urllib3
from hypothesis import HealthCheck, settings

from tests import support
from tests.support.processes import SOON_S, ended
from tests.support.seeds import EXAMPLES, THOROUGH

# An example package with tests of its own, which tests/unit/plugins/test_plugins.py runs.
collect_ignore = ["data"]
# By its name, so that it is the same whether the package's entry point is installed or not.
pytest_plugins = ("migrator.pytest_plugin", "tests.support.last_limit")

# A machine with one busy core is slow, not wrong.
settings.register_profile(
    "default", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow]
)
# For whoever has changed what the properties are about: --hypothesis-profile thorough.
settings.register_profile("thorough", settings.get_profile("default"), max_examples=THOROUGH)
settings.load_profile("default")


def pytest_report_header() -> str:
    """Name what a failure may depend on."""
    names = ("couchdb", "urllib3", "tenacity", "orjson", "structlog", "tqdm", "click", "zstandard")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    server = os.environ.get("COUCHDB_TEST_URL")
    where = re.sub(r"//[^@/]*@", "//", server) if server else "a container, or a sandbox of its own"
    return f"server: {where}\nwith: {versions}"


# What the reason of such a skip begins with, by which they are counted.
NEEDS_COUCHDB = "needs Apache CouchDB itself: "
NEEDS_MARIADB = "needs MariaDB: "
_NOT_RUN = {
    NEEDS_MARIADB: "need MariaDB and did not run here: install mariadb-server, or MARIADB_TEST_URL names one.",
    NEEDS_COUCHDB: "need Apache CouchDB itself and did not run here: COUCHDB_TEST_URL names one.",
}


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say in the very last lines how many tests did not run here for want of a server."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        # The workers of pytest-xdist have none.
        return
    skips = reporter.stats.get("skipped", [])
    for needs, what in _NOT_RUN.items():
        number = sum(needs in str(report.longrepr) for report in skips)
        if number:
            reporter.write_line(f"{number} tests {what}")


def pytest_collection_finish() -> None:
    """Leave what was collected out of each later search for garbage: they stay to the end."""
    gc.freeze()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name values whose usual name is an address or too long: workers must agree on the names of tests."""
    if isinstance(val, memoryview):
        return f"memory of {val.nbytes}"
    if isinstance(val, int) and val.bit_length() > 4096:
        return f"integer of {val.bit_length()} bits"
    return None


@pytest.fixture(scope="session")
def server_url(couchdb_url: str) -> str:
    """A server's URL with credentials where it wants some, by the package's own plugin for pytest."""
    return couchdb_url


@pytest.fixture(scope="session")
def second_url(server_url: str) -> str:
    """Another server for what goes between two: COUCHDB_TEST_URL_2, else the same one again."""
    return os.environ.get("COUCHDB_TEST_URL_2", server_url)


@pytest.fixture(scope="session")
def is_couchdb(server_url: str) -> bool:
    """True for Apache CouchDB itself, false for the sandbox."""
    vendor = support.get(f"{server_url}/").get("vendor", {}).get("name", "")
    return str(vendor) == "The Apache Software Foundation"


@pytest.fixture(autouse=True)
def _needs_couchdb(request: pytest.FixtureRequest) -> None:
    """Skip a test with the marker `couchdb` on the sandbox, with the reason that the marker gives."""
    marker = request.node.get_closest_marker("couchdb")
    if marker and not request.getfixturevalue("is_couchdb"):
        pytest.skip(NEEDS_COUCHDB + marker.args[0])


@pytest.fixture
def database_prefix(server_url: str) -> Iterator[str]:
    """A prefix for this test's databases, which are removed afterwards."""
    prefix = f"t{uuid.uuid4().hex[:12]}_"
    yield prefix
    for name in support.get(f"{server_url}/_all_dbs"):
        if name.startswith(prefix):
            support.request("DELETE", f"{server_url}/{quote(name, safe='')}")


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without credentials of the developer's own."""
    for name in list(os.environ):
        if name.startswith("COUCHDB_") and not name.startswith("COUCHDB_TEST_URL"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server of this session's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)):
        often = urllib3.Retry(60, backoff_factor=0.2, backoff_max=0.5)
        urllib3.PoolManager(retries=often, timeout=SOON_S).request("GET", url)
        yield url


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a PostgreSQL server of this session's own."""
    from tests.sources import postgresql  # an extra

    with postgresql.running() as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """The URL of a MariaDB server of this session's own; without one the test is counted as not run."""
    from tests.sources import mariadb  # an extra

    if missing := mariadb.missing():
        pytest.skip(f"{NEEDS_MARIADB}{missing} cannot be found")
    with mariadb.running() as url:
        yield url


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket's URL; where and as whom is in the environment, as AWS has it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"b{uuid.uuid4().hex}"
    assert urllib3.request("PUT", f"{s3_server}/{name}").status == 200
    return f"s3://{name}/backups/nightly"
