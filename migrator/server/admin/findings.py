"""What the doctor says: a finding has a check's name, how bad it is, a sentence, and the next command to type."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from migrator.naming import printable

OK = "ok"
ADVICE = "advice"
PROBLEM = "problem"
UNREACHABLE = "unreachable"
UNKNOWN = "unknown"
"""The levels: in order; worth a thought; needs fixing; nothing goes before it is fixed; not to be told."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` is the next command to type; "" where all is well."""

    check: str
    level: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings about one server."""

    url: str
    findings: tuple[Finding, ...]

    @property
    def reachable(self) -> bool:
        """False when the server does not answer or lets these credentials in to nothing."""
        return all(finding.level != UNREACHABLE for finding in self.findings)

    @property
    def ok(self) -> bool:
        """True when nothing needs fixing; advice may be there."""
        return all(finding.level not in {PROBLEM, UNREACHABLE} for finding in self.findings)

    def find(self, check: str) -> Finding | None:
        """The first finding of a check."""
        return next((finding for finding in self.findings if finding.check == check), None)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {"schema": 1, "ok": self.ok, "server": self.url, "findings": [asdict(f) for f in self.findings]}


def diagnosis_to_text(diagnosis: Diagnosis) -> str:
    """For people: one line a finding, and its remedy below."""
    lines = []
    for finding in diagnosis.findings:
        lines.append(f"{finding.level:<11}  {finding.check}: {printable(finding.message)}")
        if finding.remedy:
            lines.append(f"{'':<11}  → {printable(finding.remedy)}")
    bad = sum(finding.level in {PROBLEM, UNREACHABLE} for finding in diagnosis.findings)
    lines.append(f"{diagnosis.url} has {bad:,} problems." if bad else f"{diagnosis.url} is in order.")
    return "\n".join(lines) + "\n"
