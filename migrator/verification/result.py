"""What a verification found: the numbers, the differences in memory and on disk, as JSON and for people."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from migrator.errors import EXIT_DIFFERENCES, EXIT_OK, ConfigError, MigratorError
from migrator.files.durable import flush_to_disk
from migrator.files.failures import RESUME, write_error
from migrator.naming import counted, printable, was
from migrator.report.result import Result
from migrator.report.summary import table, unconfirmed_lines
from migrator.verification.compare import Comparison, Difference

# So many are kept for people; --differences FILE holds all.
MAX_DIFFERENCES_KEPT = 1_000
MAX_DIFFERENCES_SHOWN = 20


@dataclass(repr=False)
class VerifyResult(Result):
    """What a verification found.

    `unwritable` counts source documents that the target can never hold; `unconfirmed` says what of the lists that
    were compared could not be made sure of. `proven` are those that the run had proven as it wrote them, which
    were not read once more; `own_rejects` says by collection how many differences are of documents that the very
    run had rejected.
    """

    comparisons: dict[str, Comparison] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    filtered: int = 0
    unwritable: int = 0
    seconds: float = 0.0
    unconfirmed: Sequence[str] = ()
    proven: int = 0
    own_rejects: dict[str, int] = field(default_factory=dict)

    def note(self, difference: Difference, own: Container[tuple[str, str]]) -> None:
        """Count a difference that was found, and keep it where there are few.

        Args:
            difference: the difference.
            own: collection and id of what the very run had rejected.
        """
        if (difference.collection, difference.id) in own:
            self.own_rejects[difference.collection] = self.own_rejects.get(difference.collection, 0) + 1
        if len(self.differences) < MAX_DIFFERENCES_KEPT:
            self.differences.append(difference)

    def forget(self, collection: str) -> None:
        """What was found in a collection that is compared from its beginning again."""
        self.differences = [each for each in self.differences if each.collection != collection]
        self.own_rejects.pop(collection, None)

    @property
    def ok(self) -> bool:
        """True when both sides hold the same, and every source document could be compared."""
        return self.unwritable == 0 and all(comparison.ok for comparison in self.comparisons.values())

    @property
    def exit_code(self) -> int:
        """4 where something differs."""
        return EXIT_OK if self.ok else EXIT_DIFFERENCES

    def to_dict(self) -> dict[str, Any]:
        """Numbers by collection and the first differences."""
        totals: Counter[str] = Counter(dict.fromkeys(Comparison().as_dict(), 0))
        for comparison in self.comparisons.values():
            totals.update(comparison.as_dict())
        return {
            "schema": 1,
            "ok": self.ok,
            "collections": {name: comparison.as_dict() for name, comparison in self.comparisons.items()},
            "totals": dict(totals),
            "filtered": self.filtered,
            "unwritable": self.unwritable,
            "differences": [difference._asdict() for difference in self.differences],
            "seconds": round(self.seconds, 3),
            **({"proven": self.proven} if self.proven else {}),
            **({"own_rejects": self.own_rejects} if self.own_rejects else {}),
            **({"unconfirmed": list(self.unconfirmed)} if self.unconfirmed else {}),
        }


class DifferenceFile:
    """Appends differences as NDJSON; what a resumed verification finds again is cut off first."""

    def __init__(self, path: str | None, settled_bytes: int) -> None:
        self._file: BinaryIO | None = None
        self.size = self._settled_bytes = settled_bytes
        self._path = path or ""
        if path is None:
            return
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            self._file = os.fdopen(descriptor, "r+b")
            self.rewind(settled_bytes)
        except OSError as error:
            self.close()
            raise self._failed(error) from error

    def write(self, difference: Difference) -> None:
        """Append one."""
        if self._file is not None:
            with self._whole_or_not():
                text = json.dumps(difference._asdict(), ensure_ascii=False)
                self.size += self._file.write(f"{text}\n".encode())

    def rewind(self, size_bytes: int) -> None:
        """Take back all that was appended after it had this size."""
        self.size = self._settled_bytes = size_bytes
        if self._file is not None:
            self._file.truncate(size_bytes)
            self._file.seek(size_bytes)

    def flush(self) -> int:
        """Make them durable; the size in bytes."""
        if self._file is not None:
            with self._whole_or_not():
                flush_to_disk(self._file)
            self._settled_bytes = self.size
        return self.size

    @contextlib.contextmanager
    def _whole_or_not(self) -> Iterator[None]:
        """What is half written goes; without anything that an earlier run has settled, so does the file."""
        try:
            yield
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(self._path, self._settled_bytes)
                if not self._settled_bytes:
                    Path(self._path).unlink()
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file; what a full disk did not take is told by `write` and `flush`."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def _failed(self, error: OSError) -> MigratorError:
        return write_error(error, self._path, instead="name another with --differences FILE", again=RESUME)


def result_from_json(value: Any, *, name: str) -> VerifyResult:
    """A result as it was before it became JSON; `name` is what it is called in errors.

    Raises:
        ConfigError: it is not a result of a verification.
    """
    try:
        return VerifyResult(
            {str(key): Comparison(**numbers) for key, numbers in value["collections"].items()},
            [Difference(**difference) for difference in value["differences"]],
            int(value["filtered"]),
            int(value["unwritable"]),
            float(value["seconds"]),
            tuple(str(text) for text in value.get("unconfirmed", ())),
            int(value.get("proven", 0)),
            {str(name): int(number) for name, number in value.get("own_rejects", {}).items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{name} is not a result of a verification.", hint="Name a file that migrator verify --report wrote."
        ) from None


def result_to_text(result: VerifyResult) -> str:
    """The result for people: a table, the first differences, and the verdict."""
    names = list(Comparison().as_dict())
    rows = [["collection", *names]]
    for collection, comparison in result.comparisons.items():
        rows.append([printable(collection), *(f"{number:,}" for number in comparison.as_dict().values())])
    lines = [table(rows)]
    for difference in result.differences[:MAX_DIFFERENCES_SHOWN]:
        where = f" at {printable(difference.path)}" if difference.path else ""
        lines.append(f"{difference.kind}: {printable(difference.collection)} {difference.id[:200]!r}{where}")
    if len(result.differences) > MAX_DIFFERENCES_SHOWN:
        lines.append("... and more; --differences FILE writes all of them")
    if own := sum(result.own_rejects.values()):
        lines.append(
            f"{own:,} of the differences {was(own, 'is a document', 'are documents')} that this run rejected"
        )
    if result.unwritable:
        lines.append(
            f"{counted(result.unwritable, 'source document')} can never be written there, for the reasons above: "
            "not compared"
        )
    lines += unconfirmed_lines(result.unconfirmed)
    compared = sum(comparison.source for comparison in result.comparisons.values())
    verdict = "Verified: both sides hold the same." if result.ok else "Source and target differ."
    proven = f", {result.proven:,} of them as proven when they were written" if result.proven else ""
    lines.append(f"{verdict} {counted(compared, 'document')} in {result.seconds:.1f} s{proven}")
    return "\n".join(lines) + "\n"
