"""Turns what an extractor reads into batches: transform, encode, screen, and fill up to the limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from migrator.codec import (
    BOOKKEEPING,
    PLAIN,
    InvalidDocument,
    Unencodable,
    ValueCodec,
    decode,
    encode,
    one_line,
    top_level,
)
from migrator.codec.rejected import id_in
from migrator.errors import TransformError
from migrator.model import (
    Batch,
    BatchLimits,
    Document,
    EncodedDocument,
    Fault,
    Position,
    Record,
    Reject,
    Transformer,
)
from migrator.model.capabilities import Recognizing, Unknowing

# A batch that only filters or rejects is closed at so many records, so that the checkpoint moves on.
MAX_RECORDS_PER_BATCH = 20_000
MAX_REJECTS_PER_BATCH = 500

# To look for a number in bytes is several times quicker than for bytes.
_LF, _CR = b"\n\r"

MONGO_HINT = "That is how mongoexport writes it: read the file with --from mongo:FILE"
MISSING_ID_HINT = "Give it one, for example with --transform id:field=NAME or id:hash"
# Python refuses to make a text of a very long number.
_LONGEST_SHOWN = 10**30


Preparing: TypeAlias = Callable[[Iterable[Record], "Assembly"], Iterator[Record]]
"""Does an assembly's transforming elsewhere: gives what became of each record, in order."""


@dataclass(frozen=True)
class Assembly:
    """How records become encoded documents.

    Args:
        transform: applied to every document but design documents; None passes texts through unparsed.
        screen: the loader's own; says why a document is sure to be refused.
        values: how values that JSON lacks are written.
        locate: what names a position for people, where the extractor can.
        prepare: does the transforming elsewhere; None to do it one by one here.
        recognizer: the loader, where it knows at a glance what it takes as it is.
    """

    transform: Transformer | None = None
    screen: Callable[[str, Document, bytes], Fault | None] = field(default=lambda _id, _top, _body: None)
    values: ValueCodec = PLAIN
    locate: Callable[[Position], str] = field(default=lambda _position: "")
    prepare: Preparing | None = None
    recognizer: Recognizing = field(default=Unknowing())

    def prepared(self, records: Iterable[Record]) -> Iterable[Record]:
        """The records, transformed where that is done elsewhere; in the same order."""
        return records if self.prepare is None else self.prepare(records, self)

    def assemble(self, record: Record) -> EncodedDocument | Fault | None:
        """Make one record ready to be sent; None when a transformer filtered it out, here or before.

        A Fault's `document` is what could be had of it, its `error` is prefixed by the stage: `extract:…`.
        """
        document: Document | None
        _, document, text, fault, filtered, encoded = record
        if encoded is not None:
            return encoded
        if filtered:
            return None
        if fault is not None:
            fault = fault if fault.id else fault._replace(id=_id_of(fault.document))
            # A fault that a stage has found already says which.
            return fault if ":" in fault.error else fault._replace(error=f"extract:{fault.error}")
        try:
            if text is not None and self.transform is None:
                if _LF not in text and _CR not in text and (known := self.recognizer.recognize(text)) is not None:
                    return known
                top = top_level(text)
                if BOOKKEEPING.isdisjoint(top):
                    body = one_line(text) if _LF in text or _CR in text else text
                    return self._screened(record, top, body, None)
                document = None
            if document is None:
                assert text is not None
                document = decode(text)
        except InvalidDocument as invalid:
            reason = self._placed(record, invalid.reason)
            return Fault(f"extract:{invalid.error}", reason, _id_of(text), text)
        return self._transformed(document, record)

    def _transformed(self, document: Document, record: Record) -> EncodedDocument | Fault | None:
        made = transformed(document, self.transform, self.values)
        if isinstance(made, Fault):
            return made._replace(reason=self._placed(record, made.reason))
        return None if made is None else self._screened(record, *made, made[0])

    def finished(self, record: Record, result: bytes | EncodedDocument | Fault | None) -> Record:
        """A record whose text was transformed and encoded elsewhere, and perhaps recognized: what came of it."""
        if result is None:
            return Record(record.position, filtered=1)
        if isinstance(result, Fault):
            reason = self._placed(record, result.reason)
            fault = result._replace(reason=reason, document=decode(record.text or b""))
            return Record(record.position, text=record.text, fault=fault)
        if isinstance(result, EncodedDocument):
            if self.recognizer.takes(result):
                return Record(record.position, encoded=result)
            result = result.body
        made = self._screened(record, top_level(result), result, None)
        if isinstance(made, Fault):
            return Record(record.position, text=record.text, fault=made)
        return Record(record.position, encoded=made)

    def _screened(
        self, record: Record, top: Document, body: bytes, whole: Document | None
    ) -> EncodedDocument | Fault:
        id = top.get("_id")
        fault: Fault | None
        if isinstance(id, str) and id:
            fault = self.screen(id, top, body)
            if fault is None:
                return EncodedDocument(id, body)
        elif "_id" not in top:
            fault = Fault("missing_id", f"the document has no _id. {MISSING_ID_HINT}")
        elif id == "":
            fault = Fault("empty_id", f"the _id is empty. {MISSING_ID_HINT}")
        else:
            hint = MONGO_HINT if isinstance(id, dict) and "$oid" in id else MISSING_ID_HINT
            fault = Fault("id_not_string", f"the _id is not a string but {type(id).__name__}. {hint}")
        shown = _shown_id(id)
        kept = decode(body) if whole is None else whole
        return Fault(f"load:{fault.error}", self._placed(record, fault.reason), shown, kept)

    def _placed(self, record: Record, reason: str) -> str:
        place = self.locate(record.position)
        return f"{place}: {reason}" if place else reason


def as_reject(collection: str, fault: Fault, stage: str, error: str) -> Reject:
    """What a fault is in the reject file."""
    return Reject(
        collection, fault.id, stage, error, fault.reason, document=fault.document, notation=fault.notation
    )


def _shown_id(id: object) -> str:
    """An id as a reject names it; of a whole number its text."""
    if isinstance(id, int) and not isinstance(id, bool):
        return str(id) if abs(id) < _LONGEST_SHOWN else ""
    return id if isinstance(id, str) else ""


def _id_of(found: object) -> str:
    """The `_id` in something that is not a document, where it can be seen."""
    if isinstance(found, dict):
        return _shown_id(found.get("_id"))
    if isinstance(found, str):
        found = found.encode("utf-8", "surrogatepass")
    return id_in(found) if isinstance(found, bytes) else ""


def transformed(
    document: Document, transform: Transformer | None, values: ValueCodec
) -> tuple[Document, bytes] | Fault | None:
    """What a transformer makes of a document, and its text; None when it is filtered out."""
    id = document.get("_id")
    shown = id if isinstance(id, str) else ""
    made: Document | None = document
    try:
        # A design document is the database's, not the application's: no transformer knows its fields.
        if transform is not None and not shown.startswith("_design/"):
            made = transform(document)
        return None if made is None else (made, encode(made, values))
    except TransformError as error:
        return Fault("transform:transform_error", str(error), shown, document)
    except Unencodable as error:
        return Fault(f"transform:{error.error}", error.reason, shown, document)


def batches(
    collection: str, records: Iterable[Record], assembly: Assembly, limits: Callable[[], BatchLimits]
) -> Iterator[Batch]:
    """Gather records into batches; `limits` is asked again for each.

    Every record is counted in exactly one batch, in order, and `end` is the position of its last one.
    """
    assemble = assembly.assemble
    documents: list[EncodedDocument] = []
    rejects: list[Reject] = []
    read = filtered = size_bytes = rejected_bytes = 0
    end: Position | None = None
    limit = limits()

    def close() -> Batch:
        nonlocal documents, rejects, read, filtered, size_bytes, rejected_bytes, limit
        batch = Batch(collection, tuple(documents), end, read, filtered, tuple(rejects))
        documents, rejects = [], []
        read = filtered = size_bytes = rejected_bytes = 0
        limit = limits()
        return batch

    for record in assembly.prepared(records):
        made = assemble(record)
        if isinstance(made, EncodedDocument):
            length = len(made.body) + 2
            if documents and size_bytes + length > limit.max_bytes:
                yield close()
            documents.append(made)
            size_bytes += length
        elif made is None:
            filtered += record.filtered or 1
        else:
            stage, _, error = made.error.partition(":")
            rejects.append(as_reject(collection, made, stage, error))
            # What came as an object is the source's own and takes no more memory here.
            rejected_bytes += len(made.document if isinstance(made.document, bytes) else record.text or b"")
        read += record.filtered or 1
        end = record.position
        if (
            len(documents) >= limit.max_docs
            or len(rejects) >= MAX_REJECTS_PER_BATCH
            or rejected_bytes >= limit.max_bytes
            or read >= MAX_RECORDS_PER_BATCH
        ):
            yield close()
    if read:
        yield close()
