"""What each whole job gives a program: whether all went well, its numbers, and where its rejects are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from migrator.errors import EXIT_DIFFERENCES, EXIT_OK, EXIT_REJECTS
from migrator.files.durable import replace_file
from migrator.files.failures import AGAIN, writing
from migrator.naming import printable
from migrator.report.summary import dump


class Result:
    """What a job did.

    `ok` is true where the command would end with exit code 0. It can be printed in a line, is a table in a
    notebook, and `to_dict` gives what the command's report holds.
    """

    __slots__ = ()

    @property
    def exit_code(self) -> int:
        """The code with which the command ends after the same job."""
        raise NotImplementedError

    @property
    def ok(self) -> bool:
        """True when all went well: nothing was rejected, nothing differs and nothing failed."""
        return self.exit_code == EXIT_OK

    @property
    def rejects(self) -> Path | None:
        """The file that holds what was rejected; None where nothing was."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """The numbers, and all else that the report says, as JSON can hold it.

        Returns:
            The report, as `report=` writes it to a file.
        """
        raise NotImplementedError

    def write(self, path: str, *, again: str = AGAIN) -> None:
        """Write the report where a file is named.

        Args:
            path: the file; "" for none.
            again: what to do where it cannot be written.

        Raises:
            StorageError: there is no room, or no right to write.
            ConfigError: the path is wrong.
        """
        if path:
            write_report(path, dump(self.to_dict()), again=again)

    def _verdict(self) -> str:
        return "ok" if self.ok else f"not ok (exit code {self.exit_code})" if self.exit_code else "not ok"

    def __repr__(self) -> str:
        """One line: the verdict, the numbers that are not 0, and where the rejects are."""
        numbers = [
            f"{number:,} {name.replace('_', ' ')}" for name, number in _totals(self.to_dict()).items() if number
        ]
        rejects = f"; rejects: {self.rejects}" if self.rejects else ""
        return f"<{type(self).__name__} {self._verdict()}: {', '.join(numbers) or 'nothing'}{rejects}>"

    def _repr_html_(self) -> str:
        """A table for notebooks: a row for each collection or database, and where the rejects are."""
        value = self.to_dict()
        kind, rows = _rows(value)
        names = list(dict.fromkeys(name for row in rows.values() for name in _numbers(row)))
        shown = {
            name: [*map(printable, (name,)), *(row.get(each, "") for each in names)] for name, row in rows.items()
        }
        head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in (kind, *names))
        body = "".join(f"<tr>{''.join(map(_cell, cells))}</tr>" for cells in shown.values())
        more = [f"rejects: <code>{escape(str(self.rejects))}</code>"] if self.rejects else []
        more += [f"after a fix: <code>{escape(command)}</code>" for command in value.get("retry", ())]
        lines = "".join(f"<br>{line}" for line in more)
        return (
            f"<p><b>{type(self).__name__}</b>: {escape(self._verdict())}{lines}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


@dataclass(frozen=True, repr=False)
class JobPlan(Result):
    """What a run would do, as `migrator.jobs.run.make_plan` found it."""

    found: Mapping[str, Any]

    @property
    def exit_code(self) -> int:
        """0: what cannot be done is an error."""
        return EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """Collections with their targets and numbers, and what holds for all of them."""
        return dict(self.found)


def rejects_exit(altered: int) -> int:
    """The exit code of a run with rejects; some were changed on their way, as if a verification had found them."""
    return EXIT_DIFFERENCES if altered else EXIT_REJECTS


def write_report(
    path: str, text: str, *, instead: str = "name another with --report FILE", again: str = AGAIN
) -> None:
    """Write a report file whole, for its owner only.

    Raises:
        StorageError: there is no room, or no right to write.
        ConfigError: the path is wrong.
    """
    with writing(path, what="Report", instead=instead, again=again):
        replace_file(Path(path), text)


def _rows(value: Mapping[str, Any]) -> tuple[str, Mapping[str, Mapping[str, Any]]]:
    """What the rows of a report are, and these by name."""
    if "collections" in value:
        return "collection", value["collections"]
    found = value.get("databases", {})
    if isinstance(found, Sequence):
        found = {each["source"]: each for each in found}
    return "database", found


def _numbers(row: Mapping[str, Any]) -> dict[str, int]:
    return {name: each for name, each in row.items() if isinstance(each, int) and not isinstance(each, bool)}


def _totals(value: Mapping[str, Any]) -> dict[str, int]:
    """The numbers of a report; where it has no sums, those of its rows together."""
    if "totals" in value:
        return _numbers(value["totals"])
    sums: dict[str, int] = {}
    for row in _rows(value)[1].values():
        for name, number in _numbers(row).items():
            sums[name] = sums.get(name, 0) + number
    return sums


def _cell(value: object) -> str:
    return (
        f'<td style="text-align:right">{value:,}</td>'
        if isinstance(value, int)
        else f"<td>{escape(str(value))}</td>"
    )
