"""The format of a reject file: one JSON object a line, with the reason, the document, and where it belongs."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from pathlib import Path
from typing import Any

from migrator.codec import InvalidDocument, Unencodable, ValueCodec, decode, encode
from migrator.codec.faults import shown
from migrator.codec.rejected import marked_again, read_loosely, shown_raw, write_loosely
from migrator.codec.values import PLAIN
from migrator.errors import ConfigError
from migrator.model import Reject

FIELDS = ("collection", "database", "id", "stage", "status", "error", "reason", "attempts", "document")
"""What every line has. `run`, `form`, `base64`, `again`, `notation`, `unfixed` come only where they are needed."""
TEXT = "text"
"""The `form` of a line whose `document` is not the document but its text, which is not JSON."""
STAGES = ("extract", "transform", "load")
_STAGE = re.compile(rb'"stage": ?"(\w+)"')
# A document of the longest line, its text quoted once more, and the frame around it.
MAX_LINE_BYTES = 256 << 20
HEAD_BYTES = 64
"""So much of a file tells whose it is."""
# How a line begins: now, and as the versions before wrote it.
_BEGINNINGS = (b'{"run":"', b'{"collection":')
# Longer texts are shown by their beginning; all of them is kept as base64.
_MAX_SHOWN_BYTES = 1_000_000


def reject_to_line(reject: Reject, values: ValueCodec = PLAIN, *, run: str = "") -> bytes:
    """One line, with its line break.

    Args:
        reject: what was rejected.
        values: how values that JSON lacks are written, where it can; those of a run's other documents.
        run: whose line it is; "" for nobody's in particular.
    """
    document, unfixed = shown_raw(reject.document)
    frame: dict[str, Any] = {"run": run} if run else {}
    frame |= {name: getattr(reject, name) for name in FIELDS} | {"document": document}
    if unfixed:
        frame["unfixed"] = unfixed
    if reject.again:
        frame["again"] = reject.again
    if reject.notation:
        frame["notation"] = reject.notation
    if isinstance(document, bytes):
        frame |= _text_fields(document)
    # What was rejected at the target was written by the codec before.
    codecs = (PLAIN,) if reject.stage == "load" else (values, PLAIN)
    try:
        return encode(frame, codecs[0]) + b"\n"
    except Unencodable:
        pass
    # NaN and half surrogates have a text, which a retry can read and a transformer fix.
    text = write_loosely(document) if isinstance(document, dict) else None
    if text is not None:
        frame |= _text_fields(text)
    with contextlib.suppress(Unencodable):
        return encode(frame, codecs[-1]) + b"\n"
    if text is None and not isinstance(document, bytes):
        # What has no text at all is shown as Python shows it, so that a person can fix it.
        frame["document"] = _as_python_shows(document)
    return json.dumps(frame, ensure_ascii=True, default=str, separators=(",", ":")).encode() + b"\n"


def _as_python_shows(document: Any) -> str:
    """A value as Python shows it; field by field where one of them, or the depth, does not let it be shown."""
    try:
        return repr(document)
    except Exception:  # noqa: BLE001 what shows itself runs code of its own
        if not isinstance(document, dict):
            return shown(document)
    fields = [f"{shown(key)}: {shown(value)}" for key, value in document.items()]
    return f"{{{', '.join(fields)}}}"


def is_of_run(head: bytes, run: str) -> bool:
    """True when a file that begins so was written by this run, however little of its first line there is.

    Args:
        head: the first `HEAD_BYTES` of it, or all.
        run: what its lines would say.
    """
    begin = _BEGINNINGS[0] + run.encode() + b'"'
    return bool(run) and head[: len(begin)] == begin[: len(head)]


def is_torn(line: bytes) -> bool:
    """True for a file's only line when it is the beginning of a reject: its writer was killed."""
    return not line.endswith(b"\n") and any(line.startswith(each[: len(line)]) for each in _BEGINNINGS)


def line_to_reject(line: bytes, place: str) -> Reject:
    """Read one line back.

    Args:
        line: its bytes.
        place: file and line, for people.

    Raises:
        ConfigError: it is not a line of a reject file.
    """
    try:
        value: dict[str, Any] = decode(line)
    except InvalidDocument as invalid:
        raise ConfigError(f"{place}: {invalid.reason}.", hint="Fix the line or delete it.") from None
    if not isinstance(value.get("collection"), str) or "document" not in value or "stage" not in value:
        raise ConfigError(f"{place} is not a line of a reject file.", hint="Name the file that --rejects wrote.")
    document = _document(value, place)
    return Reject(
        value["collection"],
        str(value.get("id", "")),
        str(value["stage"]),
        str(value.get("error", "")),
        str(value.get("reason", "")),
        document=document,
        # Files of versions before have none of these.
        database=str(value.get("database") or ""),
        again=str(value.get("again") or ""),
        notation=str(value.get("notation") or ""),
    )


def _document(value: dict[str, Any], place: str) -> Any:
    """The document of a line, with what its source could not give marked, where nobody has changed that."""
    document = value["document"]
    if value.get("form") == TEXT:
        document = _text(document, value, place)
    unfixed = value.get("unfixed")
    if not isinstance(unfixed, dict):
        return document
    loose = read_loosely(document) if isinstance(document, bytes) else document
    marked, left = marked_again(loose, unfixed)
    return marked if left else document


def _text_fields(text: bytes) -> dict[str, Any]:
    shown = _shown(text)
    exact = {} if shown.encode() == text else {"base64": base64.b64encode(text).decode()}
    return {"document": shown, "form": TEXT, **exact}


def _shown(text: bytes) -> str:
    return text[:_MAX_SHOWN_BYTES].decode("utf-8", "replace")


def _text(document: Any, value: dict[str, Any], place: str) -> Any:
    """The exact text; a `document` that was edited, also into an object, counts before what it was."""
    if not isinstance(document, str):
        return document
    if not value.get("base64"):
        return document.encode("utf-8", "surrogateescape")
    try:
        exact = base64.b64decode(value["base64"], validate=True)
    except (TypeError, ValueError):
        raise ConfigError(f"{place}: its base64 is damaged.", hint="Fix the line or delete it.") from None
    return exact if _shown(exact) == document else document.encode("utf-8", "surrogateescape")


def stages_in(path: Path) -> set[str]:
    """The stages that a reject file names; a file that is not there names none."""
    found: set[str] = set()
    with contextlib.suppress(OSError), path.open("rb") as lines:
        # Quotes in the names before it are escaped, so the first match of a line is the line's own.
        for line in lines:
            match = _STAGE.search(line)
            if match:
                found.add(match[1].decode())
            if len(found) == len(STAGES):
                break
    return found
