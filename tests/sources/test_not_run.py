"""What cannot run here for want of a server is counted and said at the end, and never left out without a word."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest
from tests.sources import mariadb


def test_tests_without_mariadb_are_counted_at_the_end() -> None:
    """In a line of their own, beside those that need CouchDB itself."""
    lines: list[str] = []
    reasons = [conftest.NEEDS_MARIADB + "x"] * 3 + [conftest.NEEDS_COUCHDB + "y"] + ["something else"]
    reports = [SimpleNamespace(longrepr=("file.py", 1, f"Skipped: {reason}")) for reason in reasons]
    reporter = SimpleNamespace(stats={"skipped": reports}, write_line=lines.append)
    config: Any = SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin={"terminalreporter": reporter}.get))
    conftest.pytest_unconfigure(config)
    assert lines[0].startswith("3 tests need MariaDB and did not run here: ")
    assert lines[1].startswith("1 tests need Apache CouchDB itself and did not run here: ")


def test_a_machine_without_mariadb_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is named; a server that is named elsewhere is enough."""
    monkeypatch.setattr(mariadb, "PROGRAMS", ("mariadb-install-db", "no-such-daemon"))
    monkeypatch.delenv("MARIADB_TEST_URL", raising=False)
    assert "no-such-daemon" in mariadb.missing()
    monkeypatch.setenv("MARIADB_TEST_URL", "mysql+pymysql://h/d")
    assert mariadb.missing() == ""
