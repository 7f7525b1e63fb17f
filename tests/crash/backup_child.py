"""A backup or a restore in a process of its own, with files and batches small enough to be killed between them."""

from __future__ import annotations

import sys

from migrator.backup.create import run_backup
from migrator.backup.options import BackupOptions, RestoreOptions
from migrator.backup.restore import run_restore
from migrator.config import JobConfig


def main(what: str, server: str, place: str, database: str, target: str, rejects: str) -> int:
    """Run it; its exit code."""
    if what == "backup":
        options = BackupOptions(place=place, databases=(database,), segment_bytes=4_000)
        return run_backup(JobConfig(source=server, rejects=rejects), options).exit_code
    wanted = RestoreOptions(place=place, databases=(database,), map={database: target})
    return run_restore(JobConfig(target=server, rejects=rejects, batch_docs=20, in_flight=2), wanted).exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
