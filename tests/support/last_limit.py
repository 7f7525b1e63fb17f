"""A plugin for pytest: a test's second limit counts for its fixtures too, after it has failed by the first one."""

from __future__ import annotations

import faulthandler
from collections.abc import Generator

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """End the process with the place of each of its threads where the fixtures do not end.

    pytest itself takes its limit back when a test fails, and what it hung at is often what its fixtures wait for.
    """
    limit_s = float(item.config.getini("faulthandler_timeout"))
    faulthandler.dump_traceback_later(limit_s, exit=True, file=item.config.stash[fault_handler_stderr_fd_key])
    yield
