"""What tests of loaders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fake_couch import FakeCouch


@pytest.fixture
def couch() -> Iterator[FakeCouch]:
    """A server of one test."""
    couch = FakeCouch()
    yield couch
    couch.server.close()
