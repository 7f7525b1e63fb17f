"""What a job is made of: options that say their own default, unit, help and group.

A flag, its TOML key and the field have one name: `--on-conflict`, `on_conflict`, `on_conflict`.
"""

from __future__ import annotations

from migrator.config.connection import Connection, Watch
from migrator.config.job import POLICIES, SORTS, JobConfig, load_job_file, parse_max_errors
from migrator.config.option import LogOptions, Output

__all__ = [
    "POLICIES",
    "SORTS",
    "Connection",
    "JobConfig",
    "LogOptions",
    "Output",
    "Watch",
    "load_job_file",
    "parse_max_errors",
]
