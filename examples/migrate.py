"""Move what an application holds in memory to CouchDB, prove it, and write what was rejected after a fix.

python examples/migrate.py http://localhost:5984 [PREFIX]
"""

from __future__ import annotations

import sys
from pathlib import Path

import migrator


def main(url: str, prefix: str = "") -> int:
    """Plan, run with a proof at the end, and retry; the exit code is that of the command."""
    # What a live service has; an object with such a mapping as `dbs` or `_data` will do as well.
    service = {
        f"{prefix}agents": {"a-1": {"name": "Ada"}, "a-2": {"name": "Bob", "retired": True}},
        f"{prefix}tickets": {
            "t-1": {"agent": "a-1", "hours": 1.5},
            "t-2": {"agent": "a-1", "_hours": 2},
        },
    }
    transform = ["default:retired=false"]

    print(migrator.plan(service, url, transform=transform))
    moved = migrator.run(service, url, transform=transform, verify=True, report="report.json", progress=True)
    print(moved)
    if moved.rejects is None:
        return moved.exit_code

    # CouchDB keeps names that begin with _ for itself, so one ticket is in a file instead, with the reason.
    print(Path(moved.rejects).read_text(encoding="utf-8"))
    again = migrator.retry(moved.rejects, url, transform="rename:_hours=hours")
    print(again)
    return again.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
