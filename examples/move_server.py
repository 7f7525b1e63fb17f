"""Move databases of one server to another with revisions, attachments and settings, as a plan says.

python examples/move_server.py http://old:5984 http://new:5984 'app_*' 'shop_*'
"""

from __future__ import annotations

import sys

import migrator


def main(source: str, target: str, pattern: str, new_pattern: str) -> int:
    """Plan, look at it, and do it; both servers are compared at the end."""
    plan = migrator.plan_server(
        source, target, patterns=pattern, map={pattern: new_pattern}, users=False, probe=False, output="move.json"
    )
    print(plan)
    if not plan.ok:
        print(*plan.problems, sep="\n")
        return plan.exit_code
    applied = migrator.apply("move.json", source=source, target=target, resume=True, progress=True)
    print(applied)
    return applied.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
