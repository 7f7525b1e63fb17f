"""The audit finds what a mask left, in its field and elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from migrator.errors import TransformError
from migrator.extractors.memory import MemoryExtractor
from migrator.fixtures.audit import MaskAudit
from migrator.fixtures.options import Masking
from migrator.fixtures.staging import StagingExtractor, filters_of, masks_of
from migrator.model import Document, Record
from migrator.transformers.masking import Mask, masks

KEY = b"0123456789abcdef"
ORIGINAL = {"_id": "u1", "email": "ada@example.org", "city": "London", "note": "write to Ada@Example.org"}


@pytest.fixture
def audit() -> Iterator[MaskAudit]:
    with closing(MaskAudit(masks(["pseudonym:email", "fake.city:city"], KEY))) as found:
        yield found


def test_masked_documents_pass(audit: MaskAudit) -> None:
    """What no longer holds an original value is proven clean, and counted."""
    audit.note(ORIGINAL, {"_id": "u1", "email": "p1", "city": "Paris"})
    audit.check({"_id": "u1", "email": "p1", "city": "Paris"})
    assert audit.ok
    assert audit.checked == 1
    assert audit.paths["email"].values == 1
    assert "0 survived" in audit.as_text()
    assert "No masked field holds an original value; 1 documents" in audit.as_text()


@pytest.mark.parametrize(
    ("there", "path"),
    [
        ({"_id": "u1", "email": "ada@example.org"}, "email"),
        ({"_id": "another", "email": ["x", "ada@example.org"]}, "email"),
        ({"_id": "u1", "city": "London"}, "city"),
    ],
)
def test_a_value_that_survived_is_found(audit: MaskAudit, there: Document, path: str) -> None:
    """Also in a document of another id, as it may have been at the target before."""
    audit.note(ORIGINAL, {"_id": "u1"})
    audit.check(there)
    assert not audit.ok
    assert audit.paths[path].survived == 1
    assert "ORIGINAL VALUES SURVIVED" in audit.as_text()


def test_a_fake_may_be_the_original_of_another(audit: MaskAudit) -> None:
    """A fake city is a real one; only a document's own counts as survived."""
    audit.note(ORIGINAL, {"_id": "u1"})
    audit.check({"_id": "u2", "city": "London"})
    assert audit.ok


def test_values_in_other_fields_are_warned_of(audit: MaskAudit) -> None:
    """An address within a note is found, whatever its case; short values are found everywhere and do not count."""
    audit.note(ORIGINAL, {"_id": "u1", "email": "p1", "note": ORIGINAL["note"]})
    audit.note({"_id": "u2", "email": "ada"}, {"_id": "u2", "note": "ada"})
    assert audit.paths["email"].elsewhere == 1
    assert audit.paths["email"].examples == ["u1"]
    assert audit.ok
    assert "WARNING: 1 also stand in other fields, as in u1" in audit.as_text()


def test_the_audit_keeps_no_original_value(audit: MaskAudit) -> None:
    """Neither its report nor its store holds what it looks for."""
    audit.note(ORIGINAL, {"_id": "u1", "email": "p1"})
    assert b"ada@example.org" not in audit._seen.serialize()
    assert "ada@example.org" not in str(audit.as_dict()) + audit.as_text()


def staged(masking: Masking, documents: dict[str, Document]) -> tuple[list[Record], MaskAudit]:
    made = masks_of(masking, {"MIGRATOR_MASK_KEY": KEY.decode()})
    audit = MaskAudit(made)
    source = StagingExtractor(MemoryExtractor({"d": documents}, name="test"), filters_of(masking), made, audit)
    with closing(audit):
        return list(source.extract("d")), audit


def test_documents_are_filtered_sampled_and_then_masked() -> None:
    """Conditions look at the original; what is left out is counted; design documents pass as they are."""
    documents: dict[str, Document] = {
        "_design/x": {"email": "design"},
        "a": {"email": "a@x.org", "open": True},
        "b": {"email": "b@x.org", "open": False},
    }
    records, audit = staged(Masking(where=("open",), mask=("hash:email", "drop:open")), documents)
    assert [record.filtered for record in records] == [0, 0, 1]
    assert records[0].document == {"_id": "_design/x", "email": "design"}
    assert records[1].document is not None
    assert set(records[1].document) == {"_id", "email"}
    assert len(records[1].document["email"]) == 64
    assert audit.paths["email"].values == 1
    everything, _ = staged(Masking(sample="100%"), documents)
    assert [record.filtered for record in everything] == [0, 0, 0]


def test_a_document_that_cannot_be_masked_goes_nowhere() -> None:
    """It is a fault without its content, which is not masked."""
    records, _ = staged(Masking(mask=("pseudonym:open",)), {"a": {"open": True, "name": "Ada"}})
    assert records[0].fault is not None
    assert records[0].fault.error == "transform:transform_error"
    assert records[0].fault.document is None
    assert records[0].document is None


def test_order_is_lost_with_masked_ids() -> None:
    """Pseudonyms of sorted ids are in no order."""
    inner = MemoryExtractor({"d": {"a": {}}}, name="test")
    for text, expected in (("pseudonym:_id", False), ("pseudonym:x", True)):
        made = masks([text], KEY)
        with closing(MaskAudit(made)) as audit:
            assert expected is StagingExtractor(inner, [], made, audit).ordered


def test_masks_without_a_key_are_refused_before_anything_is_read() -> None:
    """Only drop needs none."""
    assert [mask.kind for mask in masks_of(Masking(mask=("drop:a",)), {})] == ["drop"]
    assert not Masking().any
    with pytest.raises(Exception, match="needs a key"):
        masks_of(Masking(mask=("drop:a", "hash:b")), {})


def test_a_mask_that_does_nothing_is_found_out(audit: MaskAudit) -> None:
    """The audit does not trust the masks: a broken one is seen at the target."""
    broken = Mask("pseudonym", (("email",),), lambda document: document)
    with closing(MaskAudit([broken])) as watching:
        made = broken.transform(ORIGINAL)
        assert made is not None
        watching.note(ORIGINAL, made)
        watching.check(made)
        assert watching.paths["email"].survived == 1
    with pytest.raises(TransformError):
        masks(["pseudonym:a"], KEY)[0].transform({"a": False})
