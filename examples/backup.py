"""Back up databases as a timer does, and restore one as it was under another name.

python examples/backup.py http://localhost:5984 PATTERN PLACE
"""

from __future__ import annotations

import sys

import migrator


def main(url: str, pattern: str, place: str) -> int:
    """Back up what has changed, look at the numbers, and restore the first of the databases beside itself."""
    kept = migrator.backup(url, place, databases=pattern, report="backup.json", progress=True)
    print(kept)
    if not kept.ok:
        for database in kept.databases:
            print(database.database, database.error or f"{database.rejected} rejected; see {kept.rejects}")
        return kept.exit_code

    name = kept.databases[0].database
    back = migrator.restore(place, url, databases=name, map={name: f"{name}-restored"})
    print(back)
    return back.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
