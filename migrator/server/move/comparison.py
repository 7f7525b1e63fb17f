"""What a comparison of both servers found, as it stands in the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from migrator.naming import printable

# Of one database; more of it tell nobody more.
MAX_NAMED = 20
MAX_LINES = 20


@dataclass
class Compared:
    """One database, or the users, on both sides.

    Args:
        leaves: at the source.
        missing: of them at the target.
        different: leaves that both sides have, with another content, ancestry or attachment.
        extra: leaves that only the target has: written there since it was opened, or removed at the source.
        changed_since: documents that changed at the source after they were carried; they are no difference.
        settings: what else is not as it was, as sentences.
        named: the first leaves that are missing or different, as sentences.
        notes: what is otherwise by intention.
    """

    leaves: int = 0
    missing: int = 0
    different: int = 0
    extra: int = 0
    changed_since: int = 0
    settings: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True when the target has whatever the source has."""
        return not (self.missing or self.different or self.settings)

    def name(self, text: str) -> None:
        """Keep a sentence, unless there are many already."""
        if len(self.named) < MAX_NAMED:
            self.named.append(text)


@dataclass(frozen=True)
class Verified:
    """Both servers compared; with `contents`, every document and attachment was read on both."""

    databases: Mapping[str, Compared]
    contents: bool
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True when nothing is missing and nothing is different."""
        return all(compared.ok for compared in self.databases.values())

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "ok": self.ok,
            "contents": self.contents,
            "seconds": round(self.seconds, 3),
            "databases": {name: {"ok": c.ok, **asdict(c)} for name, c in self.databases.items()},
        }


def verified_lines(verified: Verified) -> Iterator[str]:
    """For people: what is not the same, and the verdict."""
    found = verified.databases.items()
    lines = [f"{name}: {text}" for name, c in found for text in (*c.settings, *c.named)]
    yield from (printable(line) for line in lines[:MAX_LINES])
    if len(lines) > MAX_LINES:
        yield "... and more, in the report"
    yield from (printable(f"{name}: {text}") for name, c in found for text in c.notes)
    counts = [c for _, c in found]
    leaves = sum(c.leaves for c in counts)
    for number, what in (
        (sum(c.changed_since for c in counts), "documents have changed at the source since they were carried"),
        (sum(c.extra for c in counts), "revisions are at the target only"),
    ):
        if number:
            yield f"{number:,} {what}"
    how = "contents, attachments and settings" if verified.contents else "revisions and settings"
    if verified.ok:
        yield f"Compared {how}: nothing of {leaves:,} revisions is missing. {verified.seconds:.1f} s"
        return
    missing, different = sum(c.missing for c in counts), sum(c.different for c in counts)
    settings = sum(len(c.settings) for c in counts)
    yield (
        f"Compared {how}: of {leaves:,} revisions {missing:,} are missing and {different:,} different, and "
        f"{settings:,} settings differ. {verified.seconds:.1f} s"
    )
