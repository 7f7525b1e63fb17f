"""Proves that masks left nothing: remembers what the source held, and looks for it in what the target holds.

The originals are remembered as keyed digests in a temporary database file, so neither memory nor disk holds them.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from migrator.codec import canonical
from migrator.model import Document
from migrator.transformers.masking import Mask, values_at
from migrator.transformers.paths import Path

# Shorter texts are found everywhere by chance.
MIN_TRACE_CHARS = 4
MAX_EXAMPLES = 5
_INSERT = "INSERT OR IGNORE INTO seen VALUES (?)"


@dataclass
class PathReport:
    """One masked field: how many values it had, how many are still there, and where else some were found."""

    kinds: list[str] = field(default_factory=list)
    values: int = 0
    survived: int = 0
    elsewhere: int = 0
    examples: list[str] = field(default_factory=list)


class MaskAudit:
    """Watches documents go through masks, and checks what became of them.

    Args:
        masks: the masks.
    """

    def __init__(self, masks: Sequence[Mask]) -> None:
        self.paths: dict[str, PathReport] = {}
        self.checked = 0
        self._fields: list[tuple[str, Path, bool]] = []
        for mask in masks:
            for path in mask.paths:
                name = ".".join(path)
                self.paths.setdefault(name, PathReport()).kinds.append(mask.kind)
                self._fields.append((name, path, mask.fake))
        self._key = secrets.token_bytes(32)
        # An empty name is a temporary file, which the system removes.
        self._seen = sqlite3.connect("")
        self._seen.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")

    @property
    def ok(self) -> bool:
        """True when no original value is left in its field."""
        return all(path.survived == 0 for path in self.paths.values())

    def note(self, original: Document, masked: Document) -> None:
        """Remember a document's values, and look for them in what was made of it."""
        id = str(masked.get("_id", ""))
        text = ""
        for name, path, fake in self._fields:
            report = self.paths[name]
            for value in values_at(original, path):
                report.values += 1
                self._seen.execute(_INSERT, [self._digest(name, value, id if fake else "")])
                if isinstance(value, str) and len(value) >= MIN_TRACE_CHARS:
                    text = text or canonical(masked).decode("utf-8", "surrogatepass").casefold()
                    if json.dumps(value, ensure_ascii=False)[1:-1].casefold() in text:
                        report.elsewhere += 1
                        if len(report.examples) < MAX_EXAMPLES:
                            report.examples.append(id)

    def check(self, document: Document) -> None:
        """Look for original values in a document as the target holds it."""
        self.checked += 1
        id = str(document.get("_id", ""))
        for name, path, fake in self._fields:
            for value in values_at(document, path):
                digest = self._digest(name, value, id if fake else "")
                if self._seen.execute("SELECT 1 FROM seen WHERE digest = ?", [digest]).fetchone():
                    self.paths[name].survived += 1

    def close(self) -> None:
        """Forget everything."""
        self._seen.close()

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {
            "ok": self.ok,
            "documents_checked": self.checked,
            "paths": {name: dict(vars(report)) for name, report in self.paths.items()},
        }

    def as_text(self) -> str:
        """For people: one line a field, and the verdict."""
        lines = []
        for name, report in self.paths.items():
            line = f"masked {name} ({', '.join(report.kinds)}): {report.values:,} values, "
            line += f"{report.survived:,} survived"
            if report.elsewhere:
                shown = ", ".join(report.examples)
                line += f"; WARNING: {report.elsewhere:,} also stand in other fields, as in {shown}"
            lines.append(line)
        verdict = "No masked field holds an original value" if self.ok else "ORIGINAL VALUES SURVIVED"
        lines.append(f"{verdict}; {self.checked:,} documents of the target were read back")
        return "\n".join(lines) + "\n"

    def _digest(self, name: str, value: Any, id: str) -> bytes:
        # A fake may well be the original of another document: there, only its own counts.
        text = json.dumps([name, id]).encode() + canonical(value)
        return hashlib.blake2b(text, key=self._key, digest_size=16).digest()
