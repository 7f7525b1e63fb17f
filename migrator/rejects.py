"""The format of a reject file: one JSON object a line, with the reason and the document."""

from __future__ import annotations

import json
from typing import Any

from migrator.codec import InvalidDocument, Unencodable, decode, encode
from migrator.errors import ConfigError
from migrator.model import Reject

FIELDS = ("collection", "id", "stage", "status", "error", "reason", "attempts", "document")
# A document of the longest line, its text quoted once more, and the frame around it.
MAX_LINE_BYTES = 256 << 20


def reject_to_line(reject: Reject) -> bytes:
    """One line, with its line break."""
    frame = {name: getattr(reject, name) for name in FIELDS}
    try:
        return encode(frame) + b"\n"
    except Unencodable:
        # What cannot be written as JSON is shown as Python shows it, so that a person can mend it.
        frame["document"] = repr(reject.document)
        return json.dumps(frame, ensure_ascii=True, default=str).encode() + b"\n"


def line_to_reject(line: bytes, place: str) -> Reject:
    """Read one line back.

    Args:
        line: its bytes.
        place: file and line, for people.

    Raises:
        ConfigError: it is no line of a reject file.
    """
    try:
        value: dict[str, Any] = decode(line)
    except InvalidDocument as invalid:
        raise ConfigError(f"{place}: {invalid.reason}.", hint="Mend the line or delete it.") from None
    if not isinstance(value.get("collection"), str) or "document" not in value or "stage" not in value:
        raise ConfigError(f"{place} is no line of a reject file.", hint="Name the file that --rejects wrote.")
    return Reject(
        value["collection"],
        str(value.get("id", "")),
        str(value["stage"]),
        str(value.get("error", "")),
        str(value.get("reason", "")),
        document=value["document"],
    )
