"""`python -m migrator` is the command."""

from migrator.cli import main

if __name__ == "__main__":
    main()
