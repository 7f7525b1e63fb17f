"""What became of documents: of each one, in numbers, and of a whole run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple


class Status(Enum):
    """How a document that reached the loader ended."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    REJECTED = "rejected"


ALTERED = "altered"
"""The error of a document that was changed on its way: the target holds other content than was sent."""
# A number that reports and checkpoints of versions before lack.
_LATER: Mapping[str, Any] = {"later": True}


class Outcome(NamedTuple):
    """What became of one document; a loader answers exactly one for each document, in the batch's order.

    `conflict` says that another content stood at the target under this id, whatever the policy then did. `proof`
    is the revision that proves that the target holds exactly this content; "" where none does.
    """

    id: str
    status: Status
    error: str = ""
    reason: str = ""
    conflict: bool = False
    attempts: int = 1
    http_status: int | None = None
    proof: str = ""


class Reject(NamedTuple):
    """A document that was not written, for the reject file. `status` is the HTTP status, None where none was.

    `document` and `notation` are those of the `Fault`. `database` is the database or file that was meant, ""
    where that is not known; `again` the command that writes what `retry` cannot, such as a whole revision.
    """

    collection: str
    id: str
    stage: str  # "extract", "transform" or "load"
    error: str
    reason: str
    attempts: int = 1
    status: int | None = None
    document: Any = None
    database: str = ""
    again: str = ""
    notation: str = ""


@dataclass(slots=True)
class Counts:
    """The fate of every document of one collection; `accounted` is the product's promise.

    `proven` are those written or unchanged whose revision proves it, `altered` those rejected that were changed on
    their way.
    """

    read: int = 0
    written: int = 0
    unchanged: int = 0
    skipped: int = 0
    filtered: int = 0
    rejected: int = 0
    conflicts: int = 0
    proven: int = field(default=0, metadata=_LATER)
    altered: int = field(default=0, metadata=_LATER)

    @property
    def accounted(self) -> bool:
        """True when every document that was read has ended in exactly one way."""
        return self.read == self.written + self.unchanged + self.skipped + self.filtered + self.rejected

    def add(self, other: Counts) -> None:
        """Add another's numbers to this one's.

        Args:
            other: the numbers of further documents.
        """
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @classmethod
    def sum(cls, all_counts: Iterable[Counts]) -> Counts:
        """The numbers of several together.

        Args:
            all_counts: the numbers of each part.

        Returns:
            Their sum, number by number.
        """
        totals = cls()
        for counts in all_counts:
            totals.add(counts)
        return totals

    def as_dict(self) -> dict[str, int]:
        """The numbers by name.

        Returns:
            Documents by outcome, in the report's order.
        """
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """What one run did with one collection. `database` is the database or file it went to."""

    database: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Report:
    """What one run did.

    Args:
        collections: by name.
        seconds: how long it took.
        carried: what earlier, interrupted runs of the same checkpoint had settled.
        unconfirmed: what could not be made sure of, as sentences.
    """

    collections: dict[str, CollectionReport]
    seconds: float
    carried: Counts = field(default_factory=Counts)
    unconfirmed: tuple[str, ...] = ()

    @property
    def totals(self) -> Counts:
        """The sum over all collections."""
        return Counts.sum(collection.counts for collection in self.collections.values())

    @property
    def rejected(self) -> int:
        """Rejected documents of the whole job: of this run and of those that it went on from."""
        return self.totals.rejected + self.carried.rejected

    @property
    def altered(self) -> int:
        """Those of them that were changed on their way."""
        return self.totals.altered + self.carried.altered

    @property
    def ok(self) -> bool:
        """True when every document is accounted for and none was rejected, here or in the runs gone on from."""
        return self.rejected == 0 and all(c.counts.accounted for c in self.collections.values())
