"""Give a test server the same data each time, and see what tests have changed of it.

python examples/seed.py http://localhost:5984 FOLDER [PREFIX]
"""

from __future__ import annotations

import sys

import migrator


def main(url: str, folder: str, prefix: str = "") -> int:
    """Seed, seed again, which writes nothing, and compare."""
    print(migrator.seed(folder, url, prefix=prefix, wait_s=60))
    print(migrator.seed(folder, url, prefix=prefix))
    found = migrator.seed(folder, url, prefix=prefix, diff=True)
    print(found)
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
