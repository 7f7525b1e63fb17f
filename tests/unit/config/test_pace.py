"""Documents and bytes a second, as people write them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrator.config import Connection, JobConfig, load_job_file
from migrator.config.pace import MIN_BYTES, PaceLimits, parse_bandwidth, parse_rate
from migrator.errors import ConfigError
from migrator.model import BatchLimits


@pytest.mark.parametrize(
    ("text", "per_s"),
    [("", 0), ("500", 500), ("500/s", 500), (" 500 / s ", 500), ("30/min", 0.5), ("3600/h", 1), ("0.5", 0.5)],
)
def test_rates(text: str, per_s: float) -> None:
    """A number is one a second."""
    assert parse_rate(text) == per_s


@pytest.mark.parametrize(
    ("text", "per_s"),
    [
        ("", 0),
        ("1000000", 1e6),
        ("5MB/s", 5e6),
        ("5 MB/s", 5e6),
        ("5MB", 5e6),
        ("1.5M", 1.5e6),
        ("500kB/s", 5e5),
        ("500KB/s", 5e5),
        ("2MiB/s", 2 * 2**20),
        ("64KiB/s", 2**16),
        ("1GB/s", 1e9),
    ],
)
def test_bandwidths(text: str, per_s: float) -> None:
    """By thousands, or by 1024 with an i."""
    assert parse_bandwidth(text) == per_s


@pytest.mark.parametrize("text", ["0", "-1", "fast", "5/day", "1e3", "5MB/s", "1,000/s", "nan", "/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """With what is."""
    with pytest.raises(ConfigError, match="rate is") as caught:
        Connection(rate=text)
    assert "500/s" in caught.value.hint


@pytest.mark.parametrize("text", ["0", "0MB/s", "-5MB", "5 apples", "5Mbit/s", "5MB/h", "inf"])
def test_what_is_no_bandwidth_is_refused(text: str) -> None:
    """Bits are not bytes."""
    with pytest.raises(ConfigError, match="bandwidth is") as caught:
        Connection(bandwidth=text)
    assert "5MB/s" in caught.value.hint


def test_a_job_file_may_give_numbers(tmp_path: Path) -> None:
    """Of documents or bytes, as texts or not."""
    path = tmp_path / "job.toml"
    path.write_text('rate = 250\nbandwidth = "2MB/s"\n')
    assert JobConfig(**load_job_file(str(path))).pace == PaceLimits(250.0, 2e6)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        (PaceLimits(), (1_000, 2_000_000)),
        (PaceLimits(docs_per_s=50), (50, 2_000_000)),
        (PaceLimits(docs_per_s=0.2), (1, 2_000_000)),
        (PaceLimits(docs_per_s=1e6, bytes_per_s=1e9), (1_000, 2_000_000)),
        (PaceLimits(bytes_per_s=5e5), (1_000, 500_000)),
        (PaceLimits(bytes_per_s=10), (1_000, MIN_BYTES)),
    ],
)
def test_batches_are_for_a_second_at_most(limits: PaceLimits, wanted: tuple[int, int]) -> None:
    """So that what goes slowly goes evenly."""
    bounded = limits.bounded(BatchLimits(1_000, 2_000_000))
    assert (bounded.max_docs, bounded.max_bytes) == wanted


@pytest.mark.parametrize(("parts", "share"), [(1, (100, 6e6)), (4, (25, 1.5e6)), (0, (100, 6e6))])
def test_processes_share_what_the_job_may(parts: int, share: tuple[float, float]) -> None:
    """All together are as fast as one."""
    job = Connection(rate="100/s", bandwidth="6MB/s")
    shares: Any = job.shares_of(parts)
    assert replace(job, **shares).pace == PaceLimits(*share)
    none: Any = Connection().shares_of(parts)
    assert replace(Connection(), **none) == Connection()
