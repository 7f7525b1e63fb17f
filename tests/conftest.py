"""Fixtures for tests that talk to a server: COUCHDB_TEST_URL, or a sandbox of this session's own."""

from __future__ import annotations

import importlib.metadata
import os
import re
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, settings

from migrator.errors import MigratorError
from migrator.sandbox import Sandbox
from tests import support

# A machine with one busy core is slow, not wrong.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


def pytest_report_header() -> str:
    """Name what a failure may depend on."""
    names = ("couchdb", "urllib3", "tenacity", "orjson", "structlog", "tqdm", "click", "zstandard")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    server = os.environ.get("COUCHDB_TEST_URL")
    where = re.sub(r"//[^@/]*@", "//", server) if server else "a sandbox of its own"
    return f"server: {where}\nwith: {versions}"


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name values whose usual name is an address or too long: workers must agree on the names of tests."""
    if isinstance(val, memoryview):
        return f"memory of {val.nbytes}"
    if isinstance(val, int) and val.bit_length() > 4096:
        return f"integer of {val.bit_length()} bits"
    return None


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A server's URL with credentials where it wants some; missing is a failure, never a skip."""
    if url := os.environ.get("COUCHDB_TEST_URL"):
        # Asked once: wrong credentials tried by every test would lock the account.
        status, answer = support.request("GET", f"{url.rstrip('/')}/")
        if status != 200:
            pytest.fail(f"The server of COUCHDB_TEST_URL answers {status}: {answer}", pytrace=False)
        yield url.rstrip("/")
        return
    sandbox = Sandbox(in_memory=True)
    try:
        sandbox.start()
    except MigratorError as error:
        pytest.fail(f"These tests need a server: {error} Or set COUCHDB_TEST_URL.", pytrace=False)
    yield sandbox.url
    sandbox.stop()


@pytest.fixture(scope="session")
def is_couchdb(server_url: str) -> bool:
    """True for Apache CouchDB itself, false for the sandbox."""
    vendor = support.get(f"{server_url}/").get("vendor", {}).get("name", "")
    return str(vendor) == "The Apache Software Foundation"


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
        if name.startswith("COUCHDB_") and name != "COUCHDB_TEST_URL":
            monkeypatch.delenv(name)
