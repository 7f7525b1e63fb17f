"""Any leaves survive any format that can hold them, and no cut or changed byte makes one vanish unseen."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.codec import decode, encode
from migrator.convert.formats.table import WRITERS, sniff
from migrator.errors import MigratorError
from migrator.model.revisions import Leaf
from tests.property.documents import documents, texts
from tests.support.seeds import examples
from tests.unit.convert.support import attached, read, write

FULL = [name for name, writer in WRITERS.items() if writer.holds.conflicts]
WINNERS = [name for name in WRITERS if name not in FULL]
# Here a file that was cut off after a line is a whole one of fewer lines.
LINES = {"couchbackup", "couchbackup-shallow", "changes-continuous", "pouchdb", "ndjson"}
READ_AS = {"couchbackup-shallow": "couchbackup", "changes-continuous": "changes"}

ids = st.one_of(st.text(st.characters(codec="utf-8"), min_size=1), st.sampled_from(["a", "é", "_design/x", "a/b"]))
digests = st.text("0123456789abcdef", min_size=1, max_size=32)
types = st.sampled_from(["text/plain; charset=utf-8", "application/octet-stream", "image/png"])
attachments = st.lists(
    st.tuples(texts, st.binary(max_size=400), types), max_size=2, unique_by=lambda each: each[0]
)


@st.composite
def leaves(draw: st.DrawFn, *, single: bool = False) -> Leaf:
    """A leaf of any content; `single` knows no ancestry and is not a tombstone."""
    id = draw(ids.filter(lambda text: not text.startswith("_") or text.startswith("_design/")))
    ancestry = draw(st.lists(digests, min_size=1, max_size=1 if single else 4))
    start = len(ancestry) + draw(st.integers(0, 3))
    deleted = False if single else draw(st.booleans())
    rev = f"{start}-{ancestry[0]}"
    head: dict[str, Any] = {"_revisions": {"start": start, "ids": ancestry}}
    if deleted:
        head["_deleted"] = True
    fields = {key: value for key, value in draw(documents).items() if not key.startswith("_")}
    head_text = json.dumps({"_id": id, "_rev": rev, **head}, ensure_ascii=False, separators=(",", ":"))
    rest = encode(fields).decode()[1:-1]
    body = head_text[:-1] + ("," + rest if rest else "") + "}"
    files = tuple(attached(name, data, kind) for name, data, kind in draw(attachments))
    return Leaf(id, rev, body.encode(), deleted, files)


def many(*, single: bool = False) -> st.SearchStrategy[list[Leaf]]:
    """Leaves of different documents."""
    return st.lists(leaves(single=single), max_size=5, unique_by=lambda leaf: leaf.id)


def exactly(found: list[Leaf], *, escaped: bool = False) -> list[Any]:
    """All that a leaf is, numbers as they are spelled; `escaped` compares what texts mean."""
    return [
        (
            leaf.id,
            leaf.rev,
            repr(decode(leaf.body)) if escaped else leaf.body,
            leaf.deleted,
            [(a.name, a.content_type, b"".join(a.open())) for a in leaf.attachments],
        )
        for leaf in found
    ]


@pytest.mark.parametrize("format", FULL)
@given(wanted=many())
@settings(max_examples=examples(12), deadline=None)
def test_what_is_written_is_read(format: str, wanted: list[Leaf]) -> None:
    """Ids, revisions, ancestry, tombstones, every number, text and byte."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path, format, wanted)
        found, faults = read(path, READ_AS.get(format, format))
        escaped = format == "couchbackup"
        assert [] == faults
        assert exactly(wanted, escaped=escaped) == exactly(found, escaped=escaped)
        if wanted:
            assert READ_AS.get(format, format) == sniff(path)


@pytest.mark.parametrize("format", WINNERS)
@given(wanted=many(single=True))
@settings(max_examples=examples(12), deadline=None)
def test_winners_are_read_as_they_were_written(format: str, wanted: list[Leaf]) -> None:
    """Formats without ancestry hold all the rest."""
    # These have no place for the ancestors that a stemmed revision stands for.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path, format, wanted)
        found, faults = read(path, READ_AS.get(format, format))
        escaped = format == "couchbackup-shallow"
        assert [] == faults
        assert exactly(wanted, escaped=escaped) == exactly(found, escaped=escaped)


@pytest.mark.parametrize("format", WRITERS)
@given(wanted=many(single=True).filter(len), data=st.data())
@settings(max_examples=examples(12), deadline=None)
def test_no_cut_goes_unseen(format: str, wanted: list[Leaf], data: st.DataObject) -> None:
    """What is left of a file that was cut off is read, and that there was more is a fault."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path, format, wanted)
        text = path.read_bytes()
        cut = data.draw(st.integers(0, len(text.rstrip()) - 1))
        path.write_bytes(text[:cut])
        found, faults = read(path, READ_AS.get(format, format))
        whole_lines = format in LINES and (text[cut - 1 : cut] in (b"\n", b"") or text[cut : cut + 1] == b"\n")
        assert faults or whole_lines
        assert [leaf.id for leaf in found] == [leaf.id for leaf in wanted[: len(found)]]


@pytest.mark.parametrize("format", WRITERS)
@given(wanted=many(single=True).filter(len), data=st.data())
@settings(max_examples=examples(15), deadline=None)
def test_no_changed_byte_makes_a_leaf_vanish(format: str, wanted: list[Leaf], data: st.DataObject) -> None:
    """Where nothing is a fault there are as many leaves as before."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path, format, wanted)
        text = bytearray(path.read_bytes())
        text[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(text)
        try:
            found, faults = read(path, READ_AS.get(format, format))
        except MigratorError:
            return
        assert faults or len(found) == len(wanted)
