"""Errors that cross processes as texts."""

from __future__ import annotations

import pytest

from migrator import errors
from migrator.extractors.remote_file import FileMissing
from migrator.jobs.splits import error_of, told_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.ConfigError("There is no file.", hint="Look."), errors.ConfigError),
        (errors.DatabaseMissing("There is no database.", hint="Look."), errors.DatabaseMissing),
        (errors.TransientError("No answer.", hint="Wait."), errors.TransientError),
        (FileMissing("There is no file.", hint="Look."), errors.ConfigError),
    ],
)
def test_an_error_keeps_its_exit_code(error: errors.MigratorError, kind: type) -> None:
    """One of a kind that only its own module knows is of the nearest that all know."""
    again = error_of(*told_of(error))
    assert (type(again), again.message, again.hint) == (kind, error.message, error.hint)
    assert again.exit_code == error.exit_code
