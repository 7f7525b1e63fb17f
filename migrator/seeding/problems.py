"""What is wrong with fixtures, each problem with its file and line, gathered and told all at once."""

from __future__ import annotations

from typing import NamedTuple

from migrator.errors import ConfigError


class Place(NamedTuple):
    """A line of a file; lines count from 1."""

    file: str
    line: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Problem(NamedTuple):
    """One thing to mend."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class FixtureError(ConfigError):
    """Fixtures that cannot be seeded; nothing was written. `problems` is everything that was found."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        listed = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{count} in the fixtures, so nothing was written:{listed}")
